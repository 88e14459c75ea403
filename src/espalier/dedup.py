"""Drop samples that say the same: exactly (problem key or prompt), then nearly (MinHash LSH), in a leaf and then across.

Reads scored rows; gives (kept, dropped). Of a cluster the best-scored row stays. Candidates come from locality-sensitive hashing and
are verified with the exact Jaccard similarity, so precision is 1 and only recall is a matter of chance (at least RECALL for a pair at
the threshold). Verification matters: the transitive closure over unverified bands has swallowed whole corpora.

In templated text near is not same: "list : 4 9 2 . what is the largest number ?" and "list : 4 9 3 . ..." are different problems
that share most 3-grams. Where problem keys exist the exact pass is right on its own; set the threshold high there.

Source: Broder 1997 (MinHash); Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", section 3.4 (bands).
Signatures are those of datasketch 2.x, scheme affine32 (1.x gives other values; requirements pin >=2,<3).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from espalier.settings import Dedup
from espalier.text import effective_leaves, fold, full_text, shingles

RECALL = 0.98  # wanted probability that a pair exactly at the threshold becomes a candidate; datasketch's own bands give 0.40 at 0.8
SCHEME = "affine32"
PERMUTATION_SEED = 1  # datasketch's default; verification makes the result independent of it but for missed pairs
CHUNK_PAIRS = 200_000  # pairs verified at a time: about 100 MB at 25 words a row
VERDICT_RANK = {"right": 0, "unknown": 1, "unparseable": 2, "wrong": 3}

Ints = NDArray[np.int64]


def dedup_rows(frame: pl.DataFrame, settings: Dedup) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into (kept, dropped), both sorted by id; the order of the input does not matter.

    Best first: verdict right, unknown, unparseable, wrong; then vote_share, logprob_mean (high is good, missing is worst), then the smallest id.
    Dropped rows get reason (`exact` | `near`), duplicate_of (id of the row that stays), cluster (the smallest id of all rows that
    ended in that one) and jaccard (0..1, with the row that stays; it may lie below the threshold when the rows are linked
    through others, or for two wordings of one problem key).
    """
    rows = frame.sort("id")
    rank = _rank(rows)
    exact = _best_of(_codes(_exact_keys(rows)), rank)
    alive = np.flatnonzero(exact == np.arange(rows.height))
    corpus = _corpus(rows, alive, rank, settings)
    stays_for = exact
    for across in (False, True):
        link = _near_links(corpus, alive, settings.threshold, across=across)
        stays_for = link[stays_for]
        alive = alive[link[alive] == alive]
    return _split(rows, exact, stays_for, corpus)


def dedup_metrics(kept: pl.DataFrame, dropped: pl.DataFrame, settings: Dedup) -> dict[str, float]:
    """Counts per reason, coverage, and two alarms.

    `largest_cluster_rows`: a boilerplate cluster that swallows the corpus. `dropped_linked`: near rows whose similarity to
    the row that stays is below the threshold, so that only a chain of others joins them.
    """
    near = dropped.filter(pl.col("reason") == "near")
    rows_in = kept.height + dropped.height
    return {
        "rows_in": rows_in,
        "rows_kept": kept.height,
        "kept_share": kept.height / max(rows_in, 1),
        "dropped_exact": dropped.height - near.height,
        "dropped_near": near.height,
        "dropped_linked": near.filter(pl.col("jaccard") < settings.threshold).height,
        "largest_cluster_rows": int(dropped["cluster"].value_counts()["count"].max() or 0) + min(kept.height, 1),
        "effective_leaves_before": effective_leaves([*kept["delivered_leaf"], *dropped["delivered_leaf"]]),
        "effective_leaves_after": effective_leaves(kept["delivered_leaf"]),
    }


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


def sketch(sets: Sequence[set[int]], *, permutations: int) -> NDArray[np.uint32]:
    """MinHash signatures, sets x permutations: bit for bit datasketch's affine32 over the low 32 bits of the shingle hashes."""
    from datasketch import MinHash  # 1.5 s of import, paid only where rows are compared

    made = MinHash.generator(sets, num_perm=permutations, seed=PERMUTATION_SEED, hashfunc=_low_bits, scheme=SCHEME)
    return np.stack([minhash.hashvalues for minhash in made])


def _low_bits(gram: int) -> int:
    return gram & 0xFFFFFFFF


def _exact_keys(rows: pl.DataFrame) -> list[tuple[str, str]]:
    columns = rows.select("problem_key", "context", "query").iter_rows()
    return [("key", key) if key else ("text", fold(f"{context} {query}")) for key, context, query in columns]


def _codes(keys: Sequence[tuple[str, str]]) -> Ints:
    numbers: dict[tuple[str, str], int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def _rank(rows: pl.DataFrame) -> Ints:
    """Position of each row (rows sorted by id) from best to worst, 0 best."""
    columns = rows.select("verdict", "vote_share", "logprob_mean").iter_rows()
    worth = [(VERDICT_RANK[verdict], -_number(vote), -_number(logprob), i) for i, (verdict, vote, logprob) in enumerate(columns)]
    return np.argsort(np.array([one[-1] for one in sorted(worth)], dtype=np.int64))


def _number(value: float | None) -> float:
    """A missing score is the worst; NaN would make the order depend on that of the rows."""
    return float("-inf") if value is None or value != value else value


def _best_of(labels: Ints, rank: Ints) -> Ints:
    """For each row the position of the best-ranked row with the same label."""
    by_rank = np.argsort(rank)
    _, first, inverse = np.unique(labels[by_rank], return_index=True, return_inverse=True)
    best = np.empty(len(labels), dtype=np.int64)
    best[by_rank] = by_rank[first][inverse]
    return best


@dataclass(frozen=True, slots=True)
class _Corpus:
    """n rows by id; `grams` rows x distinct shingles, 0 or 1; `sizes` its row sums; `sketches` rows x permutations, 0 for exact copies."""

    leaves: Ints
    rank: Ints
    grams: csr_matrix
    sizes: Ints
    sketches: NDArray[np.uint32]


def _corpus(rows: pl.DataFrame, alive: Ints, rank: Ints, settings: Dedup) -> _Corpus:
    texts = [full_text(*row) for row in rows.select("context", "query", "answer").iter_rows()]
    sets = [shingles(text, settings.shingle_words) for text in texts]
    sketches = np.zeros((len(sets), settings.permutations), dtype=np.uint32)
    if len(alive):
        sketches[alive] = sketch([sets[i] for i in alive], permutations=settings.permutations)
    sizes = np.array([len(one) for one in sets], dtype=np.int64)
    leaves = _codes(rows["delivered_leaf"].to_list())
    return _Corpus(leaves, rank, _gram_matrix(sets, sizes), sizes, sketches)


def _gram_matrix(sets: Sequence[set[int]], sizes: Ints) -> csr_matrix:
    values = np.array([gram for one in sets for gram in one], dtype=np.uint64)
    grams, column = np.unique(values, return_inverse=True)
    row = np.repeat(np.arange(len(sets)), sizes)
    return csr_matrix((np.ones(len(values), dtype=np.int32), (row, column)), shape=(len(sets), len(grams)))


def _near_links(corpus: _Corpus, alive: Ints, threshold: float, *, across: bool) -> Ints:
    """For every row the one that stays for it after this pass: itself, or the best of its connected component."""
    link = np.arange(len(corpus.rank))
    if len(alive):
        link[alive] = alive[_best_of(_components(corpus, alive, threshold, across=across), corpus.rank[alive])]
    return link


def _components(corpus: _Corpus, alive: Ints, threshold: float, *, across: bool) -> Ints:
    """Labels of the connected components over verified pairs: of one leaf each, or (`across`) of different leaves only."""
    labels, leaves, sketches = np.arange(len(alive)), corpus.leaves[alive], corpus.sketches[alive]
    bands, size = choose_bands(threshold, sketches.shape[1])
    for band in range(bands):
        values = sketches[:, band * size : (band + 1) * size]
        keys = _band_keys(values if across else np.column_stack([values, leaves.astype(np.uint32)]))
        for left, right in _bucket_pairs(keys):
            open_ = labels[left] != labels[right]  # pairs that are joined already need no look: the components stay the same
            if across:  # those of one leaf were judged in the first pass
                open_ &= leaves[left] != leaves[right]
            left, right = left[open_], right[open_]
            same = _jaccard(corpus, alive[left], alive[right]) >= threshold
            labels = _merge(labels, left[same], right[same])
    return labels


def _band_keys(values: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """One 64-bit number for each row of values; a rare collision only adds a pair that is then verified."""
    keys = np.zeros(len(values), dtype=np.uint64)
    for column in values.T:
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + column
    return keys


def _bucket_pairs(keys: NDArray[np.uint64]) -> Iterator[tuple[Ints, Ints]]:
    """All pairs of positions with equal keys, in chunks; neighbours first, which already joins a bucket of true duplicates."""
    order = np.argsort(keys, kind="stable")
    ordered, at, step = keys[order], np.arange(len(keys)), 0
    waiting, pairs = [], 0
    while len(at):
        step += 1
        at = at[at + step < len(keys)]
        at = at[ordered[at] == ordered[at + step]]
        waiting.append(np.stack([order[at], order[at + step]]))
        pairs += len(at)
        if step == 1 or pairs >= CHUNK_PAIRS or not len(at):
            left, right = np.concatenate(waiting, axis=1)
            yield left, right
            waiting, pairs = [], 0


def _jaccard(corpus: _Corpus, left: Ints, right: Ints) -> NDArray[np.float64]:
    """|A and B| / |A or B| for each pair, exact; 1 for two empty texts."""
    shared = np.asarray(corpus.grams[left].multiply(corpus.grams[right]).sum(axis=1)).ravel()
    union = corpus.sizes[left] + corpus.sizes[right] - shared
    return np.where(union > 0, shared / np.maximum(union, 1), 1.0)


def _merge(labels: Ints, left: Ints, right: Ints) -> Ints:
    """Labels after the pairs are joined."""
    n = len(labels)
    edges = coo_matrix((np.ones(len(left), dtype=np.int8), (labels[left], labels[right])), shape=(n, n))
    return connected_components(edges, directed=False)[1][labels].astype(np.int64) if len(left) else labels


def _split(rows: pl.DataFrame, exact: Ints, stays_for: Ints, corpus: _Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    here = np.arange(rows.height)
    keep = stays_for == here
    gone = here[~keep]
    _, first, cluster = np.unique(stays_for, return_index=True, return_inverse=True)
    dropped = rows[gone].with_columns(
        pl.Series("reason", np.where(exact != here, "exact", "near")[gone].tolist(), dtype=pl.String),
        rows["id"][stays_for[gone]].alias("duplicate_of"),
        rows["id"][first[cluster][gone]].alias("cluster"),
        pl.Series("jaccard", _jaccard(corpus, gone, stays_for[gone]), dtype=pl.Float64),
    )
    return rows.filter(pl.Series(keep)), dropped
