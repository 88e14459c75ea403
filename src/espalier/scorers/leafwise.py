"""Scores within their leaf: how many standard deviations a row lies from the mean of the rows that deliver the same leaf.

A threshold on a likelihood over all leaves chooses easy leaves, not good rows: keeping the rows of lowest loss halved the effective leaves of a toy world.
"""

import numpy as np
import polars as pl

NO_SPREAD = 1e-9  # relative; below it a standard deviation is rounding


def leaf_scores(frame: pl.DataFrame) -> pl.DataFrame:
    """answer_loss_z, ifd_z and logprob_z. A logprob_mean of exactly 0 is that of a row that was not answered, or of a server that gives none: null."""
    logprobs = frame["logprob_mean"].to_frame().select(pl.when(pl.col("logprob_mean") != 0).then("logprob_mean")).to_series()
    columns = {"answer_loss_z": frame["answer_loss"], "ifd_z": frame["ifd"], "logprob_z": logprobs}
    return pl.DataFrame([standardise(values, frame["delivered_leaf"]).alias(name) for name, values in columns.items()])


def standardise(values: pl.Series, leaves: pl.Series) -> pl.Series:
    """(value - mean of its leaf) / standard deviation of its leaf, over the rows that have a value (divisor n); null where there is none.

    0 where a leaf has fewer than two values or no spread. Rows without a leaf ("") count as a leaf of their own. |z| is at most the square root of n - 1
    (Samuelson 1968, "How deviant can you be?").

    >>> standardise(pl.Series([1.0, 3.0, None, 7.0]), pl.Series(["a", "a", "a", "b"])).to_list()
    [-1.0, 1.0, None, 0.0]
    """
    known = values.is_not_null() & values.is_not_nan()
    x = values.filter(known).cast(pl.Float64).to_numpy()
    leaf = np.unique(leaves.filter(known).to_numpy().astype(str), return_inverse=True)[1]
    n = np.maximum(np.bincount(leaf), 1)
    mean = np.bincount(leaf, x) / n
    spread = np.sqrt(np.bincount(leaf, (x - mean[leaf]) ** 2) / n)
    flat = spread <= NO_SPREAD * np.abs(mean)
    z = np.where(flat[leaf], 0.0, (x - mean[leaf]) / np.where(flat, 1.0, spread)[leaf])
    found = np.full(len(values), np.nan)
    found[known.to_numpy()] = z
    return pl.Series(values.name, found).fill_nan(None)
