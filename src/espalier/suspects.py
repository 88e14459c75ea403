"""Rows that decontamination keeps and a person should see: they may give an item away in other words, or be a part of one. Nothing is dropped by this list.

Signals: `similar` (cosine of letters, paraphrase.py), `numbers` (the same multiset of numbers, numbers.py), `within` (nearly all n-grams of the prompt or
the reply stand in one item: a part of it; in templated tasks also an easier problem of the same kind, which is why it drops nothing).

Where an item has a problem key that knows of other wordings, a row with another key is another problem, whatever it looks like, and is not listed with that
item. (In the built-in world that leaves the rows whose problem cannot be read.)
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.benchmarks import item_texts, numbered
from espalier.containment import NgramIndex, Places, cover, index_ngrams
from espalier.decontaminate import ROWS, in_threads, part_texts
from espalier.numbers import number_key
from espalier.paraphrase import LetterIndex, index_letters, most_alike
from espalier.seeds import digest
from espalier.settings import Decontaminate
from espalier.text import match_words
from espalier.wordhash import hash_words

SIGNALS = ("similar", "numbers", "within")
SCHEMA = {"id": pl.String, "signal": pl.String, "strength": pl.Float64, "benchmark": pl.String, "item": pl.String, "context": pl.String, "query": pl.String}
SCHEMA |= {"answer": pl.String, "item_text": pl.String}

Found = tuple[str, Places, NDArray[np.float64]]


def list_suspects(kept: pl.DataFrame, items: pl.DataFrame, *, settings: Decontaminate) -> pl.DataFrame:
    """At most one line for each row, benchmark and signal: the most similar pairs first, then those with equal numbers, then parts, each by strength and id.

    strength: for `similar` the cosine (min_similarity .. 1) of prompt or reply with the item, for `within` the share of the part's n-grams in the item
    (max_coverage .. 1, at `ngram` words), for `numbers` 1. Columns: SCHEMA; context, query, answer are the row's.
    """
    frame, names, groups = numbered(items)
    texts = item_texts(frame)
    lines: list[tuple] = []
    if names:
        letters = index_letters(texts, groups=groups)
        grams = index_ngrams(*hash_words(texts), settings.ngram, groups=groups)
        numbers = _by_numbers(texts, groups, len(names))
        keys = [key if is_known else "" for key, is_known in zip(frame["problem_key"], _know_wordings(frame, texts), strict=True)]
        chunks = [kept.slice(start, ROWS) for start in range(0, kept.height, ROWS)]
        for rows, signals in zip(chunks, in_threads(lambda rows: list(_signals(part_texts(rows), letters, grams, numbers, settings)), chunks), strict=True):
            for found in signals:
                lines += _lines(rows, found, frame, texts, keys)
    order = [pl.col("signal").cast(pl.Enum(SIGNALS)), pl.col("strength"), pl.col("id"), pl.col("benchmark")]
    return pl.DataFrame(lines, schema=SCHEMA, orient="row").sort(order, descending=[False, True, False, False])


def _signals(parts: list[str], letters: LetterIndex, grams: NgramIndex, numbers: Sequence[Mapping[str, int]], settings: Decontaminate) -> Iterator[Found]:
    """(signal, items, strengths), both rows x benchmarks, item -1 where the signal is silent."""
    alike, cosines = most_alike(parts, letters)
    better = np.where(cosines[1::2] > cosines[0::2], 1, 0)
    rows, columns = np.indices(better.shape)
    strength = cosines[2 * rows + better, columns]
    yield "similar", np.where(strength >= settings.min_similarity, alike[2 * rows + better, columns], -1), strength
    equal = np.array([[table.get(key, -1) if key else -1 for table in numbers] for key in map(number_key, parts)], dtype=np.int64)
    equal = np.where(equal[0::2] >= 0, equal[0::2], equal[1::2])
    yield "numbers", equal, np.ones(equal.shape)
    shared = cover(*hash_words(parts), grams)
    yield "within", np.where(shared.part_share >= settings.max_coverage, shared.part_item, -1), shared.part_share


def _by_numbers(texts: Sequence[str], groups: Places, n_groups: int) -> list[dict[str, int]]:
    found: list[dict[str, int]] = [{} for _ in range(n_groups)]
    for place, (text, group) in enumerate(zip(texts, groups.tolist(), strict=True)):
        found[group].setdefault(number_key(text), place)
    return found


def _know_wordings(items: pl.DataFrame, texts: Sequence[str]) -> list[bool]:
    """Whether an item's key says more than its own words do: a hash of the words (the world general) is another one for every wording."""
    return [bool(key) and key != digest(*match_words(text)) for key, text in zip(items["problem_key"], texts, strict=True)]


def _lines(rows: pl.DataFrame, found: Found, items: pl.DataFrame, texts: Sequence[str], keys: Sequence[str]) -> Iterator[tuple]:
    signal, places, strengths = found
    row_keys = rows["problem_key"].to_list()
    for row, group in np.argwhere(places >= 0).tolist():
        place = int(places[row, group])
        if keys[place] and row_keys[row] and keys[place] != row_keys[row]:
            continue
        benchmark, item = items.row(place, named=True)["benchmark"], items["item"][place]
        told = rows.row(row, named=True)
        yield told["id"], signal, float(strengths[row, group]), benchmark, item, told["context"], told["query"], told["answer"], texts[place]
