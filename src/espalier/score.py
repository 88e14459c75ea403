"""Every score of every sample; no row is dropped (thresholds live in `filter`, so that trying another one costs nothing).

Reads rows as the answer step leaves them; adds words, repeat_share, echo_share, is_truncated (tier 0), verdict, delivered_leaf,
problem_key (tier 1, by the verifier that is handed in) and vote_share (tier 2).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from espalier.scorers.heuristics import Heuristics, heuristics
from espalier.scorers.vote import vote_share
from espalier.text import effective_leaves

VERDICTS = ("right", "wrong", "unparseable", "unknown")


@dataclass(frozen=True, slots=True)
class Judged:
    """What a world says of a row. verdict: one of VERDICTS, unknown where nothing can check the answer; leaf, key: "" where the problem cannot be read."""

    verdict: str
    leaf: str
    key: str


Verifier = Callable[[Mapping[str, Any]], Judged]


def score_rows(frame: pl.DataFrame, *, verify: Verifier, repeat_words: int) -> pl.DataFrame:
    """Add the scores to every row, in the order of the rows; `repeat_words` is the n of the repeated n-grams.

    `verify(row)` is called once for every row, also for those with a bad status (their texts may be
    empty): the leaf of a cut-off sample is worth knowing. It may not raise.
    """
    rows = zip(frame["query"], frame["answer"], frame["finish"], strict=True)
    measured = [heuristics(query, answer, finish=finish, repeat_words=repeat_words) for query, answer, finish in rows]
    verdicts = [_checked(verify(row), row) for row in frame.iter_rows(named=True)]
    votes = [vote_share(_said(answers, answer)) for answers, answer in zip(frame["answers"].to_list(), frame["answer"], strict=True)]
    return frame.with_columns(
        *_heuristic_columns(measured),
        pl.Series("verdict", [verdict.verdict for verdict in verdicts], dtype=pl.String),
        pl.Series("delivered_leaf", [verdict.leaf for verdict in verdicts], dtype=pl.String),
        pl.Series("problem_key", [verdict.key for verdict in verdicts], dtype=pl.String),
        pl.Series("vote_share", votes, dtype=pl.Float64),
    )


def score_metrics(scored: pl.DataFrame) -> dict[str, float]:
    """Means over all rows, and the effective number of delivered leaves; zeros for no rows."""
    rows = max(scored.height, 1)
    return {
        "rows": scored.height,
        "ok_share": scored.filter(pl.col("status") == "ok").height / rows,
        "right_share": scored.filter(pl.col("verdict") == "right").height / rows,
        "unparseable_share": scored.filter(pl.col("verdict") == "unparseable").height / rows,
        "unknown_share": scored.filter(pl.col("verdict") == "unknown").height / rows,
        "asked_leaf_share": _asked_leaf_share(scored),
        "truncated_share": scored["is_truncated"].sum() / rows,
        "answer_words_mean": scored["words"].sum() / rows,
        "repeat_share_mean": scored["repeat_share"].sum() / rows,
        "echo_share_mean": scored["echo_share"].sum() / rows,
        "vote_share_mean": scored["vote_share"].sum() / rows,
        "effective_leaves": effective_leaves(scored["delivered_leaf"]),
    }


def _said(answers: Sequence[str] | None, answer: str) -> Sequence[str]:
    """The k answers; a row without a list has the one that it carries."""
    return answers or [answer]


def _checked(judged: Judged, row: Mapping[str, Any]) -> Judged:
    assert judged.verdict in VERDICTS, f"the verifier said {judged.verdict!r} of row {row['id']}; it must be one of {VERDICTS}"
    return judged


def _heuristic_columns(measured: list[Heuristics]) -> list[pl.Series]:
    return [
        pl.Series("words", [one.words for one in measured], dtype=pl.Int64),
        pl.Series("repeat_share", [one.repeat_share for one in measured], dtype=pl.Float64),
        pl.Series("echo_share", [one.echo_share for one in measured], dtype=pl.Float64),
        pl.Series("is_truncated", [one.is_truncated for one in measured], dtype=pl.Boolean),
    ]


def _asked_leaf_share(scored: pl.DataFrame) -> float:
    """How often the delivered leaf is the requested one, over the rows that asked for a leaf; 0 when none did."""
    asked = scored.filter(pl.col("leaf") != "")
    return asked.filter(pl.col("leaf") == pl.col("delivered_leaf")).height / max(asked.height, 1)
