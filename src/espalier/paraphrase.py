"""The item that a text is most like in its letters: cosine over TF-IDF of hashed character n-grams, for lists that people read.

Finds texts with other words here and there, which share too few word n-grams. It says "like", not "the same problem": in templated tasks two problems are alike
but for a digit, so nothing is dropped by it. A text is compared whole: one that only holds an item somewhere in many other words is not like it.

Weight of n-gram g in a text: (1 + ln tf) * (1 + ln((1 + N) / (1 + df))), with tf its count in the text and df the number of the N items that hold it;
n-grams that more than MOST_HOLDERS items hold are left out, so that a text costs at most that many sums an n-gram, whatever the number of items. Nothing of
the size texts x items is made but for the numbers that come out.
Source: TF-IDF with log tf, Manning, Raghavan, Schütze 2008, section 6.2; the smoothed idf is scikit-learn's (TfidfTransformer, smooth_idf).
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

LETTERS = 5  # letters (bytes of UTF-8) an n-gram
BUCKETS = 1 << 20
# Without a limit 300 paraphrases of 5,319 problems were found as often (light 92 and 90 %, heavy 30 and 30 %) with as many false alarms (LOG.md).
MOST_HOLDERS = 200

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LetterIndex:
    """Items as unit vectors, by n-gram: bucket b is held by items[starts[b]:starts[b + 1]] with these weights. groups: the benchmark of each item."""

    groups: Places
    n_groups: int
    idf: Floats
    starts: Places
    items: NDArray[np.int32]
    weights: Floats


def index_letters(texts: Sequence[str], *, groups: Places) -> LetterIndex:
    """Index items. groups: the group of each item, from 0, without gaps."""
    starts, buckets, counts = _counted(*_letters(texts))
    holders = np.bincount(buckets, minlength=BUCKETS)
    idf = np.where(holders > MOST_HOLDERS, 0.0, 1 + np.log((1 + len(texts)) / (1 + holders)))
    owner = np.repeat(np.arange(len(texts), dtype=np.int32), np.diff(starts))
    weights = (1 + np.log(counts)) * idf[buckets]
    lengths = np.sqrt(np.bincount(owner, weights**2, minlength=len(texts)))
    told = weights > 0
    owner, buckets, weights = owner[told], buckets[told], weights[told]
    order = np.argsort(buckets, kind="stable")
    by_bucket = np.concatenate([[0], np.cumsum(np.bincount(buckets, minlength=BUCKETS))]).astype(np.int64)
    unit = (weights / lengths[owner]).astype(np.float32)
    return LetterIndex(groups.astype(np.int64), int(groups.max(initial=0)) + 1, idf.astype(np.float32), by_bucket, owner[order], unit[order])


def most_alike(texts: Sequence[str], index: LetterIndex) -> tuple[Places, NDArray[np.float64]]:
    """(items, cosines), each texts x groups: the item with the highest cosine (0..1), the first of equals; -1 and 0 where no n-gram is shared."""
    letters, ends = _letters(texts)
    items = np.full((len(texts), index.n_groups), -1, dtype=np.int64)
    cosines = np.zeros(items.shape)
    _compare(letters, ends, index.groups, index.idf, index.starts, index.items, index.weights, items, cosines)
    return items, np.minimum(cosines, 1.0)


def _letters(texts: Sequence[str]) -> tuple[NDArray[np.uint8], Places]:
    """The texts as one run of UTF-8, case-folded, and where each ends."""
    raw = [(text if text.isascii() else unicodedata.normalize("NFKC", text)).casefold().encode("utf-8", "surrogatepass") for text in texts]
    return np.frombuffer(b"".join(raw), dtype=np.uint8), np.cumsum(np.fromiter(map(len, raw), dtype=np.int64, count=len(raw)))


@njit(cache=True, nogil=True)
def _count(letters, start, end, counts, touched):
    """Count the n-grams of one text, with a blank for every run of marks and white space and one at each end; how many distinct ones there are."""
    window, length, n_touched, was_blank = np.uint64(32), 1, 0, True
    mask = np.uint64((1 << (8 * LETTERS)) - 1)
    for at in range(start, end + 1):
        letter = letters[at] if at < end else 32
        is_blank = not (letter >= 128 or 48 <= letter <= 57 or 97 <= letter <= 122)
        if is_blank and was_blank:
            continue
        was_blank = is_blank
        window = ((window << np.uint64(8)) | np.uint64(32 if is_blank else letter)) & mask
        length += 1
        if length >= LETTERS:
            bucket = (window * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(44)  # the upper 20 bits
            if counts[bucket] == 0:
                touched[n_touched] = bucket
                n_touched += 1
            counts[bucket] += 1
    return n_touched


@njit(cache=True, nogil=True)
def _counted(letters, ends):
    """(starts, buckets, counts) of all texts, the buckets of a text in the order of their first n-gram."""
    counts, touched = np.zeros(BUCKETS, dtype=np.int32), np.empty(BUCKETS, dtype=np.int32)
    starts = np.zeros(len(ends) + 1, dtype=np.int64)
    buckets, numbers = np.empty(len(letters) + 2 * len(ends), dtype=np.int32), np.empty(len(letters) + 2 * len(ends), dtype=np.int32)
    n = 0
    for text in range(len(ends)):
        n_touched = _count(letters, ends[text - 1] if text else 0, ends[text], counts, touched)
        for bucket in touched[:n_touched]:
            buckets[n], numbers[n] = bucket, counts[bucket]
            counts[bucket] = 0
            n += 1
        starts[text + 1] = n
    return starts, buckets[:n], numbers[:n]


@njit(cache=True, nogil=True)
def _compare(letters, ends, groups, idf, starts, items, weights, best, cosines):
    counts, touched = np.zeros(BUCKETS, dtype=np.int32), np.empty(BUCKETS, dtype=np.int32)
    sums, found = np.zeros(len(groups), dtype=np.float32), np.empty(len(groups), dtype=np.int32)
    for text in range(len(ends)):
        n_touched, n_found, square = _count(letters, ends[text - 1] if text else 0, ends[text], counts, touched), 0, 0.0
        for bucket in touched[:n_touched]:
            weight = idf[bucket] * np.float32(1 + np.log(counts[bucket]))
            square += weight * weight
            counts[bucket] = 0
            for place in range(starts[bucket], starts[bucket + 1]):
                item = items[place]
                if sums[item] == 0:
                    found[n_found] = item
                    n_found += 1
                sums[item] += weight * weights[place]
        length = np.sqrt(square)
        for item in found[:n_found]:
            cosine, group = sums[item] / length, groups[item]
            if cosine > cosines[text, group] or (cosine == cosines[text, group] and item < best[text, group]):
                best[text, group], cosines[text, group] = item, cosine
            sums[item] = 0
