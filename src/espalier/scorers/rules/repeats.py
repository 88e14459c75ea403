"""How much of a text stands in it twice: lines, paragraphs, n-grams. All shares are of the characters or pieces of one text, in 0..1.

Source: Gopher (Rae et al. 2021, arXiv 2112.11446, appendix A.1.1 and table A1). Where the paper leaves a choice, the public one of datatrove 0.10 is taken
(pipeline/filters/gopher_repetition_filter.py): characters over the length of the whole text, only the second and later copies of an n-gram count, and
after one the search goes on behind it. One thing differs: there the top n-gram may stand once, so that a text of five words always fails; here it must repeat.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

TOP_SIZES = (2, 3, 4)
DUPLICATE_SIZES = (5, 6, 7, 8, 9, 10)


@dataclass(frozen=True, slots=True)
class Repeats:
    """Shares of pieces and of characters. `top`: n -> characters of the most frequent n-gram, with its blanks, times its count.

    `duplicate`: n -> characters in later copies of n-grams, without blanks.
    """

    line_share: float
    line_character_share: float
    paragraph_share: float
    paragraph_character_share: float
    top: dict[int, float]
    duplicate: dict[int, float]


NO_REPEATS = Repeats(0.0, 0.0, 0.0, 0.0, dict.fromkeys(TOP_SIZES, 0.0), dict.fromkeys(DUPLICATE_SIZES, 0.0))


def measure_repeats(text: str, words: Sequence[str], *, lines: Sequence[str], paragraphs: Sequence[str]) -> Repeats:
    """All shares of one text; zeros for an empty one."""
    if not words:
        return NO_REPEATS
    from espalier.scorers.rules.ngrams import ngram_characters  # numba, which short replies do without

    shares = [characters / len(text) for characters in ngram_characters(words)]
    return Repeats(
        *repeated_pieces(lines, len(text)),
        *repeated_pieces(paragraphs, len(text)),
        top=dict(zip(TOP_SIZES, shares, strict=False)),
        duplicate=dict(zip(DUPLICATE_SIZES, shares[len(TOP_SIZES) :], strict=True)),
    )


def repeated_pieces(pieces: Sequence[str], characters: int) -> tuple[float, float]:
    """(share of pieces, share of characters) that are later copies of a piece; zeros for no pieces.

    >>> repeated_pieces(["ab", "c", "ab", "ab"], 10)
    (0.5, 0.4)
    """
    if len(set(pieces)) == len(pieces):
        return 0.0, 0.0
    counts = Counter(pieces)
    copied = sum((n - 1) * len(piece) for piece, n in counts.items())
    return (len(pieces) - len(counts)) / len(pieces), copied / characters
