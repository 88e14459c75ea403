"""The highest cosine of every row with another one: exact, without comparing all with all.

Sparse rows go through an inverted index, a row's rarest terms first. What a row has left can add at most (length of its rest) x (longest rest of any row), so
the index is left as soon as that cannot beat the best found: common terms, whose lists are long, are seldom read. The rows met by then are looked at once
more, those that may still win. Dense rows (embeddings) are multiplied block by block.

Source: bounds on prefixes: Bayardo, Ma, Srikant 2007, "Scaling up all pairs similarity search"; length of the rest: Anastasiu, Karypis 2014, "L2AP".
"""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

BLOCK_ROWS = 512  # a task of a thread; also the rows of a dense product
SLACK = 1e-6  # sums of float32 weights are that far off

Floats = NDArray[np.float64]


def nearest_sparse(rows: csr_array) -> Floats:
    """Highest product of each row with another, 0..1; 0 where there is none. rows: length 1 or less, no negative values, columns rarest first."""
    n = rows.shape[0]
    index = rows.tocsc()
    rest = _rests(rows.indptr, rows.data)
    longest = np.zeros(rows.shape[1] + 1)
    np.maximum.at(longest, rows.indices, rest)
    longest = np.maximum.accumulate(longest[::-1])[::-1].copy()
    best = np.zeros(n)

    def search(start: int) -> None:
        _search(start, min(start + BLOCK_ROWS, n), rows.indptr, rows.indices, rows.data, index.indptr, index.indices, index.data, rest, longest, best)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(search, range(0, n, BLOCK_ROWS)))
    return np.minimum(best, 1.0)


def nearest_dense(rows: NDArray[np.float32]) -> Floats:
    """Highest product of each row of length 1 with another, 0..1 (a negative one counts as 0); 0 where there is none."""
    best = np.zeros(len(rows))
    for start in range(0, len(rows), BLOCK_ROWS):
        products = rows[start : start + BLOCK_ROWS] @ rows.T
        products[np.arange(len(products)), np.arange(start, start + len(products))] = 0.0
        best[start : start + BLOCK_ROWS] = products.max(axis=1)
    return np.clip(best, 0.0, 1.0)


@njit(cache=True, nogil=True)
def _rests(places, values):
    """For each value the length of its row from there to the end."""
    rest = np.empty(len(values), dtype=np.float32)
    for row in range(len(places) - 1):
        total = 0.0
        for at in range(places[row + 1] - 1, places[row] - 1, -1):
            total += float(values[at]) ** 2
            rest[at] = np.sqrt(total)
    return rest


@njit(cache=True, nogil=True)
def _search(start, end, places, columns, values, list_places, list_rows, list_values, rest, longest, best):
    sums = np.zeros(len(places) - 1)
    met = np.empty(len(places) - 1, dtype=np.int64)
    for row in range(start, end):
        n, top, at = 0, 0.0, places[row]
        while at < places[row + 1] and rest[at] * longest[columns[at]] + SLACK > top:
            for i in range(list_places[columns[at]], list_places[columns[at] + 1]):
                other = list_rows[i]
                if other != row:
                    if sums[other] == 0.0:
                        met[n] = other
                        n += 1
                    sums[other] += float(values[at]) * float(list_values[i])
                    top = max(top, sums[other])
            at += 1
        for i in range(n):
            if at < places[row + 1] and sums[met[i]] + rest[at] * longest[columns[at]] + SLACK > top:
                top = max(top, _finish(sums[met[i]], top, at, places[row + 1], places[met[i]], places[met[i] + 1], columns, values, rest))
            sums[met[i]] = 0.0
        best[row] = top


@njit(cache=True, nogil=True)
def _finish(total, top, at, end, other, other_end, columns, values, rest):
    """`total` and the products of the terms from `at` on; 0 if they cannot reach `top`."""
    other += np.searchsorted(columns[other:other_end], columns[at])
    if other == other_end:
        return total
    if total + float(rest[at]) * float(rest[other]) + SLACK <= top:
        return 0.0
    while at < end and other < other_end:
        if columns[at] == columns[other]:
            total += float(values[at]) * float(values[other])
            at, other = at + 1, other + 1
        elif columns[at] < columns[other]:
            at += 1
        else:
            other += 1
    return total
