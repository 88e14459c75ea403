"""Rows into groups of one subject: latent semantic analysis to DIMENSIONS numbers, then spherical k-means.

With a random projection in place of the analysis clusters were half as pure on leaves of real trees (LOG.md): it keeps cosines, and those of short texts are
nearly all 0; the analysis joins words that go together. The result depends on the rows, their order and the seed.

Source: randomised SVD: Halko, Martinsson, Tropp 2011, arXiv 0909.4061, algorithm 4.4; spherical k-means: Dhillon, Modha 2001.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

DIMENSIONS = 64  # 128 gain 0.00 to 0.03 of purity on leaves (LOG.md)
SPARE = 10  # directions beyond them; Halko et al., section 1.3
PASSES = 2  # over the matrix and its transpose
MOST_TERMS = 2**17  # the most widespread ones; bounds the memory at 40 MB
ROUNDS = 15
BLOCK_ROWS = 8192

Dense = NDArray[np.float32]
Ints = NDArray[np.int64]


def subjects(rows: csr_array, generator: np.random.Generator) -> Dense:
    """n x (DIMENSIONS or fewer) rows of length 1; a row that shares no term with another is 0. rows: unit rows, columns from rare to widespread."""
    some = rows[:, max(0, rows.shape[1] - MOST_TERMS) :]
    wide = min(DIMENSIONS + SPARE, *some.shape)
    basis = generator.standard_normal((some.shape[0], wide)).astype(np.float32)
    for _ in range(PASSES):
        basis = np.linalg.qr(some @ (some.T @ basis))[0]
    left, strength, _ = np.linalg.svd((some.T @ basis).T, full_matrices=False)
    found = (basis @ left * strength)[:, :DIMENSIONS]
    found[np.diff(some.indptr) == 0] = 0.0
    return unit(found)


def unit(rows: Dense) -> Dense:
    """Rows divided by their length; those of (nearly) no length become 0."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths > 1e-6, rows / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)


def spherical_clusters(rows: Dense, clusters: int, generator: np.random.Generator) -> Ints:
    """A cluster number for each row of length 1: at most `clusters` of them, and one more for each row that is 0 (like nothing else, so a group of its own)."""
    labels = np.arange(len(rows), dtype=np.int64) + clusters
    alike = np.flatnonzero(rows.any(axis=1))
    if len(alike):
        labels[alike] = _k_means(rows[alike], min(clusters, len(alike)), generator)
    return labels


def by_first_row(labels: Ints) -> Ints:
    """The same groups, numbered from 0 in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def _k_means(rows: Dense, clusters: int, generator: np.random.Generator) -> Ints:
    centres = rows[np.sort(generator.choice(len(rows), clusters, replace=False))]
    labels = _closest(rows, centres)
    for _ in range(ROUNDS):
        members = csr_array((np.ones(len(rows), dtype=np.float32), (labels, np.arange(len(rows)))), shape=(clusters, len(rows)))
        sums = unit(members @ rows)
        centres = np.where(sums.any(axis=1, keepdims=True), sums, centres)
        before, labels = labels, _closest(rows, centres)
        if np.array_equal(before, labels):
            break
    return labels


def _closest(rows: Dense, centres: Dense) -> Ints:
    return np.concatenate([(rows[at : at + BLOCK_ROWS] @ centres.T).argmax(axis=1) for at in range(0, len(rows), BLOCK_ROWS)])
