"""Choose rows by their scores; every dropped row is kept beside the kept ones with all its reasons.

Reads scored rows and the thresholds of the audit; gives (kept, dropped): kept with `topped_up`, dropped with `reason` (the first) and `reasons` (all).

    rules    the thresholds of the settings, and the families of broken rules that they name
    top      the best rows by one scorer: a share of them, or all that reach the threshold of the audit
    random   a share at random, the baseline that the others must beat: most selectors do not (arXiv 2410.09335)

Then the quotas (`quotas.py`) hold down leaves and clusters, and give starved leaves rows back. The truth is for verifier and audit: a verdict is read here
for `require_verified` under kind rules and for the scorer verifier, else for the metrics alone, which choose nothing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from espalier.errors import ParamsError
from espalier.quotas import CLUSTER_FULL, LEAF_FULL, cap, top_up
from espalier.scorers.table import goodness
from espalier.seeds import share
from espalier.settings import Filter
from espalier.text import effective_leaves

UNSCORED, NOT_TOP, BELOW = "unscored", "not_top", "below_threshold"
MOST_NAMED = 10  # starved leaves in a line of talk

Row = Mapping[str, Any]
Rule = Callable[[Row, Filter], str | None]


def filter_rows(frame: pl.DataFrame, settings: Filter, *, seed: int, thresholds: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split scored rows into (kept, dropped), each in the order it came.

    A row whose status is not ok is dropped as `status:<status>` under every kind, and for that alone: the scores of a row that
    was never finished say nothing. `random` looks at the id and the seed only, in its quotas too, so its choice is independent of all scores.
    All limits are inclusive: a row on the limit is kept. max_repeat 1, max_echo 1, min_vote 0 and quotas of 0 are off.
    thresholds: scorer, leaf, threshold, as the audit writes them; read for kind top with threshold audit.

    Raises: ParamsError where a column is wanted that the rows lack, the scorer of kind top speaks of no row, or the audit has no threshold for it.
    """
    _check_columns(frame, settings)
    draws = [share(seed, "filter", row_id) for row_id in frame["id"]]
    worth = _worth(frame, settings)
    if settings.kind == "top":
        chosen = _top(frame, worth, draws, settings, thresholds)
    elif settings.kind == "random":
        chosen = [[] if draw < settings.keep_share else ["random"] for draw in draws]
    else:
        chosen = [[reason for rule in RULES if (reason := rule(row, settings))] + _broken(row, settings) for row in frame.iter_rows(named=True)]
    unfinished = [[] if status == "ok" else [f"status:{status}"] for status in frame["status"]]
    reasons = [bad or found for bad, found in zip(unfinished, chosen, strict=True)]
    return _split(frame, *_with_quotas(frame, reasons, _rank(worth, reasons, draws), settings))


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


def filter_metrics(kept: pl.DataFrame, dropped: pl.DataFrame, *, min_leaf_rows: int) -> dict[str, float]:
    """What the filter did to size, correctness and coverage; zeros for no rows. Leaf numbers leave out unparseable rows.

    `leaves_lost` had rows and have none now; `leaves_short` have fewer than `min_leaf_rows` even after the top-up. All reasons stand in `dropped`.
    """
    rates = keep_rates(kept, dropped).filter(pl.col("leaf") != "")
    rows_in = kept.height + dropped.height
    right = [frame.filter(pl.col("verdict") == "right").height for frame in (kept, dropped)]
    kind = dropped["reason"].str.split(":").list.first()
    return {
        "rows_in": rows_in,
        "rows_kept": kept.height,
        "rows_topped_up": int(kept["topped_up"].sum()),
        "right_share_before": sum(right) / max(rows_in, 1),
        "right_share_after": right[0] / max(kept.height, 1),
        "effective_leaves_before": effective_leaves([*kept["delivered_leaf"], *dropped["delivered_leaf"]]),
        "effective_leaves_after": effective_leaves(kept["delivered_leaf"]),
        "leaves_lost": rates.filter(pl.col("n_kept") == 0).height,
        "leaves_short": rates.filter(pl.col("n_kept") < min_leaf_rows).height,
        "leaf_keep_rate_median": rates["keep_rate"].median() or 0.0,
        "dropped_status": int((kind == "status").sum()),
        "dropped_unscored": int((kind == UNSCORED).sum()),
    }


def starved_words(rates: pl.DataFrame, *, min_leaf_rows: int) -> str:
    """The leaves that are left with fewer than `min_leaf_rows` rows, or with none, the emptiest first; "" when there are none.

    >>> starved_words(pl.DataFrame({"leaf": ["a", "b"], "n_in": [9, 8], "n_kept": [1, 0]}), min_leaf_rows=5)
    '2 leaves have fewer than 5 rows: b 0 of 8, a 1 of 9'
    """
    wanted = max(min_leaf_rows, 1)
    starved = rates.filter((pl.col("leaf") != "") & (pl.col("n_kept") < wanted)).sort("n_kept", "leaf")
    if starved.is_empty():
        return ""
    named = [f"{leaf} {n_kept} of {n_in}" for leaf, n_in, n_kept in starved.head(MOST_NAMED).select("leaf", "n_in", "n_kept").iter_rows()]
    rest = f", and {starved.height - MOST_NAMED} more" if starved.height > MOST_NAMED else ""
    have = "leaf has" if starved.height == 1 else "leaves have"
    return f"{starved.height} {have} {f'fewer than {wanted} rows' if wanted > 1 else 'no row left'}: {', '.join(named)}{rest}"


def _check_columns(frame: pl.DataFrame, settings: Filter) -> None:
    for name, column in (("rules", "broken_rules"), ("max_cluster_rows", "neighbour_cluster")):
        if getattr(settings, name) and column not in frame.columns:
            raise ParamsError(f"params.yaml: filter.{name} reads the column {column}, which the rows lack; run `dvc repro score`")


def _worth(frame: pl.DataFrame, settings: Filter) -> list[float | None]:
    """The goodness of every row where a choice needs it, else None."""
    has_quotas = settings.max_cluster_rows or settings.max_leaf_rows or settings.min_leaf_rows
    if settings.kind == "top" or (settings.kind == "rules" and has_quotas):
        return goodness(frame, settings.scorer).to_list()
    return [None] * frame.height


def _top(frame: pl.DataFrame, worth: Sequence[float | None], draws: Sequence[float], settings: Filter, thresholds: pl.DataFrame) -> list[list[str]]:
    """The reasons of kind top. Only rows with status ok take part, so that a share is one of the same rows as that of kind random."""
    part = [i for i, status in enumerate(frame["status"]) if status == "ok"]
    scored = [i for i in part if worth[i] is not None]
    if part and not scored:
        raise ParamsError(f"params.yaml: filter.scorer is {settings.scorer}, which speaks of none of {len(part):,} rows; name another or turn its scores on")
    leaves = frame["delivered_leaf"].to_list()
    if settings.threshold == "audit":
        limits = _limits(thresholds, settings.scorer, {leaves[i] for i in scored})
        chosen = {i for i in scored if worth[i] >= limits[leaves[i]]}
    else:
        chosen = _best_share(part, scored, worth, draws, [leaf if settings.per_leaf else "" for leaf in leaves], settings.keep_share)
    reason = BELOW if settings.threshold == "audit" else NOT_TOP
    return [[UNSCORED] if value is None else [] if i in chosen else [reason] for i, value in enumerate(worth)]


def _limits(thresholds: pl.DataFrame, scorer: str, leaves: set[str]) -> dict[str, float]:
    found = dict(thresholds.filter(pl.col("scorer") == scorer).select("leaf", "threshold").iter_rows())
    if missing := sorted(leaf for leaf in leaves if found.get(leaf) is None):
        raise ParamsError(
            f"params.yaml: filter.threshold is audit, but the audit has no threshold of the scorer {scorer} for {len(missing)} leaves (the first: "
            f'"{missing[0]}"): it does not reach audit.target_precision on verified rows; lower that, name another filter.scorer, or set share'
        )
    return found


def _best_share(
    part: Sequence[int], scored: Sequence[int], worth: Sequence[float | None], draws: Sequence[float], groups: Sequence[str], keep_share: float
) -> set[int]:
    """The best rows of every group: keep_share of its rows, rounded half up; ties at random."""
    room = {group: math.floor(keep_share * n + 0.5) for group, n in pl.Series([groups[i] for i in part], dtype=pl.String).value_counts().iter_rows()}
    chosen = set()
    for i in sorted(scored, key=lambda i: (-worth[i], draws[i])):
        if room[groups[i]] > 0:
            room[groups[i]] -= 1
            chosen.add(i)
    return chosen


def _broken(row: Row, settings: Filter) -> list[str]:
    """The broken rules of the families that drop."""
    return [name for name in row["broken_rules"] or () if name.split(":")[0] in settings.rules] if settings.rules else []


def _rank(worth: Sequence[float | None], reasons: Sequence[list[str]], draws: Sequence[float]) -> list[int]:
    """The place of every row from best (0) to worst: by goodness, a row without one last; then by fewest reasons; then at random."""
    keys = [(value is None, -(value or 0.0), len(found), draw) for value, found, draw in zip(worth, reasons, draws, strict=True)]
    rank = [0] * len(keys)
    for place, i in enumerate(sorted(range(len(keys)), key=keys.__getitem__)):
        rank[i] = place
    return rank


def _with_quotas(frame: pl.DataFrame, reasons: list[list[str]], rank: Sequence[int], settings: Filter) -> tuple[list[list[str]], list[bool]]:
    leaves = frame["delivered_leaf"].to_list()
    clusters = frame["neighbour_cluster"].to_list() if settings.max_cluster_rows else [None] * frame.height
    reasons = cap(reasons, clusters, rank=rank, most=settings.max_cluster_rows, reason=CLUSTER_FULL)
    reasons = cap(reasons, leaves, rank=rank, most=settings.max_leaf_rows, reason=LEAF_FULL)
    return top_up(reasons, leaves, clusters, rank=rank, min_leaf_rows=settings.min_leaf_rows, max_cluster_rows=settings.max_cluster_rows)


def _split(frame: pl.DataFrame, reasons: list[list[str]], topped_up: list[bool]) -> tuple[pl.DataFrame, pl.DataFrame]:
    keep = pl.Series([not found for found in reasons], dtype=pl.Boolean)
    found = [one for one in reasons if one]
    kept = frame.with_columns(pl.Series("topped_up", topped_up, dtype=pl.Boolean)).filter(keep)
    dropped = frame.filter(~keep).with_columns(
        pl.Series("reason", [one[0] for one in found], dtype=pl.String),
        pl.Series("reasons", found, dtype=pl.List(pl.String)),
    )
    return kept, dropped


def _leaves(frame: pl.DataFrame, *, kept: bool) -> pl.DataFrame:
    return frame.select(leaf="delivered_leaf", kept=pl.lit(kept))
