"""Texts as unit vectors: TF-IDF over hashed words and pairs of words, so that the product of two rows is their cosine.

    weight of a term = (1 + ln count in the text) ln((1 + texts) / texts that hold it), divided by the length of the row

Terms are `text.match_words` (marks too: "3 + 4" is not "3 - 4") and pairs of neighbours, as numbers of BITS bits; the formula is that of `espalier.nearest`.

Source: Manning, Raghavan, Schütze 2008, "Introduction to Information Retrieval", section 6.4; hashing: Weinberger et al. 2009, arXiv 0902.2206.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray
from scipy.sparse import csr_array

from espalier.wordhash import fmix64, hash_words

BITS = 24  # of a million terms 3 % share a number with another: the highest cosine moves by 0.0002 to 0.0006 in the mean, 0.034 at most (LOG.md)
CHUNK_TEXTS = 4096  # hashed at a time
PAIR = 0x9E3779B97F4A7C15  # odd: the order of the two words counts

Hashes = NDArray[np.uint64]


def term_counts(texts: Sequence[str]) -> tuple[csr_array, Hashes]:
    """(texts x 2**BITS counts, int32, columns ascending; a number for each text that is equal where the bags of terms are, 0 for a text without terms)."""
    parts = [_bags(*hash_words(texts[at : at + CHUNK_TEXTS])) for at in range(0, len(texts), CHUNK_TEXTS)]
    if not parts:
        return csr_array((0, 2**BITS), dtype=np.int32), np.zeros(0, dtype=np.uint64)
    columns, counts, sizes, bags = (np.concatenate(several) for several in zip(*parts, strict=True))
    places = np.concatenate([[0], np.cumsum(sizes)])
    return csr_array((counts, columns, places), shape=(len(texts), 2**BITS)), bags


def unit_rows(counts: csr_array, holders: NDArray[np.int64], texts: int) -> csr_array:
    """Rows of length 1, float32, over the terms that two or more texts hold (the others count in the length alone), rarest term first.

    holders: how many of `texts` texts hold each term.
    """
    idf = np.log((1 + texts) / np.maximum(holders, 1))
    weights = (1 + np.log(counts.data)) * idf[counts.indices]
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    lengths = np.sqrt(np.bincount(row, weights**2, minlength=counts.shape[0]))
    shared = holders >= 2
    rank = np.full(len(holders), -1, dtype=np.int32)
    by_rarity = np.flatnonzero(shared)[np.argsort(holders[shared], kind="stable")]
    rank[by_rarity] = np.arange(len(by_rarity), dtype=np.int32)
    kept = shared[counts.indices]
    values = (weights[kept] / lengths[row[kept]]).astype(np.float32)
    places = np.concatenate([[0], np.cumsum(np.bincount(row[kept], minlength=counts.shape[0]))])
    found = csr_array((values, rank[counts.indices[kept]], places), shape=(counts.shape[0], max(len(by_rarity), 1)))
    found.sort_indices()
    return found


@njit(cache=True, nogil=True)
def _bags(words, offsets):
    """(columns, counts, terms of each text, number of each bag)."""
    n = len(offsets) - 1
    columns, counts = np.empty(2 * len(words), dtype=np.int32), np.empty(2 * len(words), dtype=np.int32)
    sizes, bags = np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.uint64)
    at = 0
    for text in range(n):
        found = words[offsets[text] : offsets[text + 1]]
        terms = np.empty(max(2 * len(found) - 1, 0), dtype=np.uint64)
        for i in range(len(found)):
            terms[i] = found[i]
            if i:
                terms[len(found) + i - 1] = fmix64(found[i - 1] * uint64(PAIR) + found[i])
        for term in terms:
            bags[text] += fmix64(term)
        terms = np.sort(terms >> uint64(64 - BITS))
        start = at
        for i in range(len(terms)):
            if i and terms[i] == terms[i - 1]:
                counts[at - 1] += 1
            else:
                columns[at], counts[at] = terms[i], 1
                at += 1
        sizes[text] = at - start
    return columns[:at].copy(), counts[:at].copy(), sizes, bags
