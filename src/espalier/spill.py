"""Near-duplicate clusters of more documents than fit into memory: what is large goes to a scratch folder and comes back one band at a time.

Reads batches of documents, or a parquet file of them (columns id and text). Leaves `clusters/*.parquet` in the scratch folder, one row for each
document in the order of the input: id, row (its number from 0), cluster (the row of the cluster's first document) and stays (whether it
is that one). So put the best documents first where it matters which stays.

Held in memory: about 60 bytes a document (16 more while a band is sorted), a batch, and the shingles of BLOCK_MEMBERS documents. On disk, while it
runs: 8 bytes a band and document, and 8 bytes a distinct shingle, about 1.3 times the text. The result is that of `pairs.near_clusters`.
"""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.errors import CorruptInput, EspalierError, InputMissing
from espalier.minhash import choose_bands
from espalier.overlap import Shingles, over_chunks
from espalier.pairs import buckets, join, roots, sketch
from espalier.settings import Dedup

BATCH_ROWS = 16_384  # rows taken of a parquet file at a time; 25 MB of web documents
PART_ROWS = 131_072  # documents a spilled file of keys; a file is opened once a band, which takes 4 ms
BLOCK_MEMBERS = 65_536  # documents whose shingles are held at a time when a band is verified; 120 MB of web documents

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Found:
    """What `cluster_documents` counts. An alarm: a `largest_cluster` that is a good part of all documents is most often boilerplate."""

    documents: int
    kept: int
    exact_copies: int  # documents with the shingles of an earlier one
    largest_cluster: int


@dataclass(frozen=True, slots=True)
class _Spilled:
    """n documents in the scratch folder. `parts` hold id, copy_key and the key of every band; `grams` the shingles, sizes[i] of them at starts[i]."""

    parts: list[Path]
    grams: Path
    starts: Ints
    sizes: Ints


def cluster_documents(source: Path | Iterable[pl.DataFrame], scratch: Path, *, settings: Dedup) -> Found:
    """Write the clusters of the documents into scratch/clusters (above) and count them. The scratch folder is made, or must be empty.

    source: a parquet file or frames, each with the columns id and text (String, no nulls). Clusters are connected components over pairs of Jaccard
    similarity >= threshold, every pair verified. Documents with equal sets of shingles are one before bands are looked at.
    Raises: InputMissing, CorruptInput for a source that cannot be read; EspalierError for a scratch folder that holds something.
    """
    if scratch.is_dir() and any(scratch.iterdir()):
        raise EspalierError(f"{scratch}: is not empty; name an empty folder, or a new one, for what is spilled")
    scratch.mkdir(parents=True, exist_ok=True)
    batches = _read_ahead(map(_checked, _batches_of(source) if isinstance(source, Path) else source))
    spilled = _spill(batches, scratch, settings)
    parents = np.arange(len(spilled.sizes))
    alive = _join_copies(parents, spilled)
    for band in range(choose_bands(settings.threshold, settings.permutations)[0]):
        _join_band(parents, alive, spilled, band=band, threshold=settings.threshold)
    firsts = roots(parents)
    _write_clusters(firsts, spilled.parts, scratch)
    largest = int(np.bincount(firsts).max(initial=0))
    return Found(len(firsts), int(np.sum(firsts == np.arange(len(firsts)))), len(firsts) - len(alive), largest)


def _batches_of(path: Path) -> Iterator[pl.DataFrame]:
    if not path.is_file():
        raise InputMissing(f"{path}: no such file; name a parquet file with the columns id and text")
    try:
        yield from pl.scan_parquet(path).select("id", "text").collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise CorruptInput(f"{path}: not a parquet file with the columns id and text ({str(error).splitlines()[0]})") from error


def _checked(batch: pl.DataFrame) -> pl.DataFrame:
    kinds = {name: batch.schema.get(name) for name in ("id", "text")}
    nulls = {name: batch[name].null_count() for name, kind in kinds.items() if kind == pl.String}
    if len(nulls) < 2 or any(nulls.values()):
        raise CorruptInput(f"documents to deduplicate: found columns {kinds} with nulls {nulls}; wanted are id and text, both String and without null")
    return batch.select("id", "text")


def _read_ahead(batches: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """The same batches; the next is read while one is worked on."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _spill(batches: Iterable[pl.DataFrame], scratch: Path, settings: Dedup) -> _Spilled:
    parts: list[Path] = []
    waiting, sizes = [], [np.empty(0, dtype=np.int64)]

    def write_part() -> None:
        parts.append(scratch / f"bands-{len(parts):06}.parquet")
        pl.concat(waiting).write_parquet(parts[-1], compression="uncompressed", statistics=False)
        waiting.clear()

    with (scratch / "shingles.u64").open("wb") as file:
        for batch in batches:
            keys, found = _spill_batch(batch, file, settings)
            waiting.append(keys)
            sizes.append(found)
            if sum(map(len, waiting)) >= PART_ROWS:
                write_part()
        if waiting:
            write_part()
    whole = np.concatenate(sizes)
    return _Spilled(parts, scratch / "shingles.u64", np.cumsum(whole) - whole, whole)


def _spill_batch(batch: pl.DataFrame, file: BinaryIO, settings: Dedup) -> tuple[pl.DataFrame, Ints]:
    """Write a batch's shingles; gives its keys and the numbers of its shingles."""
    made = over_chunks(partial(sketch, settings=settings), batch["text"].to_list())
    for grams, *_ in made:
        file.write(grams)
    bands = {f"band_{i}": band for i, band in enumerate(np.concatenate([keys for _, _, keys, _ in made], axis=1))}
    keys = pl.DataFrame({"id": batch["id"], "copy_key": np.concatenate([one for *_, one in made]), **bands})
    return keys, np.concatenate([sizes for _, sizes, *_ in made])


def _column(parts: list[Path], name: str) -> Hashes:
    """One column of all parts."""
    return np.concatenate([np.empty(0, dtype=np.uint64), *(pl.read_parquet(part, columns=[name])[name].to_numpy() for part in parts)])


def _join_copies(parents: Ints, spilled: _Spilled) -> Ints:
    """Unite documents of equal shingles under the first of them; gives these firsts."""
    keys = _column(spilled.parts, "copy_key")
    order = np.argsort(keys, kind="stable")
    begins = np.append(True, np.diff(keys[order]) != 0)[: len(keys)]
    parents[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return np.sort(order[begins])


def _join_band(parents: Ints, alive: Ints, spilled: _Spilled, *, band: int, threshold: float) -> None:
    """Verify one band's buckets, block by block, and unite what is near."""
    members, ends = buckets(_column(spilled.parts, f"band_{band}")[alive])
    members, ends = _open(alive[members], ends, roots(parents))
    apart = np.arange(len(parents))
    first = 0
    while first < len(ends):
        begin = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, begin + BLOCK_MEMBERS, side="right")))
        block = members[begin : ends[last - 1]]
        wanted, places = np.unique(block, return_inverse=True)
        shingles = _load(spilled, wanted)
        join(parents, block, ends[first:last] - begin, shingles=shingles, places=places, apart=apart, threshold=threshold)
        first = last


def _open(members: Ints, ends: Ints, labels: Ints) -> tuple[Ints, Ints]:
    """The buckets that are not yet of one component."""
    if not len(ends):
        return members, ends
    sizes = np.diff(ends, prepend=0)
    found = labels[members]
    differs = np.logical_or.reduceat(found != np.repeat(found[ends - sizes], sizes), ends - sizes)
    return members[np.repeat(differs, sizes)], np.cumsum(sizes[differs])


def _load(spilled: _Spilled, wanted: Ints) -> Shingles:
    """The shingles of the documents at the rows `wanted`; read piece by piece, for mapped pages would count as memory."""
    whole = bytearray()
    with spilled.grams.open("rb", buffering=0) as file:
        for start, size in zip((8 * spilled.starts[wanted]).tolist(), (8 * spilled.sizes[wanted]).tolist(), strict=True):
            whole += os.pread(file.fileno(), size, start)
    sizes = spilled.sizes[wanted]
    assert len(whole) == 8 * sizes.sum(), (len(whole), sizes.sum())
    return Shingles(np.frombuffer(whole, dtype=np.uint64), np.cumsum(sizes) - sizes, sizes)


def _write_clusters(firsts: Ints, parts: list[Path], scratch: Path) -> None:
    """The result, part by part; what was spilled is removed."""
    made = scratch / "clusters.making"
    made.mkdir()
    row = 0
    for part in parts:
        ids = pl.read_parquet(part, columns=["id"])
        rows = np.arange(row, row + ids.height)
        row += ids.height
        table = ids.with_columns(row=rows, cluster=firsts[rows], stays=firsts[rows] == rows)
        table.write_parquet(made / part.name.removeprefix("bands-"), statistics=False)
        part.unlink()
    (scratch / "shingles.u64").unlink()
    made.rename(scratch / "clusters")
