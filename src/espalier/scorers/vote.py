"""Tier 2: self-consistency. How far do the answers to one query agree: the k of one temperature, and those of another one?

All measures compare what answers say, as the world reads them; "" stands for an answer that says nothing, which agrees with no other.

Source: Wang et al. 2022, "Self-consistency improves chain of thought reasoning" (arXiv 2203.11171); as a filter of synthetic data: Yu et al. 2025,
CoT-Self-Instruct (arXiv 2507.23751). Entropy over what answers say: Farquhar et al. 2024, Nature 630, 625, equation 5 (with exact instead of learnt classes).
"""

from collections import Counter
from collections.abc import Callable, Sequence

import polars as pl

from espalier.text import entropy_nats, fold


def agreement_scores(frame: pl.DataFrame) -> pl.DataFrame:
    """vote_share, answer_entropy and temperature_agreement of rows with the columns said and second_said."""
    said, second = frame["said"].to_list(), frame["second_said"].to_list()
    return pl.DataFrame(
        {
            "vote_share": [vote_share(one, read=str) for one in said],
            "answer_entropy": [answer_entropy(one) for one in said],
            "temperature_agreement": [agreement(one[0], other) for one, other in zip(said, second, strict=True)],
        },
        schema=dict.fromkeys(("vote_share", "answer_entropy", "temperature_agreement"), pl.Float64),
    )


def vote_share(answers: Sequence[str], *, read: Callable[[str], str] = fold) -> float:
    """|answers that say the same as the first| / k, in 0..1. The first answer is the one the row carries.

    `read` turns an answer into what is compared and gives "" for one that says nothing; such an answer votes for nothing but
    counts in k. A first answer that says nothing has no votes. 0 for no answers.
    Known trap: one answer always agrees with itself, so k = 1 gives 1.

    >>> vote_share(["9", " 9 ", "4", ""])
    0.5
    """
    said = [read(answer) for answer in answers]
    return said.count(said[0]) / len(said) if said and said[0] else 0.0


def answer_entropy(said: Sequence[str]) -> float | None:
    """-sum p ln p over the different things that k answers say, in nats, 0..ln k; 0 = all say the same. None for k < 2: one answer says nothing of agreement.

    Answers that say nothing ("") are each a thing of their own: k of them are as uncertain as k different answers.

    >>> round(answer_entropy(["9", "9", "4"]), 4), round(answer_entropy(["", "", ""]), 4)  # ln 3 - 2/3 ln 2, and ln 3
    (0.6365, 1.0986)
    """
    if len(said) < 2:
        return None
    counts = Counter(said)
    silent = counts.pop("", 0)
    return entropy_nats([*counts.values(), *[1] * silent])


def agreement(first: str, others: Sequence[str]) -> float | None:
    """|others that say the same as the first| / |others|, in 0..1; None for no others, 0 for a first that says nothing.

    >>> agreement("9", ["9", "4"]), agreement("9", []), agreement("", [""])
    (0.5, None, 0.0)
    """
    if not others:
        return None
    return others.count(first) / len(others) if first else 0.0


def majority(answers: Sequence[str], *, read: Callable[[str], str] = fold) -> int:
    """The position of the first answer that says what most answers say; 0 when none says anything. Ties: the earlier one.

    >>> majority(["", "4", "9", "9"])
    2
    """
    said = [read(answer) for answer in answers]
    votes = Counter(saying for saying in said if saying)
    return said.index(votes.most_common(1)[0][0]) if votes else 0
