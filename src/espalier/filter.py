"""Choose rows by thresholds on the scores; every dropped row is kept beside the kept ones with all its reasons.

Reads scored rows; gives (kept, dropped), dropped with `reason` (the first) and `reasons` (all). `kind: random` is the baseline
that the rules must beat: most selectors do not (arXiv 2410.09335), so it is always one `-S filter.kind=random` away.
"""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from espalier.seeds import share
from espalier.settings import Filter
from espalier.text import effective_leaves

REASON_GROUPS = {"status": ["status"], "heuristics": ["length", "repeats", "echo"], "verdict": ["verdict"], "vote": ["vote"]}


Row = Mapping[str, Any]
Rule = Callable[[Row, Filter], str | None]


def filter_rows(frame: pl.DataFrame, settings: Filter, *, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split scored rows into (kept, dropped), each in the order it came.

    A row whose status is not ok is dropped as `status:<status>` under every kind, and for that alone: the scores of a row that
    was never finished say nothing. `random` looks at the id and the seed only, so its choice is independent of all scores.
    All limits are inclusive: a row on the limit is kept. max_repeat 1, max_echo 1 and min_vote 0 are off.
    """
    assert settings.kind in ("rules", "random"), f"filter.kind is {settings.kind!r}; it must be rules or random"
    reasons = [_reasons(row, settings, seed) for row in frame.iter_rows(named=True)]
    keep = pl.Series([not found for found in reasons], dtype=pl.Boolean)
    found = [one for one in reasons if one]
    dropped = frame.filter(~keep).with_columns(
        pl.Series("reason", [one[0] for one in found], dtype=pl.String),
        pl.Series("reasons", found, dtype=pl.List(pl.String)),
    )
    return frame.filter(keep), dropped


def bad_length(row: Row, settings: Filter) -> str | None:
    """length:short or length:long."""
    if row["words"] < settings.min_words:
        return "length:short"
    return "length:long" if row["words"] > settings.max_words else None


def repeats(row: Row, settings: Filter) -> str | None:
    """The answer goes round in circles."""
    return "repeats" if row["repeat_share"] > settings.max_repeat else None


def echoes(row: Row, settings: Filter) -> str | None:
    """The answer says the query back."""
    return "echo" if row["echo_share"] > settings.max_echo else None


def not_verified(row: Row, settings: Filter) -> str | None:
    """verdict:wrong or verdict:unparseable; an answer that nothing can check passes."""
    return f"verdict:{row['verdict']}" if settings.require_verified and row["verdict"] in ("wrong", "unparseable") else None


def few_votes(row: Row, settings: Filter) -> str | None:
    """The teacher itself mostly says something else."""
    return "vote" if row["vote_share"] < settings.min_vote else None


RULES: tuple[Rule, ...] = (bad_length, repeats, echoes, not_verified, few_votes)  # the first that speaks gives the reason


def keep_rates(kept: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """One row per delivered leaf: leaf, n_in, n_kept, keep_rate (0..1), sorted by leaf; "" holds the unparseable rows."""
    flags = pl.concat([_leaves(kept, kept=True), _leaves(dropped, kept=False)])
    counted = flags.group_by("leaf").agg(n_in=pl.len().cast(pl.Int64), n_kept=pl.col("kept").sum().cast(pl.Int64))
    return counted.with_columns(keep_rate=pl.col("n_kept") / pl.col("n_in")).sort("leaf")


def filter_metrics(kept: pl.DataFrame, dropped: pl.DataFrame) -> dict[str, float]:
    """What the filter did to size, correctness and coverage; zeros for no rows. Leaf numbers leave out unparseable rows.

    `dropped_*` count first reasons (what they leave over is `random`). `leaves_lost` are leaves that had rows and have none now.
    """
    rates = keep_rates(kept, dropped).filter(pl.col("leaf") != "")
    rows_in = kept.height + dropped.height
    right = [frame.filter(pl.col("verdict") == "right").height for frame in (kept, dropped)]
    kind = dropped["reason"].str.split(":").list.first()
    return {
        "rows_in": rows_in,
        "rows_kept": kept.height,
        "right_share_before": sum(right) / max(rows_in, 1),
        "right_share_after": right[0] / max(kept.height, 1),
        "effective_leaves_before": effective_leaves([*kept["delivered_leaf"], *dropped["delivered_leaf"]]),
        "effective_leaves_after": effective_leaves(kept["delivered_leaf"]),
        "leaves_lost": rates.filter(pl.col("n_kept") == 0).height,
        "leaf_keep_rate_median": rates["keep_rate"].median() or 0.0,
        **{f"dropped_{group}": int(kind.is_in(kinds).sum()) for group, kinds in REASON_GROUPS.items()},
    }


def _reasons(row: Row, settings: Filter, seed: int) -> list[str]:
    if row["status"] != "ok":
        return [f"status:{row['status']}"]
    if settings.kind == "random":
        return [] if share(seed, "filter", row["id"]) < settings.random_share else ["random"]
    return [reason for rule in RULES if (reason := rule(row, settings))]


def _leaves(frame: pl.DataFrame, *, kept: bool) -> pl.DataFrame:
    return frame.select(leaf="delivered_leaf", kept=pl.lit(kept))
