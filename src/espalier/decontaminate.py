"""Drop training rows that give away exam items: by problem key, by equal text, by shared n-grams.

Reads rows and exam items (item, split, context, query, problem_key); gives (kept, dropped). Runs last, on prompt and reply,
because evolution and rephrasing bring leaks back after an early check.

What it cannot see: a rephrased item without a problem key. Measured on templated tasks, 10-grams find 20 % of the true leaks at
65 % precision and 13-grams 3 %; and at small n two different problems of one template share most n-grams ("list : 4 9 2 . what
is the largest number ?" and "list : 4 9 3 . what is ..."), which are false alarms. So where keys exist the key tier is the one
to rely on, with `max_coverage` high. Usual n: open-instruct 8, Cosmopedia 10, GPT-3 13.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from espalier.settings import Decontaminate
from espalier.text import fold, full_text, hash_ngrams, match_words

TIERS = ("key", "exact", "ngram")
CHUNK_CELLS = 4_000_000  # rows x items compared at a time: 32 MB of shares

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Index:
    """The exam: items sorted by id, their texts as a matrix gram x item, the look-ups key -> item and text -> item."""

    items: list[str]
    grams: NDArray[np.uint64]
    grams_by_item: csr_matrix
    n_grams: Floats
    by_key: dict[str, int]
    by_text: dict[str, int]


def decontaminate_rows(
    frame: pl.DataFrame, items: pl.DataFrame, *, settings: Decontaminate
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into (kept, dropped), each in the order it came.

    Tiers, the first that speaks gives the reason: `key` (equal, not empty problem_key), `exact` (context and query equal after white-space
    folding), `ngram` (coverage = |n-grams of the item in the row's prompt and reply| / |n-grams of the item|, distinct ones, at or above
    the limit; a limit of 0 means any shared n-gram). Items shorter than n words have no n-grams and are guarded by the first two tiers alone.
    Dropped rows get reason, item, split (of the exam) and coverage (0..1, of that item). Of several items: the best covered, then the smallest id.

    Source of the coverage: open-instruct's decontamination (share of the test instance covered by one training document).
    """
    items = items.sort("item")
    hits, tiers, coverage = _judge(frame, _index(items, settings.ngram), settings)
    keep = hits < 0
    found = hits[~keep]
    dropped = frame.filter(pl.Series(~keep)).with_columns(
        pl.Series("reason", [TIERS[tier] for tier in tiers[~keep]], dtype=pl.String),
        items["item"][found].alias("item"),
        items["split"][found].alias("split"),
        pl.Series("coverage", coverage[~keep], dtype=pl.Float64),
    )
    return frame.filter(pl.Series(keep)), dropped


def decontaminate_metrics(
    kept: pl.DataFrame, dropped: pl.DataFrame, items: pl.DataFrame, *, settings: Decontaminate
) -> dict[str, float]:
    """Rows dropped per tier, exam items that were touched, and items too short for the n-gram tier."""
    rows_in = kept.height + dropped.height
    lengths = [len(match_words(text)) for text in _exam_texts(items)]
    return {
        "rows_in": rows_in,
        "rows_kept": kept.height,
        "dropped_share": dropped.height / max(rows_in, 1),
        **{f"dropped_{tier}": dropped.filter(pl.col("reason") == tier).height for tier in TIERS},
        "items_touched": dropped["item"].n_unique(),
        "items_touched_share": dropped["item"].n_unique() / max(items.height, 1),
        "items_too_short": sum(length < settings.ngram for length in lengths),
    }


def _exam_texts(items: pl.DataFrame) -> list[str]:
    """The text of an item is its prompt: a row may well have the same short answer."""
    return [fold(f"{context} {query}") for context, query in items.select("context", "query").iter_rows()]


def _index(items: pl.DataFrame, ngram: int) -> _Index:
    texts = _exam_texts(items)
    grams_of = [sorted(set(hash_ngrams(match_words(text), ngram))) for text in texts]
    sizes = np.array([len(grams) for grams in grams_of], dtype=np.int64)
    flat = np.array([gram for grams in grams_of for gram in grams], dtype=np.uint64)
    grams, gram_index = np.unique(flat, return_inverse=True)
    item_index = np.repeat(np.arange(items.height), sizes)
    matrix = csr_matrix((np.ones(len(flat)), (gram_index, item_index)), shape=(len(grams), items.height))
    return _Index(items["item"].to_list(), grams, matrix, sizes.astype(float), _first(items["problem_key"].to_list()), _first(texts))


def _first(values: list[str]) -> dict[str, int]:
    """value -> its first position; empty values are no evidence."""
    found: dict[str, int] = {}
    for i, value in enumerate(values):
        if value:
            found.setdefault(value, i)
    return found


def _judge(
    frame: pl.DataFrame, index: _Index, settings: Decontaminate
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """For each row the item that it gives away (-1: none), the tier that saw it and the coverage of that item."""
    prompts = [fold(f"{context} {query}") for context, query in frame.select("context", "query").iter_rows()]
    by_key = np.array([index.by_key.get(key, -1) for key in frame["problem_key"]], dtype=np.int64)
    by_text = np.array([index.by_text.get(prompt, -1) for prompt in prompts], dtype=np.int64)
    hits = np.where(by_key >= 0, by_key, by_text)
    tiers = np.where(by_key >= 0, TIERS.index("key"), TIERS.index("exact"))
    coverage = np.zeros(frame.height)
    for rows, shares in _coverages(frame, index, settings.ngram):
        best = shares.argmax(axis=1)
        highest = shares[np.arange(len(rows)), best]
        leaks = (hits[rows] < 0) & (highest > 0) & (highest >= settings.max_coverage)
        hits[rows[leaks]], tiers[rows[leaks]] = best[leaks], TIERS.index("ngram")
        coverage[rows] = shares[np.arange(len(rows)), hits[rows].clip(0)]
    return hits, tiers, coverage


def _coverages(frame: pl.DataFrame, index: _Index, ngram: int) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    """Chunks of (row positions, shares of shape rows x items)."""
    if not index.items:
        return
    texts = [full_text(*row) for row in frame.select("context", "query", "answer").iter_rows()]
    chunk = max(1, CHUNK_CELLS // len(index.items))
    for start in range(0, len(texts), chunk):
        part = texts[start : start + chunk]
        shared = (_known_grams(part, index.grams, ngram) @ index.grams_by_item).toarray()
        yield np.arange(start, start + len(part)), shared / np.maximum(index.n_grams, 1.0)


def _known_grams(texts: list[str], grams: NDArray[np.uint64], ngram: int) -> csr_matrix:
    """Rows x exam grams, 1 where the row holds the gram; grams that no item has are not stored."""
    found = [set(hash_ngrams(match_words(text), ngram)) for text in texts]
    flat = np.array([gram for one in found for gram in one], dtype=np.uint64)
    row_index = np.repeat(np.arange(len(texts)), [len(one) for one in found])
    column = np.searchsorted(grams, flat)
    known = np.append(grams, np.uint64(0))[column] == flat if len(grams) else np.zeros(len(flat), dtype=bool)
    known &= column < len(grams)
    return csr_matrix((np.ones(int(known.sum())), (row_index[known], column[known])), shape=(len(texts), len(grams)))
