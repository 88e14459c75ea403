"""The commands of `espalier` that look: what they print where, and how they end."""

import contextlib
import json
import re
import sqlite3

import pytest
from click.testing import CliRunner

from espalier.cli import cli
from espalier.teachers.base import Completion
from espalier.teachers.cache import Cache, Key
from espalier.teachers.pin import fingerprint

CACHE = ("stats", "verify", "prune", "export")
NAMES = [f"{i:032x}" for i in range(40)]
OURS, OTHERS = "a" * 32, "b" * 32


@pytest.fixture
def file(tmp_path, monkeypatch):
    """The cache's name, in a folder that is the working folder too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache.sqlite"))
    return tmp_path / "cache.sqlite"


def run(*arguments):
    """(exit code, stdout, stderr) of a command."""
    result = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert isinstance(result.exception, SystemExit | None), result.exc_info  # no traceback
    return result.exit_code, result.stdout, result.stderr


def fill(file, *, words=2):
    """Three replies of ours, one of them cut off, and two of another teacher, a longer one and an empty one."""
    text = "w " * words
    opened = Cache(file)
    opened.add({
        Key(NAMES[1], 16, OURS): Completion("ż\x1b[2J", "stop", 5, 3, -0.5),
        Key(NAMES[0], 16, OURS): Completion(text, "length", 5, 16, -0.25),
        Key(NAMES[0], 24, OURS): Completion(text, "stop", 5, 20, -0.25),
        Key(NAMES[2], 16, OTHERS): Completion(text, "stop", 7, 2, -0.125),
        Key(NAMES[3], 16, OTHERS): Completion("", "stop", 7, 1, 0.0),
    })  # fmt: skip
    opened.close()


def teacher(folder, text="{}"):
    """A folder that has a fingerprint."""
    (folder / "models/teacher").mkdir(parents=True, exist_ok=True)
    (folder / "models/teacher/config.json").write_text(text)
    return fingerprint(folder / "models/teacher")


def write(file, statement, *values):
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement, values)


def teachers(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("select teacher from completions order by key, max_tokens")]


def test_stats_count_by_teacher_and_finish_and_end_with_the_sum_and_the_size(file):
    fill(file)
    code, out, err = run("cache", "stats")
    assert (code, err) == (0, "")
    assert [line.split() for line in out.splitlines()[:-1]] == [
        ["teacher", "finish", "completions", "tokens"],
        [OURS, "length", "1", "16"],
        [OURS, "stop", "2", "23"],
        [OTHERS, "stop", "2", "3"],
        ["all", "5", "42"],
    ]
    assert out.splitlines()[-1] == f"{file.stat().st_size / 2**20:.1f} MiB on disk in {file}"


def test_verify_is_content_with_what_the_cache_itself_writes(file):
    fill(file)
    assert run("cache", "verify") == (0, f"{file}: 5 completions, all right\n", "")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("finish = 'lenght'", "finish 1"),
        ("tokens = 'many'", "tokens 1"),
        ("tokens = 17", "tokens 1"),
        ("tokens = -1", "tokens 1"),
        ("prompt_tokens = 2.5", "prompt_tokens 1"),
        ("logprob_mean = 0.1", "logprob_mean 1"),
        ("logprob_mean = -9e999", "logprob_mean 1"),
        ("max_tokens = 0", "max_tokens 1, tokens 1"),
        ("teacher = ''", "teacher 1"),
        ("error = 'too long'", "error 1"),
        ("text = x'61'", "text 1"),
        ("text = cast(x'61ff' as text)", "text 1"),  # no UTF-8
        ("key = 'K'", "key 1"),
        ("key = 'K', finish = '', text = x'61'", "key 1, text 1, finish 1"),
    ],
)
def test_verify_counts_the_rows_with_values_that_cannot_be(file, change, said):
    fill(file)
    write(file, f"update completions set {change} where key = ?", NAMES[1])
    assert run("cache", "verify") == (
        1,
        "",
        f"espalier: {file}: 1 of 5 completions are wrong, {said}; sqlite has 0 complaints; move the file away and run again, its requests are asked anew\n",
    )


def test_verify_hands_on_what_sqlite_complains_about(file):
    fill(file)
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("create table extra (x integer not null)")
        connection.execute("insert into extra values (1)")
        connection.execute("pragma writable_schema = 1")
        connection.execute("update sqlite_master set sql = 'create table extra (x integer not null, y integer not null)' where name = 'extra'")
        connection.commit()
    code, out, err = run("cache", "verify")
    assert (code, out) == (1, "")
    assert "0 of 5 completions are wrong; sqlite has 1 complaints (first: NULL value in extra.y); move the file away" in err


def test_prune_keeps_what_the_runs_teacher_wrote_and_gives_the_space_back(file, tmp_path):
    fill(file, words=100_000)
    ours = teacher(tmp_path)
    write(file, "update completions set teacher = ? where teacher = ?", ours, OURS)
    before = file.stat().st_size
    said = f"2 completions (3 tokens) of other teachers than {ours}"
    assert run("cache", "prune", "--dry-run") == (0, f"{said} would go\n", "")
    assert (file.stat().st_size, teachers(file)) == (before, [ours] * 3 + [OTHERS] * 2)
    code, out, err = run("cache", "prune")
    assert (code, err, teachers(file)) == (0, "", [ours] * 3)
    assert out == f"{said} are gone, 0.2 MiB freed, {file.stat().st_size / 2**20:.1f} MiB left\n"
    assert before - file.stat().st_size > 200_000 - 5000
    assert run("cache", "prune") == (0, f"0 completions (0 tokens) of other teachers than {ours} would go\n", "")


def test_prune_can_keep_another_teacher_by_name(file):
    fill(file)
    assert run("cache", "prune", "--teacher", OTHERS)[0] == 0
    assert teachers(file) == [OTHERS] * 2
    assert run("cache", "verify")[0] == 0


def test_prune_deletes_nothing_for_a_teacher_that_is_misspelt_or_not_there(file):
    fill(file)
    code, out, err = run("cache", "prune", "--teacher", "a" * 31)
    assert (code, out) == (2, "")
    assert err == f'espalier: --teacher is "{"a" * 31}", of which the cache holds nothing; did you mean "{OURS}"?\n'
    assert run("cache", "prune") == (3, "", "espalier: models/teacher: no such folder; make it with `dvc repro teacher`\n")
    assert len(teachers(file)) == 5


def test_export_is_json_lines_in_the_order_of_the_keys_without_control_characters(file):
    fill(file)
    code, out, err = run("cache", "export")
    assert (code, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [(row["key"], row["max_tokens"]) for row in rows] == [(NAMES[0], 16), (NAMES[0], 24), (NAMES[1], 16), (NAMES[2], 16), (NAMES[3], 16)]
    assert rows[2] == {
        "key": NAMES[1], "max_tokens": 16, "teacher": OURS, "text": "ż\x1b[2J", "finish": "stop", "prompt_tokens": 5, "tokens": 3, "logprob_mean": -0.5,
    }  # fmt: skip
    assert re.fullmatch(r"[\n -~]*", out)


@pytest.mark.parametrize("change", ["text = x'61'", "logprob_mean = -9e999"])
def test_export_ends_at_a_value_that_is_none_with_one_line(file, change):
    fill(file)
    write(file, f"update completions set {change} where key = ?", NAMES[1])
    code, out, err = run("cache", "export")
    assert (code, len(out.splitlines()), len(err.splitlines())) == (1, 2, 1)
    assert err.startswith(f"espalier: {file}: the completion '{NAMES[1]}' holds a value that is none (")
    assert err.endswith("); see `espalier cache verify`\n")


@pytest.mark.parametrize("command", CACHE)
def test_a_cache_that_is_not_there_is_not_made(file, command):
    assert run("cache", command) == (
        3, "", f"espalier: {file}: no completion cache is here; `dvc repro` makes one, and ESPALIER_CACHE names one elsewhere\n",
    )  # fmt: skip
    assert not file.exists()


DAMAGES = {
    "no database": lambda data: b"no database, but long enough to be looked at as one " * 20,
    "cut in half": lambda data: data[: len(data) // 2],
    "overwritten": lambda data: data[:4096] + b"\xaa" * (len(data) - 4096),
    "a few bytes": lambda data: data[:8200] + b"\xff" * 300 + data[8500:],
}


@pytest.mark.parametrize("command", CACHE)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_one_line_and_exit_code_1(file, command, damage):
    opened = Cache(file)
    opened.add({Key(f"{i:032x}", 16, OURS): Completion("word " * 20, "stop", 5, 16, -0.25) for i in range(500)})
    opened.close()
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    code, _, err = run("cache", command, *(["--teacher", OURS] if command == "prune" else []))
    assert (code, len(err.splitlines())) == (1, 1), err
    assert err.startswith(f"espalier: {file}: ")
    assert err.endswith("move the file away and run again, its requests are asked anew\n")


@pytest.mark.parametrize("command", CACHE)
def test_a_cache_of_another_version_is_one_line_and_exit_code_1(file, command):
    fill(file)
    write(file, "pragma user_version = 3")
    assert run("cache", command)[::2] == (
        1, f"espalier: {file}: the completion cache is of version 3, this espalier reads 2; move the file away and run again, its requests are asked anew\n",
    )  # fmt: skip
