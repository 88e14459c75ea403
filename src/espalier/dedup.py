"""Drop samples that say the same: exactly (problem key or prompt), then nearly (MinHash LSH), in a leaf and then across.

Reads scored rows; gives (kept, dropped). Of a cluster the best-scored row stays. Candidates come from locality-sensitive hashing (minhash.py)
and are verified with the exact Jaccard similarity (pairs.py), so precision is 1 and only recall is a matter of chance.

In templated text near is not same: "list : 4 9 2 . what is the largest number ?" and "list : 4 9 3 . ..." are different problems
that share most 3-grams. Where problem keys exist the exact pass is right on its own; set the threshold high there. And shingle what varies:
over a whole record with a long frame of boilerplate one tool-use set lost 98 % of its rows at 0.6, over its last turn 16 % at 0.7.

Shingles are of words: 5-grams for web text (FineWeb), 3 for short synthetic samples, where one changed word already touches most 5-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.overlap import Shingles, jaccard, shingle_sets
from espalier.pairs import components, keys_of, keys_within
from espalier.settings import Dedup
from espalier.text import effective_leaves, fold, full_text

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


def _exact_keys(rows: pl.DataFrame) -> list[tuple[str, str]]:
    columns = rows.select("problem_key", "context", "query").iter_rows()
    return [("key", key) if key else ("text", fold(f"{context} {query}")) for key, context, query in columns]


def _codes(keys: Sequence[str] | Sequence[tuple[str, str]]) -> Ints:
    numbers: dict[str | tuple[str, str], int] = {}
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
    """n rows by id: the number of each one's leaf, its rank, its shingles, and the keys of its bands (bands x rows; 0 for exact copies)."""

    leaves: Ints
    rank: Ints
    shingles: Shingles
    keys: NDArray[np.uint64]


def _corpus(rows: pl.DataFrame, alive: Ints, rank: Ints, settings: Dedup) -> _Corpus:
    texts = [full_text(*row) for row in rows.select("context", "query", "answer").iter_rows()]
    found = keys_of([texts[i] for i in alive], settings)
    keys = np.zeros((len(found), len(texts)), dtype=np.uint64)
    keys[:, alive] = found
    return _Corpus(_codes(rows["delivered_leaf"].to_list()), rank, shingle_sets(texts, settings.shingle_words), keys)


def _near_links(corpus: _Corpus, alive: Ints, threshold: float, *, across: bool) -> Ints:
    """For every row the one that stays for it after this pass: itself, or the best of its connected component."""
    link = np.arange(len(corpus.rank))
    link[alive] = alive[_best_of(_components(corpus, alive, threshold, across=across), corpus.rank[alive])]
    return link


def _components(corpus: _Corpus, alive: Ints, threshold: float, *, across: bool) -> Ints:
    """Labels of the connected components over verified pairs: of one leaf each, or (`across`) of different leaves only.

    Pairs of one leaf have been judged when it comes to those of different leaves.
    """
    shingles = Shingles(corpus.shingles.grams, corpus.shingles.starts[alive], corpus.shingles.sizes[alive])
    keys, leaves = corpus.keys[:, alive], corpus.leaves[alive]
    return components(keys if across else keys_within(keys, leaves), shingles, threshold, apart=leaves if across else None)


def _split(rows: pl.DataFrame, exact: Ints, stays_for: Ints, corpus: _Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    here = np.arange(rows.height)
    keep = stays_for == here
    gone = here[~keep]
    _, first, cluster = np.unique(stays_for, return_index=True, return_inverse=True)
    dropped = rows[gone].with_columns(
        pl.Series("reason", np.where(exact != here, "exact", "near")[gone].tolist(), dtype=pl.String),
        rows["id"][stays_for[gone]].alias("duplicate_of"),
        rows["id"][first[cluster][gone]].alias("cluster"),
        pl.Series("jaccard", jaccard(corpus.shingles, gone, stays_for[gone]), dtype=pl.Float64),
    )
    return rows.filter(pl.Series(keep)), dropped
