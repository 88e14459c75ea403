"""Exact Jaccard similarity of texts as sets of hashed shingles, compiled: what every candidate of MinHash is verified with.

A set is a run of distinct 64-bit numbers in one flat array. 32 bits would be too few: 56 false hits in 20,000 documents were measured.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

from espalier.minhash import hash_shingles

CHUNK_TEXTS = 1024  # texts a thread takes at a time: their words and shingles (2 MB each) stay in the processor's cache

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Shingles:
    """The distinct shingles of n texts: those of text i are grams[starts[i]:starts[i] + sizes[i]]."""

    grams: Hashes
    starts: Ints
    sizes: Ints


def shingle_sets(texts: Sequence[str], words: int) -> Shingles:
    """The set of n-grams of each text, n = `words`, on every core. A text of fewer words is one shingle, an empty one none."""
    parts = over_chunks(lambda some: distinct(*hash_shingles(some, words)), texts)
    sizes = np.concatenate([one for _, one in parts])
    return Shingles(_joined([grams for grams, _ in parts]), np.cumsum(sizes) - sizes, sizes)


def distinct(grams: Hashes, offsets: Ints) -> tuple[Hashes, Ints]:
    """(numbers, how many of each text): the numbers of every text without repeats, in the order of their first sight."""
    found, sizes = _distinct(grams, offsets)
    return found.copy(), sizes


def jaccard(shingles: Shingles, left: Ints, right: Ints) -> NDArray[np.float64]:
    """|A and B| / |A or B| of each pair of positions, 0..1, exact; 1 for two empty sets."""
    return _jaccard(shingles.grams, shingles.starts, shingles.sizes, left, right)


def over_chunks(function: Callable[[Sequence[str]], Made], texts: Sequence[str]) -> list[Made]:
    """function(chunk) of all chunks of the texts, in order, on every core; one empty chunk for no texts."""
    chunks = (texts[at : at + CHUNK_TEXTS] for at in range(0, max(1, len(texts)), CHUNK_TEXTS))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(function, chunks))


def _joined(parts: list[Hashes]) -> Hashes:
    """One array of all; each part is given up as soon as it is copied, so that no more than one is held twice."""
    whole = np.empty(sum(map(len, parts)), dtype=np.uint64)
    at = len(whole)
    while parts:
        part = parts.pop()
        whole[at - len(part) : at] = part
        at -= len(part)
    return whole


@njit(cache=True, nogil=True)
def _distinct(grams, offsets):
    found, sizes = np.empty(len(grams), dtype=np.uint64), np.empty(len(offsets) - 1, dtype=np.int64)
    most = np.int64(0)
    for text in range(len(sizes)):
        most = max(most, offsets[text + 1] - offsets[text])
    table, stamps = empty_set(most)
    made = 0
    for text in range(len(sizes)):
        before = made
        for i in range(offsets[text], offsets[text + 1]):
            if put(table, stamps, grams[i], text + 1):
                found[made] = grams[i]
                made += 1
        sizes[text] = made - before
    return found[:made], sizes


@njit(cache=True, nogil=True)
def _jaccard(grams, starts, sizes, left, right):
    found = np.empty(len(left), dtype=np.float64)
    most = np.int64(0)
    for i in range(len(left)):
        most = max(most, sizes[left[i]])
    table, stamps = empty_set(most)
    for i in range(len(left)):
        if i == 0 or left[i] != left[i - 1]:
            fill(table, stamps, i + 1, grams, starts[left[i]], sizes[left[i]])
            stamp = i + 1
        shared = count_shared(table, stamps, stamp, grams, starts[right[i]], sizes[right[i]])
        union = sizes[left[i]] + sizes[right[i]] - shared
        found[i] = shared / union if union > 0 else 1.0
    return found


@njit(cache=True, nogil=True)
def empty_set(most):
    """(table, stamps): an open-addressed set for up to `most` numbers, half full at worst; a place is taken when it bears the stamp of the set at hand.

    Another stamp empties it at no cost; stamps begin at 1.
    """
    size = 8
    while size < 2 * most:
        size *= 2
    return np.empty(size, dtype=np.uint64), np.zeros(size, dtype=np.int64)


@njit(cache=True, nogil=True)
def put(table, stamps, gram, stamp):
    """Put a number into the set of `stamp`; False when it is there already."""
    mask = uint64(len(table) - 1)
    at = gram & mask
    while stamps[at] == stamp:
        if table[at] == gram:
            return False
        at = (at + uint64(1)) & mask
    table[at], stamps[at] = gram, stamp
    return True


@njit(cache=True, nogil=True)
def fill(table, stamps, stamp, grams, start, size):
    """Make the set of `stamp` that of one text."""
    for i in range(start, start + size):
        put(table, stamps, grams[i], stamp)


@njit(cache=True, nogil=True)
def count_shared(table, stamps, stamp, grams, start, size):
    """How many of a text's distinct numbers are in the set of `stamp`."""
    mask, shared = uint64(len(table) - 1), 0
    for i in range(start, start + size):
        at = grams[i] & mask
        while stamps[at] == stamp:
            if table[at] == grams[i]:
                shared += 1
                break
            at = (at + uint64(1)) & mask
    return shared
