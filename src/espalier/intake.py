"""Records -> rows with prompt and reply, each judged by the rules of tier 0, a batch at a time into parquet parts; what is no row is rejected with its reason.

Columns of a part: id (the row's number from 0, ten digits), place (line, element or row of the file), shape (the fields that were read), context, query,
answer, words (of the answer), reason and detail (of the first rule that drops it, else null), group (what quotas go by), record (its JSON as it stood).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from espalier.records import Raw
from espalier.scorers.rules.table import broken_reasons
from espalier.shapes import Fields, Unfit, find_fields
from espalier.text import repeat_share, words

BATCH_ROWS, BATCH_LETTERS = 16_384, 32 * 2**20  # rows, and letters of their records, that are held at a time
REPEATS = "repeats"
SHOWN_LETTERS = 1000  # of a rejected record
COLUMNS = {
    "id": pl.String, "place": pl.Int64, "shape": pl.String, "context": pl.String, "query": pl.String, "answer": pl.String, "words": pl.Int64,
    "reason": pl.String, "detail": pl.String, "group": pl.String, "record": pl.String,
}  # fmt: skip

Row = tuple[object, ...]
Write = Callable[[dict[str, object]], None]


@dataclass(frozen=True, slots=True)
class Reading:
    """How records become rows, and which rules drop them.

    prompt_field, answer_field: None for known shapes. group_field: what quotas go by, or None. rules: families of `scorers.rules`.
    max_repeat: share of repeated n-grams of `repeat_words` words above which a reply goes, 0..1; 1 = off.
    """

    prompt_field: str | None
    answer_field: str | None
    group_field: str | None
    rules: tuple[str, ...]
    max_repeat: float
    repeat_words: int


@dataclass(frozen=True, slots=True)
class Intake:
    """The parts with their numbers of rows, and counts: records that came, rejections by reason, rows by shape."""

    parts: tuple[tuple[Path, int], ...]
    records: int
    rejected: Counter[str]
    shapes: Counter[str]


def take_in(raws: Iterable[Raw], folder: Path, *, reading: Reading, write_reject: Write) -> Intake:
    """Write the rows of the records to folder/*.parquet, in order; `write_reject` gets each rejection as place, reason, detail and text."""
    folder.mkdir()
    records: Counter[str] = Counter()
    rejected: Counter[str] = Counter()
    shapes: Counter[str] = Counter()

    def reject(raw: Raw, reason: str, detail: str) -> None:
        rejected[reason] += 1
        text = raw.source[:SHOWN_LETTERS].encode("utf-8", "replace").decode()
        write_reject({"place": raw.place, "reason": reason, "detail": detail, "text": text})

    def counted() -> Iterator[Raw]:
        for raw in raws:
            records["all"] += 1
            yield raw

    parts = []
    for batch in _batches(_rows(counted(), reading, reject)):
        frame = pl.DataFrame(batch, schema=COLUMNS, orient="row")
        parts.append((folder / f"{len(parts):06}.parquet", frame.height))
        frame.write_parquet(parts[-1][0], compression="zstd", compression_level=1, statistics=False)
        shapes.update(frame["shape"])
    return Intake(tuple(parts), records["all"], rejected, shapes)


def judge(row: Fields, reading: Reading) -> tuple[str, str] | tuple[None, None]:
    """(rule, reason) of the first rule of the chosen families that speaks, then of `max_repeat`; Nones where nothing does."""
    if reading.rules:
        for name, reason in broken_reasons({"query": row.query, "answer": row.answer}).items():
            if name.split(":")[0] in reading.rules:
                return name, reason
    repeated = repeat_share(words(row.answer), reading.repeat_words)
    return (REPEATS, f"{repeated:.0%} of its {reading.repeat_words}-grams are copies") if repeated > reading.max_repeat else (None, None)


def row_id(row: int) -> str:
    """The id of a row by its number."""
    return f"{row:010}"


def _rows(raws: Iterable[Raw], reading: Reading, reject: Callable[[Raw, str, str], None]) -> Iterator[Row]:
    row = 0
    for raw in raws:
        if raw.value is None:
            reject(raw, raw.reason, raw.detail)
            continue
        try:
            found = find_fields(raw.value, prompt_field=reading.prompt_field, answer_field=reading.answer_field)
        except Unfit as unfit:
            reject(raw, unfit.reason, str(unfit))
            continue
        value = raw.value.get(reading.group_field) if reading.group_field else None
        group = "" if value is None else str(value)
        for one in found:
            yield row_id(row), raw.place, one.shape, one.context, one.query, one.answer, len(words(one.answer)), *judge(one, reading), group, raw.source
            row += 1


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    letters = 0
    for row in rows:
        batch.append(row)
        letters += len(str(row[-1]))
        if len(batch) == BATCH_ROWS or letters >= BATCH_LETTERS:
            yield batch
            batch, letters = [], 0
    if batch:
        yield batch
