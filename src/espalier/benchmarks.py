"""Benchmarks that no training row may give away, read from local files into items as the exam has them.

A file is .jsonl, .jsonl.gz (one object a line) or .parquet. The text of an item is its `prompt`, `question` or `query` (the first of them that is there),
behind its `context` where it has one. A benchmark bears its file's name; item 7 of gsm8k.jsonl.gz is `gsm8k:7`, counted from 1 as lines are.
"""

import gzip
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.errors import CorruptInput, InputMissing, shown
from espalier.io import files_under, read_bytes, read_rows

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")
TEXTS = ("prompt", "question", "query")
EXAM = "exam"
COLUMNS = ("benchmark", "item", "split", "context", "query", "problem_key")


def exam_items(items: pl.DataFrame) -> pl.DataFrame:
    """The exam's items as a benchmark of the name `exam`: benchmark, item, split, context, query, problem_key."""
    return items.with_columns(pl.lit(EXAM).alias("benchmark")).select(COLUMNS)


def item_texts(items: pl.DataFrame) -> list[str]:
    """The text of an item is its prompt: a row may well have the same short answer."""
    return [f"{context} {query}" for context, query in items.select("context", "query").iter_rows()]


def numbered(items: pl.DataFrame) -> tuple[pl.DataFrame, list[str], NDArray[np.int64]]:
    """Items sorted by benchmark (in the order in which they come) and item; the benchmarks' names; the number of each item's benchmark."""
    names = items["benchmark"].unique(maintain_order=True).to_list()
    ordered = items.sort(pl.col("benchmark").cast(pl.Enum(names)), "item")
    return ordered, names, ordered["benchmark"].cast(pl.Enum(names)).to_physical().to_numpy().astype(np.int64)


def read_benchmark(path: str) -> pl.DataFrame:
    """The items of a file, in its order: benchmark, item, split ("benchmark"), context, query, problem_key ("", so only texts are compared).

    Raises: CorruptInput with file, line and found fields where an item has no text; InputMissing.
    """
    name = benchmark_name(path)
    texts = [_texts(record, f"{path}, {'row' if path.endswith('.parquet') else 'line'} {number}") for number, record in _records(path)]
    if not texts:
        raise CorruptInput(f"{path}: holds no items; give it lines with {_wanted()}, or take it out of decontaminate.benchmarks")
    numbers = range(1, len(texts) + 1)
    return pl.DataFrame(
        [(name, f"{name}:{number}", "benchmark", context, query, "") for number, (context, query) in zip(numbers, texts, strict=True)],
        schema=dict.fromkeys(COLUMNS, pl.String),
        orient="row",
    )


def benchmark_name(path: str) -> str:
    """The file's name without folder and ending.

    >>> benchmark_name("data/benchmarks/gsm8k.test.jsonl.gz")
    'gsm8k.test'
    """
    name = path.replace("\\", "/").rpartition("/")[2]
    return next((name.removesuffix(ending) for ending in sorted(ENDINGS, key=len, reverse=True) if name.endswith(ending)), name)


def read_benchmarks(place: str) -> pl.DataFrame:
    """The items of all benchmark files of a folder, or of the one file, in the order of their paths; none for a folder without any. Raises: as
    read_benchmark."""
    folder = Path(place)
    if not folder.exists():
        raise InputMissing(f"decontaminate.benchmarks is {place}, which is not there; name a folder (it may be empty) or a file")
    names = [path for path in files_under(folder, (".jsonl", ".gz", ".parquet")) if path.endswith(ENDINGS)] if folder.is_dir() else []
    paths = [str(folder / name) for name in names] if folder.is_dir() else [place]
    _check_names(paths)
    return pl.concat([pl.DataFrame(schema=dict.fromkeys(COLUMNS, pl.String)), *map(read_benchmark, paths)])


def _check_names(paths: list[str]) -> None:
    """Raises: CorruptInput when a file is none, two bear one name, or one is called exam: metrics and items could not be told apart."""
    seen = {EXAM: "the exam of the study"}
    for path in paths:
        name = benchmark_name(path)
        if not path.endswith(ENDINGS):
            raise CorruptInput(f"{path}: is no benchmark; the file must end in {', '.join(ENDINGS)}")
        if name in seen:
            raise CorruptInput(f"{path}: the benchmark is called {name}, as {seen[name]}; rename the file")
        seen[name] = path


def _records(path: str) -> list[tuple[int, Mapping[str, Any]]]:
    """(number, fields) of every record; empty lines count and hold none."""
    if path.endswith(".parquet"):
        return list(enumerate(read_rows(path).iter_rows(named=True), 1))
    return [(number, _parsed(line, f"{path}, line {number}")) for number, line in enumerate(_unpacked(path).split(b"\n"), 1) if line.strip()]


def _unpacked(path: str) -> bytes:
    data = read_bytes(path)
    try:
        return gzip.decompress(data) if path.endswith(".gz") else data
    except (OSError, EOFError, zlib.error) as error:
        raise CorruptInput(f"{path}: not whole gzip ({error}); fetch it again") from error


def _parsed(line: bytes, where: str) -> Mapping[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorruptInput(f"{where}: not JSON ({error}); every line is one object with {_wanted()}") from error
    if not isinstance(value, dict):
        raise CorruptInput(f"{where}: found {shown(value)}; every line is one object with {_wanted()}")
    return value


def _texts(record: Mapping[str, Any], where: str) -> tuple[str, str]:
    """Context and query of a record."""
    name = next((name for name in TEXTS if name in record), None)
    if name is None:
        raise CorruptInput(f"{where}: found the fields {', '.join(sorted(map(str, record))) or 'none'}; it must have {_wanted()}: rename the one with the text")
    context = record.get("context")
    for field, value in ((name, record[name]), ("context", "" if context is None else context)):
        if not isinstance(value, str):
            raise CorruptInput(f"{where}: {field} is {shown(value)}; it must be text")
    return _storable(context or ""), _storable(record[name])


def _storable(text: str) -> str:
    """JSON can spell half a surrogate, which no file of ours can hold."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _wanted() -> str:
    return "prompt, question or query"
