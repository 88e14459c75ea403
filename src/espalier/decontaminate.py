"""Drop training rows that give away items of the exam or of a benchmark: by problem key, by equal text, by shared n-grams.

Reads rows and items (benchmark, item, split, context, query, problem_key; benchmarks.py). Runs last, on prompt and reply, because evolution and rephrasing
bring leaks back after an early check. What it does not drop but a person should see is listed by suspects.py.

What it cannot see: a rephrased item without a problem key (`make canaries` measures how much). Measured on templated tasks, 10-grams find 20 % of the true
leaks at 65 % precision and 13-grams 3 %; and at small n two different problems of one template share most n-grams ("list : 4 9 2 . what is the largest
number ?" and "list : 4 9 3 . what is ..."), which are false alarms. So where keys exist the key tier is the one to rely on, with `max_coverage` high.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import polars as pl

from espalier.benchmarks import item_texts, numbered
from espalier.containment import NgramIndex, Places, Words, cover, index_ngrams, pair_shares, sequence_hashes
from espalier.errors import ContaminationError
from espalier.settings import Decontaminate
from espalier.text import fold
from espalier.wordhash import hash_words

TIERS = ("key", "exact", "ngram")
MEASURED = (8, 10, 13)  # words: open-instruct, Cosmopedia, GPT-3 (arXiv 2005.14165, appendix C)
SHARES = tuple(f"{name}_{n}" for n in MEASURED for name in ("coverage", "row_coverage"))
ROWS = 5_000  # looked at together: some 20 MB of words
EXAMPLES = 5  # ids that a message names

Part, Made = TypeVar("Part"), TypeVar("Made")


@dataclass(frozen=True, slots=True)
class _Items:
    """All items, by benchmark and then by item, and what they are looked up by; place = position in `frame`."""

    frame: pl.DataFrame
    names: list[str]
    words: Words
    offsets: Places
    index: NgramIndex
    by_key: list[dict[str, int]]
    by_text: list[dict[str, int]]
    texts: Words


def decontaminate_rows(frame: pl.DataFrame, items: pl.DataFrame, *, settings: Decontaminate) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split rows into (kept, dropped), each in the order it came: `find_leaks` and `split_leaks` in one."""
    return split_leaks(frame, find_leaks(frame, items, settings=settings))


def find_leaks(frame: pl.DataFrame, items: pl.DataFrame, *, settings: Decontaminate) -> pl.DataFrame:
    """What each row gives away: at most one item a row and benchmark, sorted by row (its position), tier, benchmark.

    Tiers, the first that speaks gives the reason: `key` (equal, not empty problem_key), `exact` (the prompt or the reply is the item after white-space
    folding),
    `ngram` (coverage = |n-grams of the item in the row's prompt and reply| / |n-grams of the item|, distinct ones, at or above the limit; a limit of 0 means
    any shared n-gram). Items shorter than n words have no n-grams and are guarded by the first two tiers alone.
    Columns: row, benchmark, the SHARES at 8, 10 and 13 words (coverage_n as above; row_coverage_n = share of the n-grams of the prompt, or of the reply,
    that the item holds, the higher one), reason, item, split, coverage (at `ngram` words). Of several items: the best covered, then the smallest id.

    Source of the coverage: open-instruct's decontamination (share of the test instance covered by one training document).
    """
    known = _index(items, settings.ngram)
    chunks = in_threads(lambda start: _chunk_leaks(frame.slice(start, ROWS), start, known, settings), range(0, frame.height, ROWS))
    found = pl.DataFrame([leak for chunk in chunks for leak in chunk], schema=_schema(), orient="row")
    order = [pl.col("row"), pl.col("reason").cast(pl.Enum(TIERS)), pl.col("benchmark").cast(pl.Enum(known.names))]
    return found.sort(order)


def split_leaks(frame: pl.DataFrame, leaks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows as (kept, dropped), each in the order it came; of a row with several leaks the first counts."""
    numbered_rows = frame.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))
    first = leaks.unique("row", keep="first", maintain_order=True)
    dropped = numbered_rows.join(first, on="row", maintain_order="left").drop("row")
    return numbered_rows.join(first, on="row", how="anti", maintain_order="left").drop("row"), dropped


def decontaminate_metrics(
    kept: pl.DataFrame, dropped: pl.DataFrame, items: pl.DataFrame, *, leaks: pl.DataFrame, listed: pl.DataFrame, settings: Decontaminate
) -> dict[str, float | dict[str, float]]:
    """Rows dropped per tier, items that were touched, items too short for the n-gram tier; with other benchmarks than the exam also for each of them.

    covered_n: leaks whose item is covered at n words up to the limit, whatever tier saw them first. listed_rows: kept rows that people should look at.
    """
    rows_in = kept.height + dropped.height
    names = items["benchmark"].unique(maintain_order=True).to_list()
    total = {
        "rows_in": rows_in,
        "rows_kept": kept.height,
        "dropped_share": dropped.height / max(rows_in, 1),
        **{f"dropped_{tier}": dropped.filter(reason=tier).height for tier in TIERS},
        **_touched(items, leaks, listed, settings),
    }
    if len(names) < 2:
        return total
    return total | {name: _of_benchmark(name, items, leaks, listed, rows_in, settings) for name in names}


def check_leaks(frame: pl.DataFrame, leaks: pl.DataFrame, *, settings: Decontaminate, where: str) -> None:
    """Raises: ContaminationError when rows that give one benchmark away are more than `max_leaked_share` of all rows. `where`: what the message calls the
    rows."""
    for name, rows in leaks.group_by("benchmark", maintain_order=True).agg("row", "item").select("benchmark", "row").iter_rows():
        share = len(rows) / max(frame.height, 1)
        if share > settings.max_leaked_share:
            ids = ", ".join(frame["id"].gather(rows[:EXAMPLES]).to_list())
            raise ContaminationError(
                f"{where}: {len(rows):,} of {frame.height:,} rows ({share:.2%}) give away items of {name}, such as {ids}; "
                f"decontaminate.max_leaked_share allows {settings.max_leaked_share:.2%}: "
                "look where they come from (seeds, prompts, the teacher), for rephrased ones may be left, or raise the limit"
            )


def _touched(items: pl.DataFrame, leaks: pl.DataFrame, listed: pl.DataFrame, settings: Decontaminate) -> dict[str, float]:
    sizes = np.diff(hash_words(item_texts(items))[1])
    touched = leaks.select("benchmark", "item").n_unique()
    return {
        **{f"covered_{n}": leaks.filter(pl.col(f"coverage_{n}") >= settings.max_coverage).height for n in MEASURED},
        "items_touched": touched,
        "items_touched_share": touched / max(items.height, 1),
        "items_too_short": int((sizes < settings.ngram).sum()),
        "listed_rows": listed["id"].n_unique(),
    }


def _of_benchmark(name: str, items: pl.DataFrame, leaks: pl.DataFrame, listed: pl.DataFrame, rows_in: int, settings: Decontaminate) -> dict[str, float]:
    items, leaks, listed = (frame.filter(benchmark=name) for frame in (items, leaks, listed))
    tiers = {f"leaked_{tier}": leaks.filter(reason=tier).height for tier in TIERS}
    return {"leaked_share": leaks.height / max(rows_in, 1), **tiers, **_touched(items, leaks, listed, settings)}


def _schema() -> dict[str, type[pl.DataType]]:
    told = {"row": pl.Int64, "benchmark": pl.String, **dict.fromkeys(SHARES, pl.Float64)}
    return {**told, "reason": pl.String, "item": pl.String, "split": pl.String, "coverage": pl.Float64}


def _index(items: pl.DataFrame, ngram: int) -> _Items:
    frame, names, groups = numbered(items)
    texts = item_texts(frame)
    words, offsets = hash_words(texts)
    keys, folded = frame["problem_key"].to_list(), [fold(text) for text in texts]
    index = index_ngrams(words, offsets, ngram, groups=groups)
    return _Items(frame, names, words, offsets, index, _first(keys, groups, len(names)), _first(folded, groups, len(names)), sequence_hashes(words, offsets))


def _first(values: Sequence[str], groups: Places, n_groups: int) -> list[dict[str, int]]:
    """For each benchmark value -> its first place; empty values are no evidence."""
    found: list[dict[str, int]] = [{} for _ in range(n_groups)]
    for place, (value, group) in enumerate(zip(values, groups.tolist(), strict=True)):
        if value:
            found[group].setdefault(value, place)
    return found


def _chunk_leaks(rows: pl.DataFrame, start: int, known: _Items, settings: Decontaminate) -> list[tuple]:
    """The leaks of some rows, the first of which is row `start`."""
    if not known.names or not rows.height:
        return []
    texts = part_texts(rows)
    words, offsets = hash_words(texts)
    by_key = np.array([[table.get(key, -1) for table in known.by_key] for key in rows["problem_key"]], dtype=np.int64)
    by_text = _equal_texts(texts, sequence_hashes(words, offsets), known)
    shared = cover(words, offsets, known.index)
    covered = np.where((shared.item_share > 0) & (shared.item_share >= settings.max_coverage), shared.item, -1)
    tiers = np.stack([by_key, by_text, covered])
    ids, splits = known.frame["item"], known.frame["split"]
    leaks = []
    for row, group in np.argwhere((tiers >= 0).any(axis=0)).tolist():
        tier = int((tiers[:, row, group] >= 0).argmax())
        place = int(tiers[tier, row, group])
        shares = _shares(words, offsets, row, known, place, settings.ngram)
        leaks.append((start + row, known.names[group], *shares[:-1], TIERS[tier], ids[place], splits[place], shares[-1]))
    return leaks


def in_threads(work: Callable[[Part], Made], parts: Iterable[Part]) -> Iterator[Made]:
    """work(part) of each part, in their order; a thread a core, for the compiled passes leave the interpreter to the others."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        yield from pool.map(work, parts)


def part_texts(rows: pl.DataFrame) -> list[str]:
    """Prompt and reply of each row, by turns."""
    return [text for context, query, answer in rows.select("context", "query", "answer").iter_rows() for text in (f"{context} {query}", answer)]


def _equal_texts(texts: Sequence[str], hashes: Words, known: _Items) -> Places:
    """The item of each row and benchmark that its prompt or its reply is, or -1; only texts with the words of an item are folded."""
    found = np.full((len(texts) // 2, len(known.names)), -1, dtype=np.int64)
    for part in np.flatnonzero(np.isin(hashes, known.texts)).tolist():
        folded = fold(texts[part])
        for group, table in enumerate(known.by_text):
            if found[part // 2, group] < 0:
                found[part // 2, group] = table.get(folded, -1)
    return found


def _shares(words: Words, offsets: Places, row: int, known: _Items, place: int, ngram: int) -> tuple[float, ...]:
    """The SHARES of a row and an item, and at the end the coverage at `ngram` words."""
    start, middle, end = offsets[2 * row : 2 * row + 3]
    item = known.words[known.offsets[place] : known.offsets[place + 1]]
    pairs = [pair_shares(words[start:middle], words[middle:end], item, n) for n in (*MEASURED, ngram)]
    return (*(share for pair in pairs[:-1] for share in pair), pairs[-1][0])
