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
    """All shares of one text; zeros for an empty one.

    A repeated n-gram starts with a repeated (n-1)-gram and so does the place after it, so each size looks at what the one before left: of 200 words of prose
    about 20 places after the pairs and none after 5-grams, which is what makes this 5 times faster than counting every size.
    """
    if not words:
        return NO_REPEATS
    line_share, line_characters = repeated_pieces(lines, len(text))
    paragraph_share, paragraph_characters = repeated_pieces(paragraphs, len(text))
    top, duplicate = dict(NO_REPEATS.top), dict(NO_REPEATS.duplicate)
    grams = _repeated(list(enumerate(zip(words, words[1:], strict=False))))
    for n in (*TOP_SIZES, *DUPLICATE_SIZES):
        if not grams:
            break
        if n in top:
            top[n] = _top_characters(grams) / len(text)
        else:
            duplicate[n] = _duplicate_characters(grams, n) / len(text)
        at, end = {place for place, _ in grams}, len(words) - n
        grams = _repeated([(place, (*gram, words[place + n])) for place, gram in grams if place + 1 in at and place < end])
    return Repeats(line_share, line_characters, paragraph_share, paragraph_characters, top, duplicate)


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


Gram = tuple[str, ...]


def _repeated(grams: Sequence[tuple[int, Gram]]) -> list[tuple[int, Gram]]:
    """Of (place, n-gram), in order, those whose n-gram stands at two places or more."""
    seen: set[Gram] = set()
    again = {gram for _, gram in grams if gram in seen or seen.add(gram)}
    return [(place, gram) for place, gram in grams if gram in again] if again else []


def _top_characters(grams: Sequence[tuple[int, Gram]]) -> int:
    """Of equally frequent ones the first, as in datatrove; the longest would be stricter."""
    counts = Counter(gram for _, gram in grams)
    gram = max(counts, key=counts.__getitem__)
    return counts[gram] * (sum(map(len, gram)) + len(gram) - 1)


def _duplicate_characters(grams: Sequence[tuple[int, Gram]], n: int) -> int:
    """A copy covers the places up to its end."""
    seen: set[Gram] = set()
    found = free = 0
    for place, gram in grams:
        if place < free:
            continue
        if gram in seen:
            found += sum(map(len, gram))
            free = place + n
        else:
            seen.add(gram)
    return found
