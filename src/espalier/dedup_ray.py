"""Near-duplicate clusters over many machines: the signatures, bands and verification of pairs.py as steps of Ray Data.

documents -> (key, id) for every band -> repartition by key -> pairs of a bucket -> the shingles of both -> repartition by pair -> Jaccard -> union-find on the
driver. Not groupby().map_groups, which calls Python once a group and holds groups back (Ray issues 45303 and 52577).

Shuffled are 16 bytes and the id for every band and document, then the shingles of a document once for each pair that it is in. The driver holds
the pairs. Documents with equal shingles are one before pairs are made. A bucket of m different documents makes m**2 / 2 pairs: the trap of
boilerplate (pairs.py).
For more than the object stores hold, set `ray.data.DataContext.get_current().use_disk_based_hash_shuffle = True`.
"""

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from espalier.minhash import hash_shingles
from espalier.overlap import Shingles, distinct, jaccard
from espalier.pairs import sketch
from espalier.settings import Dedup

if TYPE_CHECKING:
    import pyarrow
    import ray
    import ray.data

PAIR = {"left": pl.String, "right": pl.String, "copy": pl.Boolean}  # a candidate, or (copy) two documents of equal shingles


def ray_clusters(documents: "ray.data.Dataset", *, settings: Dedup, partitions: int) -> pl.DataFrame:
    """The documents that are like another, as (id, cluster) sorted by id; cluster is the smallest id of the connected component, which is the one that stays.

    documents: columns id (string, each once) and text (string), read twice. partitions: blocks of each shuffle; a block is held by one worker, so
    take about documents * bands * 50 bytes / a tenth of a worker's memory. The clusters are those of `pairs.near_clusters` over the documents sorted by id.
    """
    import ray

    keys = documents.map_batches(partial(_band_rows, settings=settings), batch_format="pyarrow")
    pairs = _collected(keys.repartition(partitions, keys=["key"]).map_batches(_bucket_pairs, batch_size=None, batch_format="pyarrow"), PAIR).unique()
    copies, near = pairs.filter("copy"), pairs.filter(~pl.col("copy")).sort("left", "right").with_row_index("pair")
    edges = copies
    if near.height:
        sides = pl.concat([near.select("pair", pl.lit(side).alias("side"), id=name) for side, name in enumerate(("left", "right"))])
        asked = ray.put(sides.to_arrow())
        sets = documents.map_batches(partial(_pair_sides, asked=asked, words=settings.shingle_words), batch_format="pyarrow")
        judge = partial(_verified, threshold=settings.threshold)
        judged = sets.repartition(partitions, keys=["pair"]).map_batches(judge, batch_size=None, batch_format="pyarrow")
        edges = pl.concat([copies, near.join(_collected(judged, {"pair": pl.UInt32}), on="pair", how="semi").drop("pair")])
    return _components(edges)


def _band_rows(batch: "pyarrow.Table", settings: Dedup) -> "pyarrow.Table":
    """A row for each document and band: key of the band, copy key and id."""
    ids = pl.from_arrow(batch["id"])
    _, _, keys, copies = sketch(batch["text"].to_pylist(), settings)
    place = np.tile(np.arange(len(ids)), len(keys))
    return pl.DataFrame({"key": keys.ravel().view(np.int64), "copy_key": copies[place].view(np.int64), "id": ids.cast(pl.String).gather(place)}).to_arrow()


def _bucket_pairs(batch: "pyarrow.Table") -> "pyarrow.Table":
    """The pairs of each bucket: documents of equal shingles with the smallest id of them (copy), and those smallest ids with each other."""
    rows = pl.from_arrow(batch)
    firsts = rows.group_by("key", "copy_key").agg(pl.col("id").min().alias("first"))
    copies = rows.join(firsts, on=["key", "copy_key"]).filter(pl.col("id") != pl.col("first")).select(left="first", right="id", copy=pl.lit(True))
    shared = firsts.filter(pl.len().over("key") > 1)
    crossed = shared.join(shared, on="key", suffix="_other").filter(pl.col("first") < pl.col("first_other"))
    near = crossed.select(left="first", right="first_other", copy=pl.lit(False))
    return pl.concat([copies, near]).cast(PAIR).unique().to_arrow()


def _pair_sides(batch: "pyarrow.Table", asked: "ray.ObjectRef", words: int) -> "pyarrow.Table":
    """A row for each pair that a document of the batch is in: pair, side (0 or 1), and its shingles as bytes."""
    import ray

    frame = pl.from_arrow(batch).select(pl.col("id", "text").cast(pl.String))
    frame = frame.join(pl.from_arrow(ray.get(asked)), on="id").sort("id", "pair")
    texts = frame.unique("id", maintain_order=True)
    grams, sizes = distinct(*hash_shingles(texts["text"].to_list(), words))
    ends = np.cumsum(sizes)
    pieces = [grams[end - size : end].tobytes() for end, size in zip(ends, sizes, strict=True)]
    sets = pl.DataFrame({"id": texts["id"], "grams": pieces}, schema={"id": pl.String, "grams": pl.Binary})
    return frame.join(sets, on="id").select("pair", "side", "grams").to_arrow()


def _verified(batch: "pyarrow.Table", threshold: float) -> "pyarrow.Table":
    """The numbers of the pairs whose Jaccard similarity reaches the threshold."""
    rows = pl.from_arrow(batch).sort("pair", "side")
    assert rows["side"].to_list() == [0, 1] * (rows.height // 2), "every pair has its two sides in one block; an id may be there only once"
    grams = np.frombuffer(bytearray().join(rows["grams"].to_list()), dtype=np.uint64)
    sizes = (rows["grams"].bin.size().to_numpy() // 8).astype(np.int64)
    left = np.arange(0, rows.height, 2)
    near = jaccard(Shingles(grams, np.cumsum(sizes) - sizes, sizes), left, left + 1) >= threshold
    return rows.select("pair").gather(left[near]).to_arrow()


def _collected(dataset: "ray.data.Dataset", schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """All rows of a dataset on the driver; blocks without rows have no columns."""
    blocks = (pl.from_arrow(block) for block in dataset.iter_batches(batch_size=None, batch_format="pyarrow") if block.num_rows)
    return pl.concat([pl.DataFrame(schema=schema), *(block.select(*schema).cast(schema) for block in blocks)])


def _components(edges: pl.DataFrame) -> pl.DataFrame:
    """(id, smallest id of its connected component) of all ends of edges."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    ids = pl.concat([edges["left"], edges["right"]]).unique().sort()
    ends = [ids.search_sorted(edges[side]).to_numpy() for side in ("left", "right")]
    graph = coo_matrix((np.ones(edges.height, dtype=np.int8), ends), shape=(len(ids), len(ids)))
    return pl.DataFrame({"id": ids, "label": connected_components(graph, directed=False)[1]}).select("id", cluster=pl.col("id").min().over("label"))
