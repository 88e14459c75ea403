import gzip
import json

import polars as pl
import pytest

from espalier.benchmarks import COLUMNS, exam_items, numbered, read_benchmark, read_benchmarks
from espalier.errors import CorruptInput, InputMissing


def write(folder, name, *records):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    lines = "".join((record if isinstance(record, str) else json.dumps(record)) + "\n" for record in records).encode()
    path.write_bytes(gzip.compress(lines) if name.endswith(".gz") else lines)
    return str(path)


def message(path, error=CorruptInput):
    with pytest.raises(error) as raised:
        read_benchmarks(str(path))
    return str(raised.value)


@pytest.mark.parametrize("name", ["gsm.jsonl", "gsm.jsonl.gz", "gsm.parquet"])
def test_a_benchmark_is_read_from_lines_packed_lines_and_parquet(name, tmp_path):
    records = [{"question": "one ?", "context": "two .", "answer": "3"}, {"question": "four ?", "context": None, "answer": "5"}]
    if name.endswith("parquet"):
        pl.DataFrame(records).write_parquet(tmp_path / name)
    else:
        write(tmp_path, name, *records)
    items = read_benchmark(str(tmp_path / name))
    assert items.rows() == [("gsm", "gsm:1", "benchmark", "two .", "one ?", ""), ("gsm", "gsm:2", "benchmark", "", "four ?", "")]
    assert tuple(items.columns) == COLUMNS


@pytest.mark.parametrize(("record", "text"), [({"prompt": "a", "query": "b"}, "a"), ({"question": "a", "query": "b"}, "a"), ({"query": "b"}, "b")])
def test_the_text_is_the_first_of_prompt_question_query(record, text, tmp_path):
    assert read_benchmark(write(tmp_path, "x.jsonl", record))["query"].to_list() == [text]


def test_a_folder_gives_its_files_by_path_and_other_files_are_passed_over(tmp_path):
    for name in ("b.jsonl", "a.jsonl.gz", "notes.md", "c.csv.gz"):
        write(tmp_path, name, {"prompt": name})
    assert read_benchmarks(str(tmp_path))["item"].to_list() == ["a:1", "b:1"]
    assert read_benchmarks(str(tmp_path / "b.jsonl"))["item"].to_list() == ["b:1"]


def test_an_empty_folder_is_no_benchmark_and_a_folder_that_is_not_there_is_an_error(tmp_path):
    assert (read_benchmarks(str(tmp_path)).height, tuple(read_benchmarks(str(tmp_path)).columns)) == (0, COLUMNS)
    assert message(tmp_path / "no", InputMissing) == f"decontaminate.benchmarks is {tmp_path}/no, which is not there; name a folder (it may be empty) or a file"


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([{"prompt": "a"}, {"text": "b", "id": 1}], "line 2: found the fields id, text; it must have prompt, question or query: rename the one with the text"),
        ([{"title": "t", "context": "c", "qas": []}], "line 1: found the fields context, qas, title; it must have prompt, question or query: rename the one with the text"),
        ([{"prompt": ["a"]}], "line 1: prompt is a list of 1; it must be text"),
        ([{"prompt": None}], "line 1: prompt is empty; it must be text"),
        ([{"prompt": "a", "context": 3}], "line 1: context is 3; it must be text"),
        (["", '"word"'], 'line 2: found "word"; every line is one object with prompt, question or query'),
        (["{"], "line 1: not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1)); every line is one object with prompt, question or query"),
    ],
)  # fmt: skip
def test_an_item_without_text_is_named_with_file_line_and_what_was_found(records, expected, tmp_path):
    path = write(tmp_path, "x.jsonl", *records)
    assert message(path) == f"{path}, {expected}"


def test_a_row_of_a_parquet_file_is_named_as_one(tmp_path):
    pl.DataFrame({"text": ["a"]}).write_parquet(tmp_path / "x.parquet")
    assert message(tmp_path / "x.parquet").startswith(f"{tmp_path}/x.parquet, row 1: found the fields text;")


def test_files_without_items_broken_files_and_other_files_are_refused(tmp_path):
    empty, cut, other = write(tmp_path, "e.jsonl"), tmp_path / "c.jsonl.gz", write(tmp_path, "t.csv", {"prompt": "a"})
    cut.write_bytes(gzip.compress(b'{"prompt": "a"}')[:-9])
    assert message(empty) == f"{empty}: holds no items; give it lines with prompt, question or query, or take it out of decontaminate.benchmarks"
    assert message(cut).startswith(f"{cut}: not whole gzip (")
    assert message(other) == f"{other}: is no benchmark; the file must end in .jsonl, .jsonl.gz, .parquet"


def test_two_benchmarks_of_one_name_and_one_called_exam_are_refused(tmp_path):
    one, other = write(tmp_path / "a", "x.jsonl", {"prompt": "a"}), write(tmp_path / "b", "x.jsonl.gz", {"prompt": "a"})
    assert message(tmp_path) == f"{other}: the benchmark is called x, as {one}; rename the file"
    exam = write(tmp_path / "c", "exam.jsonl", {"prompt": "a"})
    assert message(exam) == f"{exam}: the benchmark is called exam, as the exam of the study; rename the file"


def test_half_a_surrogate_becomes_a_mark_that_files_can_hold(tmp_path):
    assert read_benchmark(write(tmp_path, "x.jsonl", '{"prompt": "a \\ud800 b"}'))["query"].to_list() == ["a ? b"]


def test_items_are_numbered_by_benchmark_in_the_order_of_appearance_and_then_by_item(tmp_path):
    exam = pl.DataFrame({"item": ["z", "y"], "split": "key", "leaf": "l", "context": "", "query": "q", "problem_key": "k"})
    items = exam_items(exam).vstack(read_benchmark(write(tmp_path, "a.jsonl", {"prompt": "a"})))
    frame, names, groups = numbered(items)
    assert (frame["item"].to_list(), names, groups.tolist()) == (["y", "z", "a:1"], ["exam", "a"], [0, 0, 1])
