"""Texts -> shingles -> MinHash signatures -> keys of bands, compiled and many texts at a time.

A signature is bit for bit that of datasketch 2.x, `MinHash(permutations, seed, hashfunc=gram_hash32)` with its scheme affine32 (1.x gives
other values), so that what is made here can be put into `MinHashLSH` or pickled as `LeanMinHash`.

Sources: Broder 1997, "On the resemblance and containment of documents" (shingles, MinHash); Leskovec, Rajaraman, Ullman, "Mining of Massive
Datasets", section 3.4 (bands).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numba import njit, uint32, uint64
from numpy.typing import NDArray

from espalier.wordhash import MASK, MIX_ONE, fmix64, hash_word, hash_words

if TYPE_CHECKING:
    from datasketch import LeanMinHash

RECALL = 0.98  # wanted probability that a pair exactly at the threshold becomes a candidate; datasketch's own bands give 0.40 at 0.8
SCHEME = "affine32"
SEED = 1  # datasketch's default; pairs are verified, so that the seed only decides which few pairs are missed
MOST_32 = 0xFFFFFFFF  # the minimum over no shingles, in datasketch as here

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]
Signatures = NDArray[np.uint32]


def hash_shingles(texts: Sequence[str], words: int) -> tuple[Hashes, Ints]:
    """The hashed n-grams of every text in order, with repeats, as (numbers, offsets); n = `words`, of words as `text.match_words` cuts them.

    As in `text.shingles`, a text of fewer words is one shingle and an empty one none; the numbers are others than there.
    """
    return _grams(*hash_words(texts), words)


def gram_hash32(gram: bytes) -> int:
    """The low 32 bits of the number of one n-gram, its words joined with blanks: the `hashfunc` that makes datasketch's signatures equal ours.

    >>> int(hash_shingles(["What's 3 + 4?"], 3)[0][1]) & 0xFFFFFFFF == gram_hash32(b"' s 3")
    True
    """
    number = 0
    for word in gram.decode("utf-8", "surrogatepass").split(" "):
        number = ((number << 5 | number >> 59) ^ hash_word(word)) * MIX_ONE & MASK
    return (number ^ number >> 32) & MOST_32


def sign(grams: Hashes, offsets: Ints, *, permutations: int, seed: int = SEED) -> Signatures:
    """MinHash signatures, texts x permutations, of the low 32 bits of the numbers; repeats change nothing.

    h' = min over shingles of a * fmix32(h) + b mod 2**32, with odd a and any b drawn as datasketch 2.x draws them.
    """
    return _minima(grams, offsets, *permutation_constants(permutations, seed=seed))


def permutation_constants(permutations: int, *, seed: int) -> tuple[Signatures, Signatures]:
    """(a, b) of `permutations` maps h -> a * h + b mod 2**32, the numbers that datasketch 2.x draws for its scheme affine32."""
    draw = np.random.RandomState(seed)
    odd = draw.randint(0, 1 << 31, permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return odd, draw.randint(0, 1 << 32, permutations, dtype=np.uint32)


def band_keys(signatures: Signatures, bands: int, rows: int) -> Hashes:
    """One 64-bit number for each band and text, bands x texts; a rare collision only adds a pair that is then verified. Needs bands * rows permutations."""
    assert bands * rows <= signatures.shape[1], (bands, rows, signatures.shape)
    return _keys(signatures, bands, rows)


def text_keys(texts: Sequence[str], words: int, *, permutations: int, bands: int, rows: int) -> Hashes:
    """The keys of the bands of texts, bands x texts: all of the above in a row."""
    return band_keys(sign(*hash_shingles(texts, words), permutations=permutations), bands, rows)


def choose_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows a band): the longest rows for which a pair at the threshold meets in a band with probability RECALL.

    P(candidate) = 1 - (1 - threshold**rows)**bands.

    >>> choose_bands(0.8, 128), choose_bands(0.7, 128)
    ((18, 7), (25, 5))
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1.0 - (1.0 - threshold**rows) ** bands >= RECALL:
            return bands, rows
    return permutations, 1


def datasketch_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """(bands, rows a band) that `datasketch.MinHashLSH(threshold, permutations)` takes: the least sum of its false positives and negatives.

    For those who want its index to behave as they know it; nothing verifies there, so it gives up recall for precision.

    >>> datasketch_bands(0.8, 128)
    (9, 13)
    """
    from datasketch import MinHashLSH  # 1.5 s of import, paid only by those who ask

    index = MinHashLSH(threshold=threshold, num_perm=permutations)
    return index.b, index.r


def lean_minhashes(signatures: Signatures, *, seed: int = SEED) -> "list[LeanMinHash]":
    """The signatures as datasketch's objects: for `MinHashLSH`, its storages, pickling and merging."""
    from datasketch import LeanMinHash

    return [LeanMinHash(seed=seed, hashvalues=row, scheme=SCHEME) for row in signatures]


@njit(cache=True, nogil=True)
def _grams(words, offsets, n):
    grams, ends = np.empty(len(words), dtype=np.uint64), np.zeros(len(offsets), dtype=np.int64)
    made = 0
    for text in range(len(offsets) - 1):
        start, end = offsets[text], offsets[text + 1]
        size = min(n, end - start)
        if size > 0:
            for at in range(start, end - size + 1):
                number = uint64(0)
                for i in range(at, at + size):
                    number = (((number << uint64(5)) | (number >> uint64(59))) ^ words[i]) * uint64(MIX_ONE)
                grams[made] = number ^ (number >> uint64(32))
                made += 1
        ends[text + 1] = made
    return grams[:made], ends


@njit(cache=True, nogil=True)
def _fmix32(number):
    """The finalizer of MurmurHash3 for 32 bits (Appleby 2011), with which affine32 begins."""
    number = uint32((number ^ (number >> uint32(16))) * uint32(0x85EBCA6B))
    number = uint32((number ^ (number >> uint32(13))) * uint32(0xC2B2AE35))
    return uint32(number ^ (number >> uint32(16)))


@njit(cache=True, nogil=True)
def _minima(grams, offsets, odd, shift):
    """Four shingles a pass over the permutations: the constants and minima are then read and written a quarter as often."""
    minima = np.empty((len(offsets) - 1, len(odd)), dtype=np.uint32)
    for text in range(len(offsets) - 1):
        lowest, at, end = minima[text], offsets[text], offsets[text + 1]
        lowest[:] = uint32(MOST_32)
        while at + 4 <= end:
            one, two = _fmix32(uint32(grams[at])), _fmix32(uint32(grams[at + 1]))
            three, four = _fmix32(uint32(grams[at + 2])), _fmix32(uint32(grams[at + 3]))
            for i in range(len(odd)):
                a, b = odd[i], shift[i]
                left = min(uint32(a * one + b), uint32(a * two + b))
                right = min(uint32(a * three + b), uint32(a * four + b))
                lowest[i] = min(lowest[i], min(left, right))
            at += 4
        while at < end:
            one = _fmix32(uint32(grams[at]))
            for i in range(len(odd)):
                lowest[i] = min(lowest[i], uint32(odd[i] * one + shift[i]))
            at += 1
    return minima


@njit(cache=True, nogil=True)
def _keys(signatures, bands, rows):
    keys = np.empty((bands, len(signatures)), dtype=np.uint64)
    for text in range(len(signatures)):
        for band in range(bands):
            number = uint64(band)
            for i in range(band * rows, band * rows + rows):
                number = (number ^ uint64(signatures[text, i])) * uint64(MIX_ONE)
                number ^= number >> uint64(29)
            keys[band, text] = fmix64(number)
    return keys
