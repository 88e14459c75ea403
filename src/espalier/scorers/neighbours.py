"""Tier 5: what else in the data is like this row. Reads id, query and answer; gives nearest_similarity and neighbour_cluster.

    nearest_similarity   highest cosine with another row, 0..1; 1 for a row whose words and pairs of words another row has too, 0 for one without words
    neighbour_cluster    number of a group of rows on one subject, from 0 in the order of the groups' smallest ids; for a cap per group in `filter`

By default rows are TF-IDF vectors of hashed words and word pairs; similarities are exact over those (but for hash
collisions, see `tfidf`). With an embedding model they are its vectors. The context
is left out: many rows rightly share one passage. High similarity is no fault on its own; a group that swallows a recipe is.

Nothing depends on the order of the rows: all work is done in the order of ids, and once for rows that are equal.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.scorers.clusters import by_first_row, spherical_clusters, subjects, unit
from espalier.scorers.cosines import nearest_dense, nearest_sparse
from espalier.scorers.tfidf import term_counts, unit_rows
from espalier.seeds import rng
from espalier.text import fold

SCHEMA = {"nearest_similarity": pl.Float64, "neighbour_cluster": pl.Int64}

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def neighbour_columns(frame: pl.DataFrame, *, clusters: int, seed: int, embed: Embed | None) -> pl.DataFrame:
    """`neighbours` of the rows of a frame with id, query and answer, as two columns in the order of the rows."""
    texts = [fold(f"{query} {answer}") for query, answer in frame.select("query", "answer").iter_rows()]
    similarity, cluster = neighbours(texts, frame["id"].to_list(), clusters=clusters, seed=seed, embed=embed)
    return pl.DataFrame({"nearest_similarity": similarity, "neighbour_cluster": cluster}, schema=SCHEMA)


def neighbours(texts: Sequence[str], ids: Sequence[str], *, clusters: int, seed: int, embed: Embed | None = None) -> tuple[Floats, Ints]:
    """(nearest_similarity, neighbour_cluster) of each text.

    ids: one for each text, all different; they order the work. clusters: groups that k-means is given, at most; texts that share no term with another stay
    alone and come on top, texts without words are one group. embed: texts -> vectors (one a row, any length); None for TF-IDF.

    >>> similarity, cluster = neighbours(["red moon", "Red  moon", "blue sun", ""], ["a", "b", "c", "d"], clusters=2, seed=1)
    >>> similarity.tolist(), cluster.tolist()
    ([1.0, 1.0, 0.0, 0.0], [0, 0, 1, 2])
    """
    assert clusters >= 1, f"{clusters} clusters; at least 1"
    assert len(texts) == len(ids), f"{len(texts)} texts and {len(ids)} ids"
    order = np.array(sorted(range(len(ids)), key=lambda i: (ids[i], texts[i])), dtype=np.int64)
    similarity, cluster = np.zeros(len(ids)), np.zeros(len(ids), dtype=np.int64)
    if len(ids):
        similarity[order], cluster[order] = _in_order([texts[i] for i in order], clusters, seed, embed)
    return similarity, cluster


def _in_order(texts: Sequence[str], clusters: int, seed: int, embed: Embed | None) -> tuple[Floats, Ints]:
    counts, bags = term_counts(texts)
    _, first, same, copies = np.unique(bags, return_index=True, return_inverse=True, return_counts=True)
    by_id = np.argsort(first)  # the distinct bags in the order of their smallest ids, not of their numbers
    first, copies, same = first[by_id], copies[by_id], np.argsort(by_id)[same]
    worded = np.diff(counts.indptr)[first] > 0
    nearest, labels = np.zeros(len(first)), np.full(len(first), -1, dtype=np.int64)
    generator = rng(seed, "neighbours")
    if embed is None:
        holders = np.bincount(counts.indices, minlength=counts.shape[1])
        rows = unit_rows(counts[first[worded]], holders, len(texts))
        del counts
        nearest[worded], points = nearest_sparse(rows), subjects(rows, generator)
    else:
        points = unit(np.asarray(embed([texts[i] for i in first[worded]]), dtype=np.float32)) if worded.any() else np.zeros((0, 1), np.float32)
        nearest[worded] = nearest_dense(points)
    labels[worded] = spherical_clusters(points, clusters, generator)
    nearest[worded & (copies > 1)] = 1.0
    return nearest[same], by_first_row(labels[same])
