import errno
import os
import subprocess
import sys
import textwrap

import polars as pl
import pytest

from espalier import io
from espalier.errors import CorruptInput, DiskFull, InputMissing
from tests.closure import ROOT

ROWS = pl.DataFrame({"id": ["a", "b"], "n": [1, 2], "answers": [["x", "y"], []]}, schema={"id": pl.String, "n": pl.Int64, "answers": pl.List(pl.String)})


def names(folder):
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


def refuse(code):
    """A stand-in for a system call on a disk that gives an error."""

    def call(*_):
        raise OSError(code, os.strerror(code))

    return call


def test_rows_come_back_as_they_were_written(tmp_path):
    io.write_rows(tmp_path / "new" / "deep" / "rows.parquet", ROWS)
    found = io.read_rows(tmp_path / "new" / "deep" / "rows.parquet")
    assert found.rows() == [("a", 1, ["x", "y"]), ("b", 2, [])]
    assert found.schema == ROWS.schema


def test_the_same_rows_give_the_same_bytes_and_others_do_not(tmp_path):
    for name, rows in (("one", ROWS), ("two", ROWS.clone()), ("other", ROWS.reverse())):
        io.write_rows(tmp_path / name, rows)
    one, two, other = ((tmp_path / name).read_bytes() for name in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_json_is_indented_sorted_and_ends_with_a_line_break(tmp_path):
    io.write_json(tmp_path / "x.json", {"b": 1, "a": ["ä", None, 0.5]})
    assert (tmp_path / "x.json").read_text("utf-8") == '{\n  "a": [\n    "ä",\n    null,\n    0.5\n  ],\n  "b": 1\n}\n'
    assert io.read_json(tmp_path / "x.json") == {"a": ["ä", None, 0.5], "b": 1}


def test_a_number_that_is_no_json_is_refused_and_the_old_file_stays(tmp_path):
    io.write_json(tmp_path / "x.json", {"loss": 1})
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        io.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert io.read_json(tmp_path / "x.json") == {"loss": 1}


def test_text_comes_back_as_it_was_written_and_everyone_may_read_it(tmp_path):
    io.write_text(tmp_path / "x.txt", "ä\r\nb\n")
    assert io.read_text(tmp_path / "x.txt") == "ä\r\nb\n"
    assert (tmp_path / "x.txt").stat().st_mode & 0o777 == 0o644  # a temporary file is made for its owner alone


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("data/plan/lab/rows.parquet", "dvc repro plan@lab"),
        ("data/taxonomy/leaves.parquet", "dvc repro taxonomy"),
        ("data/evaluate/lab-1/items.parquet", "dvc repro evaluate@lab-1"),
        ("data/train/lab/1/curve.parquet", "dvc repro train@lab-1"),
        ("models/teacher/model.safetensors", "dvc repro teacher"),
        ("metrics/plan/lab.json", "dvc repro plan"),
        ("metrics/exam.json", "dvc repro"),
        ("params.yaml", "dvc repro"),
        ("deep/data/folder/data/exam/items.parquet", "dvc repro exam"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(path, command):
    for read in (io.read_rows, io.read_json, io.read_text, io.read_bytes):
        with pytest.raises(InputMissing) as raised:
            read(f"nowhere/{path}")
        assert str(raised.value) == f"nowhere/{path}: no such file; make it with `{command}`"


def test_a_missing_seed_file_is_not_said_to_come_from_a_stage():
    with pytest.raises(InputMissing) as raised:
        io.read_text("nowhere/data/seeds/attributes/builtin.yaml")
    assert "seeds@attributes" not in str(raised.value)


def test_a_folder_in_the_place_of_a_file_is_a_missing_file(tmp_path):
    (tmp_path / "data" / "exam" / "items.parquet").mkdir(parents=True)
    with pytest.raises(InputMissing, match="make it with `dvc repro exam`"):
        io.read_rows(tmp_path / "data" / "exam" / "items.parquet")


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "tail"])
def test_a_damaged_parquet_file_is_named_with_what_to_do(tmp_path, damage):
    file = tmp_path / "data" / "dedup" / "lab" / "rows.parquet"
    io.write_rows(file, ROWS)
    whole = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"id,n\na,1\n", "tail": whole[:-4] + b"xxxx"}[damage])
    with pytest.raises(CorruptInput) as raised:
        io.read_rows(file)
    said = str(raised.value)
    assert said.startswith(f"{file}: not a readable parquet file (")
    assert said.endswith("); delete it and run `dvc repro dedup@lab`")
    assert "\n" not in said


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": 1}}', b"\xff\xfe{}", b"{'a': 1}"])
def test_what_is_not_json_is_named_with_what_to_do(tmp_path, content):
    file = tmp_path / "data" / "taxonomy" / "attributes.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(CorruptInput) as raised:
        io.read_json(file)
    assert str(raised.value).startswith(f"{file}: not JSON (")
    assert str(raised.value).endswith("); delete it and run `dvc repro taxonomy`")


def test_what_is_not_utf8_is_named_with_the_place(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"about: caf\xe9\n")
    with pytest.raises(CorruptInput) as raised:
        io.read_text(tmp_path / "x.yaml")
    assert str(raised.value) == f"{tmp_path / 'x.yaml'}: not UTF-8 text at byte 10; save it as UTF-8"


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EFBIG, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call, code):
    file = tmp_path / "rows.parquet"
    file.write_bytes(b"old")
    monkeypatch.setattr(io.os, call, refuse(code))
    with pytest.raises(DiskFull) as raised:
        io.write_bytes(file, b"x" * 1234)
    assert str(raised.value) == (
        f"{file}: the disk refused 1,234 bytes ({os.strerror(code)}); free some space and run the stage again, finished requests are in the cache"
    )
    assert (names(tmp_path), file.read_bytes()) == (["rows.parquet"], b"old")


def test_another_error_of_the_system_is_not_called_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(io.os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError) as raised:
        io.write_bytes(tmp_path / "x", b"new")
    assert (raised.value.errno, names(tmp_path)) == (errno.EIO, [])


def test_an_interrupt_in_the_middle_of_a_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(io.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        io.write_bytes(tmp_path / "x", b"new")
    assert (names(tmp_path), (tmp_path / "x").read_bytes()) == (["x"], b"old")


def test_a_file_appears_only_when_its_bytes_are_on_the_disk(tmp_path, monkeypatch):
    seen = []
    real = os.fsync

    def look(handle):
        seen.append((names(tmp_path), (tmp_path / "x").read_bytes()))
        real(handle)

    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(io.os, "fsync", look)
    io.write_bytes(tmp_path / "x", b"new")
    assert len(seen) == 1
    assert (len(seen[0][0]), seen[0][1]) == (2, b"old")  # the temporary file is there, the old one still stands
    assert (names(tmp_path), (tmp_path / "x").read_bytes()) == (["x"], b"new")


def test_a_real_size_limit_of_the_system_gives_disk_full(tmp_path):
    program = """
        import resource, signal, sys
        from espalier import io
        from espalier.errors import DiskFull
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that the write fails instead of ending the process
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        io.write_bytes(sys.argv[1] + "/fits", b"x" * 4096)
        try:
            io.write_bytes(sys.argv[1] + "/rows", b"x" * 4097)
        except DiskFull as error:
            print(error)
    """
    (tmp_path / "rows").write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(f"{tmp_path}/rows: the disk refused 4,097 bytes (File too large); free some space")
    assert (names(tmp_path), (tmp_path / "rows").read_bytes()) == (["fits", "rows"], b"old")
