"""Characters in repeated n-grams of one text, compiled: 20 to 35 µs where counting tuples of words takes 110 (200 words).

The definitions are in `repeats.py`. numba takes 1 to 2 s to import, so this is imported only for documents and long replies.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10)
TOP = 4  # largest size of which the most frequent n-gram counts; of the larger ones all copies


def ngram_characters(words: Sequence[str]) -> list[int]:
    """For each of SIZES: up to TOP the characters, with blanks, of the most frequent n-gram times its count, 0 where none repeats; above, those in copies.

    Words are compared by Python's 64-bit hash: two of 100,000 different words meet with a chance of 3e-10.
    """
    hashes = np.fromiter(map(hash, words), np.int64, len(words))
    lengths = np.fromiter(map(len, words), np.int64, len(words))
    return _characters(hashes, lengths).tolist()


@njit(cache=True, nogil=True)
def _characters(hashes, lengths):
    n_words = len(hashes)
    size = 4
    while size < 2 * n_words:
        size *= 2
    table, counts = np.zeros(size, np.int64), np.zeros(n_words, np.int64)
    found, ends = np.zeros(len(SIZES), np.int64), np.zeros(n_words + 1, np.int64)
    ends[1:] = np.cumsum(lengths)
    word_ids, gram_ids = np.zeros(n_words, np.int64), np.zeros(n_words, np.int64)
    _number(hashes, gram_ids, table, counts, word_ids, n_words)
    gram_ids[:] = word_ids
    for n in range(2, SIZES[-1] + 1):
        places = n_words - n + 1
        if places < 2 or _number(gram_ids, word_ids[n - 1 :], table, counts, gram_ids, places) < 2:
            break
        found[n - 2] = _most_frequent(gram_ids, counts, ends, places, n) if n <= TOP else _copied(gram_ids, ends, places, n)
    return found


@njit(cache=True, nogil=True)
def _number(left, right, table, counts, out, places):
    """The highest count of a pair (left[i], right[i]). Written: to out, which may be left, the place of each one's first sight; to counts, there, its count."""
    table[:] = 0
    counts[:] = 0
    mask, most = len(table) - 1, 0
    pairs = np.empty((places, 2), np.int64)
    for i in range(places):
        one, other = left[i], right[i]
        pairs[i, 0], pairs[i, 1] = one, other
        mixed = np.uint64(one) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(other)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
        at = np.int64(mixed >> np.uint64(32)) & mask
        while table[at] and (pairs[table[at] - 1, 0] != one or pairs[table[at] - 1, 1] != other):
            at = (at + 1) & mask
        if not table[at]:
            table[at] = i + 1
        first = table[at] - 1
        out[i] = first
        counts[first] += 1
        most = max(most, counts[first])
    return most


@njit(cache=True, nogil=True)
def _most_frequent(ids, counts, ends, places, n):
    """Of equally frequent ones the first, as in datatrove; the longest would be stricter."""
    best = 0
    for i in range(places):
        if ids[i] == i and counts[i] > counts[best]:
            best = i
    return counts[best] * (ends[best + n] - ends[best] + n - 1)


@njit(cache=True, nogil=True)
def _copied(ids, ends, places, n):
    """A copy covers the places up to its end; what starts inside it is neither counted nor remembered."""
    seen, total, i = np.zeros(places, np.bool_), 0, 0
    while i < places:
        if seen[ids[i]]:
            total += ends[i + n] - ends[i]
            i += n
        else:
            seen[ids[i]] = True
            i += 1
    return total
