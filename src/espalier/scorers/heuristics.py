"""Tier 0: what can be told from the letters of one sample, in microseconds. Reads strings, writes four numbers."""

from dataclasses import asdict, dataclass

import polars as pl

from espalier.text import echo_share, repeat_share, words

ECHO_NGRAM = 3  # below three words a copy is no sign: "9" is a rightful answer to "list : 4 9 2 . what is the largest number ?"
TYPES = {"words": pl.Int64, "repeat_share": pl.Float64, "echo_share": pl.Float64, "is_truncated": pl.Boolean}


@dataclass(frozen=True, slots=True)
class Heuristics:
    """`words` of the answer; `repeat_share` and `echo_share` in 0..1; `is_truncated`: the teacher ran into its token limit."""

    words: int
    repeat_share: float
    echo_share: float
    is_truncated: bool


def heuristic_scores(frame: pl.DataFrame, *, repeat_words: int) -> pl.DataFrame:
    """`heuristics` of every row, as columns."""
    rows = zip(frame["query"], frame["answer"], frame["finish"], strict=True)
    return pl.DataFrame([asdict(heuristics(query, answer, finish=finish, repeat_words=repeat_words)) for query, answer, finish in rows], schema=TYPES)


def heuristics(query: str, answer: str, *, finish: str, repeat_words: int) -> Heuristics:
    """Measure one answer; `repeat_words` is the n of the repeated n-grams. The echo is taken against the query alone: an answer may rightly quote its context.

    Source: `repeat_share` and `echo_share` in `espalier.text`.
    """
    found = words(answer)
    return Heuristics(
        words=len(found),
        repeat_share=repeat_share(found, repeat_words),
        echo_share=echo_share(found, words(query), ECHO_NGRAM),
        is_truncated=finish == "length",
    )
