"""Tier 2: the round trip. How like the original is the question that the teacher asks when it is shown the answer (espalier/round_trip.py asks it)?

The measure is the cosine of letter 3-grams: on 32 paraphrases of seed questions against the 334 other questions of their leaves it tells the two apart with
an AUC of 0.968 and finds the right question for 31; ROUGE-L has 0.943 and 25: an inflected or moved word is another one to it (tests/paraphrases.py).
"""

import math
from collections import Counter

import polars as pl

from espalier.text import match_words

LETTERS = 3
MOST_LETTERS = 20_000  # of a text that are compared


def round_trip_scores(frame: pl.DataFrame) -> pl.DataFrame:
    """round_trip of every row: 0..1; null where no question came back."""
    pairs = frame.select("query", "asked_back").iter_rows()
    return pl.DataFrame({"round_trip": [similarity(query, back) if back else None for query, back in pairs]}, schema={"round_trip": pl.Float64})


def similarity(one: str, other: str) -> float:
    """Cosine of the counts of letter 3-grams, words even (case, width, marks) and one blank apart; 0..1, 1 for the same words, 0 where one text is empty.

    Source: cosine over character n-grams as in Damashek 1995, Science 267, 843, without its centring.

    >>> round(similarity("Why is rye bread moist?", "Why is the rye bread so moist?"), 2), similarity("Rye?", "rye ?"), similarity("rye", "")
    (0.81, 1.0, 0.0)
    """
    left, right = _counts(one), _counts(other)
    if not left or not right:
        return 0.0
    common = sum(n * right[gram] for gram, n in left.items())
    return min(1.0, common / math.sqrt(sum(n * n for n in left.values()) * sum(n * n for n in right.values())))


def _counts(text: str) -> Counter[str]:
    words = " ".join(match_words(text[:MOST_LETTERS]))
    return Counter(f" {words} "[at : at + LETTERS] for at in range(len(words) + 3 - LETTERS)) if words else Counter()
