"""Records of other people's files: what is read, what is rejected with its place, and what is an error."""

import gzip
import json

import polars as pl
import pytest

from espalier import records
from espalier.errors import CorruptInput, InputMissing
from espalier.records import parse_record, read_records
from espalier.shapes import Fields, Unfit, find_fields

ROWS = [{"text": "one"}, {"text": "zwei ä"}, {"text": "三"}]
LINES = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS)


def write(path, data):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def values(path):
    return [raw.value for raw in read_records(path)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", LINES.encode()),
        ("a.ndjson", f"\n{LINES}\r\n\n".encode()),
        ("a.json", LINES.encode()),
        ("a.json", json.dumps(ROWS, indent=2).encode()),
        ("a.json", f" \n[{LINES.replace(chr(10), ',')}] \n".encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("A.JSON.GZ", gzip.compress(json.dumps(ROWS).encode())),
        ("a.jsonl", b"\xef\xbb\xbf" + LINES.encode()),
        ("a.jsonl", LINES.encode("utf-16")),
        ("a.jsonl", b"\xfe\xff" + LINES.encode("utf-16-be")),
        ("a.json", json.dumps(ROWS, ensure_ascii=False).encode("utf-16")),
        ("a.json", b"\xef\xbb\xbf" + json.dumps(ROWS).encode()),
        ("a.jsonl", LINES.encode("utf-32")),
    ],
)
def test_the_same_records_come_out_of_every_kind_of_file(tmp_path, name, data):
    assert values(write(tmp_path / name, data)) == ROWS


def test_parquet_rows_are_records(tmp_path):
    pl.DataFrame(ROWS).write_parquet(tmp_path / "a.parquet")
    assert values(tmp_path / "a.parquet") == ROWS


def test_an_array_that_is_read_letter_by_letter_gives_the_same_elements(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "CHUNK_LETTERS", 1)
    rows = [{"text": "a] \\u00e4 \" }"}, 12, [], {"n": 1234567}, {}]
    found = list(read_records(write(tmp_path / "a.json", json.dumps(rows, indent=1))))
    assert [raw.value for raw in found] == [rows[0], None, None, rows[3], {}]
    assert [json.loads(raw.source) for raw in found] == rows
    assert [raw.place for raw in found] == [1, 2, 3, 4, 5]


def test_a_bad_line_is_rejected_with_its_number_and_reason_and_the_others_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MOST_LETTERS", 60)
    lines = [b'{"text": "a"}', b'{"text": "b"', b'{"text": "caf\xe9"}', b"", b"[1]", b'{"text": "\\ud800"}', b'{"text": "' + b"x" * 200 + b'"}', b'{"text": "z"}']
    found = list(read_records(write(tmp_path / "a.jsonl", b"\n".join(lines))))
    assert [(raw.place, raw.reason) for raw in found] == [(1, ""), (2, "json"), (3, "encoding"), (5, "not_object"), (6, "surrogate"), (7, "too_long"), (8, "")]
    assert found[2].detail == "byte 14 of the line is no UTF-8"
    assert found[3].detail == "found a list of 1"
    assert found[-1].value == {"text": "z"}


@pytest.mark.parametrize("text", ["[" * 10**5, "9" * 10**5, '{"a": NaN', "\x00", "{}{}"])
def test_no_line_makes_the_reader_fall(text):
    assert parse_record(text, 7).value is None


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jsonl", b"", "holds no records"),
        ("a.jsonl", b" \n\n", "holds no records"),
        ("a.json", b"[]", "holds no records"),
        ("a.json", b'[{"text": "a"}, {"te', "element 2 of the list is not JSON"),
        ("a.json", b'[{"text": "a"}', "element 2 of the list is not JSON"),
        ("a.json", b'[{"text": "a"}, oops, {}]', "element 2 of the list is not JSON"),
        ("a.json", b'[{"text": "a"}] {}', "text follows the end of the list, behind element 1"),
        ("a.json", b'{\n"data": []}', "starts with an object over several lines"),
        ("a.json", b'[{"text": "caf\xe9"}]', "not UTF-8"),
        ("a.jsonl", b"\xff\xfe{\x00}", "not UTF-16"),
        ("a.jsonl.gz", gzip.compress(LINES.encode() * 999)[:-20], "not whole gzip"),
        ("a.jsonl.gz", b"no gzip", "not whole gzip"),
        ("a.parquet", b"PAR1 no", "not a readable parquet file"),
        ("a.csv", b"a,b", "is of no kind that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_to_its_end_is_an_error_that_names_it(tmp_path, name, data, words):
    path = write(tmp_path / name, data)
    with pytest.raises(CorruptInput, match=words) as error:
        values(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_folder_or_no_file_says_what_to_name(tmp_path):
    write(tmp_path / "b.jsonl", "{}")
    with pytest.raises(InputMissing, match="is a folder; name one file, such as .*b.jsonl"):
        values(tmp_path)
    with pytest.raises(InputMissing, match="no such file"):
        values(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({"instruction": "Add.", "input": "1 2", "output": "3"}, Fields("instruction output", "1 2", "Add.", "3")),
        ({"instruction": "Add.", "input": None, "output": 3}, Fields("instruction output", "", "Add.", "3")),
        ({"prompt": "Add.", "completion": "3"}, Fields("prompt completion", "", "Add.", "3")),
        ({"question": "Who?", "context": "I.", "answer": ["I", "Me"]}, Fields("question answer", "I.", "Who?", "I")),
        ({"query": "Who?", "context": "I.", "answer": ""}, Fields("query answer", "I.", "Who?", "")),
        ({"text": "Once."}, Fields("text", "", "", "Once.")),
        ({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}, Fields("messages", "", "Hi", "Ho")),
        (
            {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]},
            Fields("conversations", "a\nb", "c", "d"),
        ),
        ({"conversations": [{"from": "human", "value": "a"}], "chosen": {"from": "gpt", "value": "b"}, "rejected": {}}, Fields("conversations chosen", "", "a", "b")),
        ({"prompt": "a", "chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, Fields("prompt chosen", "", "a", "b")),
        ({"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}, Fields("instruction instances output", "1 2", "Add.", "3")),
    ],
)
def test_known_shapes_are_found(record, found):
    assert find_fields(record, prompt_field=None, answer_field=None) == [found]


def test_nested_questions_are_a_row_each():
    record = {"context": "Rome is old.", "qas": [{"q": "What?", "a": ["Rome"]}, {"q": "How?", "a": ["old"]}]}
    assert [(one.context, one.query, one.answer) for one in find_fields(record, prompt_field=None, answer_field=None)] == [("Rome is old.", "What?", "Rome"), ("Rome is old.", "How?", "old")]


def test_named_fields_come_before_known_shapes():
    record = {"instruction": "no", "output": "no", "ask": "yes?", "say": "yes"}
    assert find_fields(record, prompt_field="ask", answer_field="say") == [Fields("ask say", "", "yes?", "yes")]
    assert find_fields(record, prompt_field="ask", answer_field=None) == [Fields("ask output", "", "yes?", "no")]
    assert find_fields(record, prompt_field=None, answer_field="say") == [Fields("say", "", "", "yes")]


@pytest.mark.parametrize(
    ("record", "reason", "words"),
    [
        ({"a": 1, "b": 2}, "no_fields", "found a, b; wanted is a known shape"),
        ({}, "no_fields", "found no fields"),
        ({"instruction": "Add."}, "no_reply", "found instruction; wanted beside instruction is one of output"),
        ({"instruction": " ", "output": "3"}, "no_prompt", "instruction is empty"),
        ({"prompt": "Add.", "completion": {"a": 1}}, "not_text", "completion is a mapping of 1; wanted is text"),
        ({"messages": [{"role": "assistant", "content": "Ho"}]}, "no_prompt", "found 1 turns in messages"),
        ({"messages": []}, "no_prompt", "found 1 turns in messages"),
        ({"messages": ["Hi"]}, "not_text", 'a turn of messages is "Hi"'),
        ({"instruction": "Add.", "instances": []}, "no_reply", "instances is a list of 0"),
    ],
)
def test_a_record_of_no_shape_is_unfit_for_a_reason(record, reason, words):
    with pytest.raises(Unfit, match=words) as unfit:
        find_fields(record, prompt_field=None, answer_field=None)
    assert unfit.value.reason == reason
