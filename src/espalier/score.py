"""Every score of every sample; no row is dropped (thresholds live in `filter`, so that trying another one costs nothing).

Reads rows as the answer step leaves them. The world judges whole rows: verdict, delivered_leaf, problem_key (tier 1), and what each answer says. The scorers
are handed a part of them, the columns SEEN: no solution, no checks, no verdict, so that none can look at a gold answer; what they add, later ones see too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from espalier.coverage import asked_leaf_share
from espalier.text import effective_leaves
from espalier.verdicts import VERDICTS, Judged

SEEN = ("id", "leaf", "context", "query", "answer", "answers", "second_answers", "asked_back", "finish", "status", "logprob_mean")
SAID = ("said", "second_said")  # what the answers say, as the world reads them; for the scorers alone


Row = Mapping[str, Any]
Verifier = Callable[[Row], Judged]
Reader = Callable[[Row, str], str]
Scores = Callable[[pl.DataFrame], pl.DataFrame]


def score_rows(frame: pl.DataFrame, *, verify: Verifier, read: Reader, scorers: Sequence[Scores]) -> pl.DataFrame:
    """Add the scores to every row, in the order of the rows.

    verify(row): called once for every row, also for those with a bad status (their texts may be empty): the leaf of a cut-off sample is worth knowing.
    read(row, answer): what an answer says, in the form in which answers are compared; "" for one that says nothing. Neither may raise.
    scorers: each gets a frame of the columns SEEN, delivered_leaf, said, second_said and those of the scorers before it, and gives new columns for its rows.
    """
    rows = list(frame.iter_rows(named=True))
    judged = _judgements([_checked(verify(row), row) for row in rows])
    seen = frame.select(SEEN).hstack([judged["delivered_leaf"], *_sayings(rows, read)])
    given = seen.columns
    for scorer in scorers:
        added = scorer(seen)
        assert added.height == frame.height, f"a scorer gave {added.height} rows for {frame.height}"
        seen = seen.hstack(added)
    return frame.hstack(judged).hstack(seen.drop(given))


def score_metrics(scored: pl.DataFrame, learned: Mapping[str, float]) -> dict[str, float]:
    """Shares of all rows, the effective number of delivered leaves, and the mean of each score over the rows that have it; zeros for no rows.

    `learned` are the metrics of the model on labels; a score that no row has is left out.
    """
    rows = max(scored.height, 1)
    return {
        "rows": scored.height,
        "ok_share": scored.filter(pl.col("status") == "ok").height / rows,
        "right_share": scored.filter(pl.col("verdict") == "right").height / rows,
        "unparseable_share": scored.filter(pl.col("verdict") == "unparseable").height / rows,
        "unknown_share": scored.filter(pl.col("verdict") == "unknown").height / rows,
        "asked_leaf_share": asked_leaf_share(scored["leaf"], scored["delivered_leaf"]),
        "effective_leaves": effective_leaves(scored["delivered_leaf"]),
        "repeat_share_mean": scored["repeat_share"].sum() / rows,
        "vote_share_mean": scored["vote_share"].sum() / rows,
        **{name: float(mean) for name, column in MEANS.items() if column in scored.columns and (mean := scored[column].mean()) is not None},
        **learned,
    }


MEANS = {
    "answer_entropy_mean_nats": "answer_entropy",
    "temperature_agreement_mean": "temperature_agreement",
    "round_trip_mean": "round_trip",
    "answer_loss_mean_nats": "answer_loss",
    "ifd_mean": "ifd",
    "nearest_similarity_mean": "nearest_similarity",
}


def _sayings(rows: Sequence[Row], read: Reader) -> list[pl.Series]:
    """What the answers and the second answers of each row say; a row without a list of answers has the one that it carries."""
    said = [[read(row, answer) for answer in row["answers"] or [row["answer"]]] for row in rows]
    second = [[read(row, answer) for answer in row["second_answers"] or ()] for row in rows]
    return [pl.Series(name, values, dtype=pl.List(pl.String)) for name, values in zip(SAID, (said, second), strict=True)]


def _checked(judged: Judged, row: Row) -> Judged:
    assert judged.verdict in VERDICTS, f"the verifier said {judged.verdict!r} of row {row['id']}; it must be one of {VERDICTS}"
    return judged


def _judgements(judged: Sequence[Judged]) -> pl.DataFrame:
    columns = {"verdict": [one.verdict for one in judged], "delivered_leaf": [one.leaf for one in judged], "problem_key": [one.key for one in judged]}
    return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))
