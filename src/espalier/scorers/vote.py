"""Tier 2: self-consistency. How many of the k answers to one query agree?

Source: Wang et al. 2022, "Self-consistency improves chain of thought reasoning" (arXiv 2203.11171); as a filter of synthetic
data: Yu et al. 2025, CoT-Self-Instruct (arXiv 2507.23751).
"""

from collections import Counter
from collections.abc import Callable, Sequence

from espalier.text import fold


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


def majority(answers: Sequence[str], *, read: Callable[[str], str] = fold) -> int:
    """The position of the first answer that says what most answers say; 0 when none says anything. Ties: the earlier one.

    >>> majority(["", "4", "9", "9"])
    2
    """
    said = [read(answer) for answer in answers]
    votes = Counter(saying for saying in said if saying)
    return said.index(votes.most_common(1)[0][0]) if votes else 0
