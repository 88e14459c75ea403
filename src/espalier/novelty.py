"""Which texts say something new: ROUGE-L against all texts that were accepted before, as the pool of Self-Instruct is kept.

Source: Self-Instruct (arXiv 2212.10560, section 2.2): a new instruction is kept when its ROUGE-L with every one in the pool is below 0.7.
The measure is exact; comparing is not quadratic: texts of n and m words with an F of t or more share t (n + m) / 2 words, so by the pigeonhole principle one
of the rarest words of the one is a word of the other (prefix filtering, Chaudhuri et al., ICDE 2006).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import ceil

from espalier.text import match_words

MOST_WORDS = 1000  # of a text that are compared; a hostile one of 100,000 would take seconds


def rouge_l(one: Sequence[str], other: Sequence[str]) -> float:
    """F1 of the longest common subsequence of two lists of words, 0..1; 0 where one is empty. Source: Lin 2004, "ROUGE", section 3.

    >>> rouge_l("police killed the gunman".split(), "police kill the gunman".split())
    0.75
    """
    return 2 * _common(one, other) / (len(one) + len(other)) if one and other else 0.0


class Pool:
    """Accepted texts. Rows come in one order, so the same texts are accepted in every run."""

    def __init__(self, texts: Iterable[str], *, max_overlap: float) -> None:
        """A pool that starts with `texts`, whatever they share; max_overlap: ROUGE-L above which a new one is not novel, 1 = every one is."""
        self.texts: list[str] = []
        self._max_overlap = max_overlap
        self._words: list[list[str]] = []
        self._by_word: dict[str, list[int]] = defaultdict(list)
        for text in texts:
            self._take(text)

    def closest(self, text: str) -> tuple[float, str]:
        """The highest ROUGE-L above the limit with a text of the pool, and that text; (0, "") where none is above it."""
        words = match_words(text)[:MOST_WORDS]
        best, found = 0.0, ""
        for place in sorted(self._candidates(words)):
            overlap = rouge_l(words, self._words[place])
            if overlap > max(best, self._max_overlap):
                best, found = overlap, self.texts[place]
        return best, found

    def add(self, text: str) -> str | None:
        """Take a text into the pool; the reason where it is not novel."""
        overlap, known = self.closest(text) if self._max_overlap < 1 else (0.0, "")
        if known:
            return f"ROUGE-L {overlap:.2f} with: {known[:200]}"
        self._take(text)
        return None

    def _take(self, text: str) -> None:
        words = match_words(text)[:MOST_WORDS]
        for word in set(words):
            self._by_word[word].append(len(self.texts))
        self.texts.append(text)
        self._words.append(words)

    def _candidates(self, words: Sequence[str]) -> set[int]:
        """Texts that may exceed the limit: an F above t wants at least t n / (2 - t) common words, so one of the rarest n - that + 1 words is common."""
        needed = max(1, ceil(self._max_overlap * len(words) / (2 - self._max_overlap)))
        counts = Counter(words)
        rarest = sorted(counts, key=lambda word: (len(self._by_word.get(word, ())), word))
        left, found = len(words) - needed + 1, set()
        for word in rarest:
            if left <= 0:
                break
            found.update(self._by_word.get(word, ()))
            left -= counts[word]
        return {place for place in found if 2 * min(len(self._words[place]), len(words)) > self._max_overlap * (len(self._words[place]) + len(words))}


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Length of the longest common subsequence, one row of bits at a time. Source: Hyyrö 2004, "Bit-parallel LCS-length computation revisited", figure 2."""
    masks: dict[str, int] = {}
    for place, word in enumerate(one):
        masks[word] = masks.get(word, 0) | 1 << place
    full = (1 << len(one)) - 1
    row = full
    for word in other:
        matched = row & masks.get(word, 0)
        row = ((row + matched) | (row - matched)) & full
    return len(one) - row.bit_count()
