"""How varied the wording of texts is. Secondary measures: all of them change with the number of words, so they are taken on the same number everywhere.

Words are what stands between white space. They are numbered once (`number_words`), and every measure counts numbers.
"""

import lzma
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier.text import entropy_nats

Ints = NDArray[np.int64]
MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
SEARCH = {"preset": 1, "mf": lzma.MF_BT4, "nice_len": 64, "depth": 8}
POINTS = 20  # of a fit on log axes, equally apart there, so that the tail does not outweigh the rest
ZIPF_RANKS = 1000  # the most frequent words that the fit sees


@dataclass(frozen=True, slots=True)
class Words:
    """Texts as numbers: `ids` of all words in order, 0 .. kinds - 1; text i has ids[offsets[i] : offsets[i + 1]]."""

    ids: Ints
    offsets: Ints
    kinds: int

    @property
    def sizes(self) -> Ints:
        """Words of each text."""
        return np.diff(self.offsets)


def number_words(texts: Sequence[str]) -> Words:
    """Number the words of texts in the order of their first appearance."""
    known: dict[str, int] = {}
    split = [text.split() for text in texts]
    ids = np.fromiter((known.setdefault(word, len(known)) for one in split for word in one), dtype=np.int64)
    return Words(ids, np.cumsum([0, *map(len, split)]).astype(np.int64), len(known))


def first_words_entropy(words: Words, n: int) -> float:
    """-sum p ln p over the first n words of each text, in nats; a shorter text counts as a whole.

    Finds stock openings: 59 % of TinyStories contain "once upon a time" (arXiv 2504.09184). Known traps: bounded by ln(texts);
    a grammar with few openings is low by nature, so compare recipes, not worlds.
    """
    if not len(words.sizes):
        return 0.0
    table = np.full((len(words.sizes), n), -1, dtype=np.int64)
    for place in range(n):
        has = words.sizes > place
        table[has, place] = words.ids[words.offsets[:-1][has] + place]
    return entropy_nats(np.unique(table, axis=0, return_counts=True)[1].tolist())


def shared_ngram_share(words: Words, n: int) -> float:
    """sum over texts |n-gram types that another text has too| / sum over texts |n-gram types|, in 0..1.

    In place of self-repetition (Salkar et al. 2022; Shaib et al. 2024, arXiv 2403.00553), which is a log of counts and grows
    with size and length. Known trap: still grows with the number of texts, hence the fixed words.
    """
    grams, texts = _grams(words, n)
    _, once_a_text = np.unique(_mixed(grams + texts.astype(np.uint64)), return_index=True)
    _, spread = np.unique(grams[once_a_text], return_counts=True)
    return float(spread[spread > 1].sum() / spread.sum()) if len(spread) else 0.0


def distinct_share(words: Words, n: int) -> float:
    """|distinct n-grams| / |n-grams| over all texts, none across the border of two; in 0..1.

    Source: distinct-n, Li et al. 2016 (arXiv 1510.03055). Known trap: falls with the number of words (0.62 -> 0.35 for n = 2 from 100 to 30,000 documents).
    """
    grams, _ = _grams(words, n)
    return len(np.unique(grams)) / len(grams) if len(grams) else 0.0


def zipf_exponent(words: Words) -> float:
    """s of frequency ~ rank**-s: minus the slope of log frequency on log rank, at POINTS ranks equally apart in log rank, of the ZIPF_RANKS most frequent words
    that come at least twice; 0 for fewer than three such words. Natural English has about 1; higher is more repetitive.

    Source: Zipf 1949. Known traps: it rises with the number of words (0.88 -> 1.02) and hangs on the ranks that are fitted; a small closed vocabulary has
    no power law at all, and the number then only describes its frequencies.
    """
    counts = np.sort(np.bincount(words.ids, minlength=words.kinds))[::-1]
    counts = counts[counts > 1][:ZIPF_RANKS]
    if len(counts) < 3:
        return 0.0
    ranks = _log_spaced(len(counts))
    return -_slope(np.log(ranks), np.log(counts[ranks - 1])) + 0.0


def heaps_exponent(words: Words) -> float:
    """b of kinds ~ words**b: the slope of log kinds on log words at POINTS prefixes of the texts in their order; 0 for fewer than three words.

    1: every word is new. Source: Heaps 1978, section 7.5; Herdan 1960. Known traps: it falls with the number of words (0.877 -> 0.796), and hangs on the
    order of the texts, so shuffle them with a fixed seed.
    """
    if len(words.ids) < 3:
        return 0.0
    first = np.zeros(len(words.ids), dtype=np.int64)
    first[np.unique(words.ids, return_index=True)[1]] = 1
    sizes = _log_spaced(len(words.ids))
    return _slope(np.log(sizes), np.log(np.cumsum(first)[sizes - 1])) + 0.0


def compression_ratio(texts: Sequence[str]) -> float:
    """bytes / bytes after LZMA2, texts one a line in the given order; high is repetitive. 0 for no text.

    Source: Shaib et al. 2024 (arXiv 2403.00553), there with gzip. Known traps: gzip sees 32 KB back, so copies that lie farther apart are invisible and the
    order of the texts decides (4.69 shuffled, 6.33 sorted); preset 1 of xz sees 1 MB, and with a dictionary as large as the corpus still hangs on the order
    (7.2 against 5.8). Here every place is in a search tree: 0.1 % between the two orders, in a quarter of preset 6's time. Small texts are dominated by the
    start-up cost.
    """
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    span = max(1 << 12, 1 << len(data).bit_length())  # LZMA takes 4 KB at least
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": span, **SEARCH}])
    return len(data) / len(packed) if data else 0.0


def _grams(words: Words, n: int) -> tuple[NDArray[np.uint64], Ints]:
    """A 64-bit number for each n-gram that lies within a text, in order, with repeats; and the text of each."""
    in_text = np.maximum(words.sizes - n + 1, 0)
    starts = np.repeat(np.arange(len(in_text)), in_text)
    at = np.arange(len(starts)) + np.repeat(words.offsets[:-1] - (np.cumsum(in_text) - in_text), in_text)
    grams = np.zeros(len(at), dtype=np.uint64)
    for place in range(n):
        grams = _mixed(grams + words.ids[at + place].astype(np.uint64) + np.uint64(1))
    return grams, starts


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the 64-bit numbers under which neighbours lie anywhere. Source: splitmix64, Steele et al. 2014, figure 16."""
    for shift, factor in MIX:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))


def _log_spaced(n: int) -> Ints:
    """At most POINTS different whole numbers from 1 to n, about equally apart in their logarithms."""
    return np.unique(np.round(np.geomspace(1, n, POINTS)).astype(np.int64))


def _slope(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Of the least-squares line."""
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
