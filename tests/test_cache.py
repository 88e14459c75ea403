import hashlib
import os
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from espalier.errors import CorruptInput, DiskFull, EspalierError
from espalier.teachers.base import Completion, Request
from espalier.teachers.cache import Cache, Key, cache_path, generate_cached, request_key
from tests.closure import ROOT
from tests.worlds import Scripted, spoken

REQUEST = Request((("user", "a b"),), 0.7, 0.9, 16, 7)
CHUNK = 6
WORDS = [f"w{i}" for i in range(20)]


@pytest.fixture
def cache(tmp_path):
    opened = Cache(tmp_path / "cache.sqlite")
    yield opened
    opened.close()


def wanted(n, *, start=0):
    """`n` different requests with prompts of 1 to 5 words."""
    return [Request((("user", " ".join(WORDS[i % 20 : i % 20 + 1 + i % 5])),), 1.0, 1.0, 24, i) for i in range(start, start + n)]


def key(name, max_tokens=16):
    return Key(name, max_tokens, "scripted")


def echo(request):
    return f"reply {request.seed}"


def generate(teacher, requests, cache, *, chunk=CHUNK, progress=lambda done, found: None, fingerprint="scripted", **options):
    return generate_cached(lambda: teacher, requests, cache, fingerprint=fingerprint, chunk=chunk, progress=progress, **options)


def python(code, *arguments, **options):
    """A process of its own that runs `code` with this project in reach."""
    variables = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], env=variables, text=True, **options)


def lies(file):
    """All that a cache file holds."""
    connection = sqlite3.connect(file)
    rows = connection.execute("select * from completions order by key").fetchall()
    connection.close()
    return rows


def held(file):
    """The hashes of the completions in a file that another process may just be making."""
    try:
        connection = sqlite3.connect(f"file:{file}?mode=ro", uri=True)
    except sqlite3.OperationalError:
        return set()
    try:
        return {row[0] for row in connection.execute("select key from completions")}
    except sqlite3.OperationalError:
        return set()
    finally:
        connection.close()


def test_a_completion_is_found_again_to_the_last_bit(tmp_path):
    whole = Completion("żółw 9\n\x00 .", "length", 12, 16, -0.1 - 0.2, "")
    first = Cache(tmp_path / "deep" / "cache.sqlite")
    first.add({key("k"): whole, key("other"): spoken("x")})
    first.close()
    second = Cache(tmp_path / "deep" / "cache.sqlite")
    assert second.find([key("k"), key("unknown")]) == {key("k"): whole}
    second.close()


def test_more_keys_than_one_statement_takes_are_all_found(cache):
    many = {key(f"k{i}"): spoken(str(i)) for i in range(1234)}
    cache.add(many)
    assert cache.find([*many, key("unknown")]) == many


def test_a_key_that_is_there_stays_as_it_is(tmp_path, cache):
    cache.add({key("k"): spoken("first")})
    other = Cache(tmp_path / "cache.sqlite")
    other.add({key("k"): spoken("second"), key("l"): spoken("third")})
    other.close()
    assert {one.hash: found.text for one, found in cache.find([key("k"), key("l")]).items()} == {"k": "first", "l": "third"}


def test_a_key_is_the_hash_of_the_request_as_json_and_where_the_reply_is_cut_off():
    text = '{"messages": [["user", "a b"]], "seed": 7, "teacher": "f", "temperature": 0.7, "top_p": 0.9}'
    assert request_key("f", REQUEST) == Key(hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), 16, "f")


@pytest.mark.parametrize(
    ("change", "frozen"),
    [
        ({}, "3299a3bf1ba95e3661db09d476396cbf"),
        ({"schema": '{"type": "string"}'}, "1370e5e26e6dc6644961b8721478b151"),
        ({"messages": (("system", 'żółw\n"x" 😀'), ("user", ""))}, "2c1d2d0ce631bcaa9d79d815e93b404b"),
        ({"temperature": 0, "seed": 2**63 - 1}, "aab2b4deb0ecf63d902a3550fb098fbb"),
    ],
)
def test_a_hash_is_that_of_the_caches_that_are_in_use(change, frozen):
    assert request_key("f", replace(REQUEST, **change)).hash == frozen


def test_everything_that_decides_the_words_of_a_reply_changes_the_hash():
    changes = [
        {"temperature": 0.0}, {"top_p": 1.0}, {"seed": 8}, {"messages": (("user", "a c"),)},
        {"messages": (("system", "a b"),)}, {"messages": (("user", "a"), ("user", "b"))}, {"messages": (("user", "a b "),)},
    ]  # fmt: skip
    keys = [request_key("f", REQUEST), request_key("g", REQUEST), *(request_key("f", replace(REQUEST, **change)) for change in changes)]
    assert len({one.hash for one in keys}) == 2 + len(changes)
    assert request_key("f", replace(REQUEST, max_tokens=17)) == replace(keys[0], max_tokens=17)


def test_a_request_that_is_known_is_not_asked_and_no_teacher_is_loaded(cache):
    first = generate(Scripted(echo), wanted(10), cache)

    def load():
        raise AssertionError("nothing is missing")

    assert generate_cached(load, wanted(10), cache, fingerprint="scripted", chunk=4, progress=lambda done, found: None) == first
    assert [completion.text for completion in first] == [f"reply {i}" for i in range(10)]


def test_another_teacher_is_asked_anew(cache):
    generate(Scripted(echo), wanted(3), cache)
    other = Scripted(lambda request: "other")
    assert [completion.text for completion in generate(other, wanted(3), cache, fingerprint="other")] == ["other"] * 3
    assert other.asked == wanted(3)


def test_a_teacher_is_handed_only_what_is_missing_of_one_chunk_at_a_time(cache):
    generate(Scripted(echo), [wanted(10)[i] for i in (0, 1, 5)], cache)
    calls = []

    class Teacher(Scripted):
        def generate(self, requests):
            calls.append([request.seed for request in requests])
            return super().generate(requests)

    said = []
    replies = generate(Teacher(echo), wanted(10), cache, chunk=4, progress=lambda done, found: said.append((done, found)))
    assert calls == [[2, 3], [4, 6, 7], [8, 9]]
    assert said == [(4, 2), (8, 3), (10, 3)]
    assert [completion.text for completion in replies] == [f"reply {i}" for i in range(10)]


@pytest.mark.parametrize("chunk", [2, 100])
def test_a_request_that_is_made_twice_is_asked_once(cache, chunk):
    teacher = Scripted(echo)
    one, two, three = wanted(3)
    replies = generate(teacher, [one, one, two, one, three, two], cache, chunk=chunk)
    assert teacher.asked == [one, two, three]
    said = []
    generate(teacher, [one, one, two], cache, progress=lambda done, found: said.append((done, found)))
    assert (len(teacher.asked), said) == (3, [(3, 3)])
    assert [completion.text for completion in replies] == ["reply 0", "reply 0", "reply 1", "reply 0", "reply 2", "reply 1"]


def test_errors_are_handed_on_but_not_kept(cache):
    refused = Completion("", "error", 70, 0, 0.0, "too long")
    teacher = Scripted(lambda request: refused if request.seed == 1 else spoken("cut", finish="length"))
    assert generate(teacher, wanted(3), cache) == [spoken("cut", finish="length"), refused, spoken("cut", finish="length")]
    again = Scripted(echo)
    generate(again, wanted(3), cache)
    assert again.asked == wanted(3)[1:2]


def test_a_run_that_dies_after_two_chunks_asks_only_for_the_others_when_it_is_run_again(cache):
    def reply(request):
        if request.seed == 15:
            raise KeyboardInterrupt
        return echo(request)

    dying, second = Scripted(reply), Scripted(echo)
    with pytest.raises(KeyboardInterrupt):
        generate(dying, wanted(30), cache)
    assert dying.asked == wanted(3 * CHUNK)
    replies = generate(second, wanted(30), cache)
    assert second.asked == wanted(30)[2 * CHUNK :]
    assert [completion.text for completion in replies] == [f"reply {i}" for i in range(30)]


def test_no_requests_ask_nobody(cache):
    teacher, said = Scripted(echo), []
    assert generate(teacher, [], cache, progress=lambda done, found: said.append(done)) == []
    assert (teacher.asked, said) == ([], [])


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({}, ".espalier/cache.sqlite"),
        ({"DVC_ROOT": "/study"}, "/study/.espalier/cache.sqlite"),
        ({"ESPALIER_CACHE": "/fast/c.db", "DVC_ROOT": "/study"}, "/fast/c.db"),
        ({"ESPALIER_CACHE": "", "DVC_ROOT": "/study"}, "/study/.espalier/cache.sqlite"),
    ],
    ids=["default", "under dvc", "named", "named empty"],
)
def test_the_cache_lies_where_the_environment_says(monkeypatch, variables, path):
    for name in ("ESPALIER_CACHE", "DVC_ROOT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_path() == Path(path)


def test_a_file_that_is_no_database_is_named_with_the_way_out(tmp_path):
    file = tmp_path / "cache.sqlite"
    file.write_bytes(b"no database at all, but long enough to be looked at as one" * 20)
    with pytest.raises(CorruptInput) as caught:
        Cache(file)
    assert str(caught.value) == (
        f"{file}: the completion cache cannot be read (file is not a database); move the file away and run again, its requests are asked anew"
    )


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda data: data[:8192] + b"\xaa" * (len(data) - 8192)], ids=["cut in half", "overwritten"]
)
def test_a_damaged_database_is_named_with_the_way_out(tmp_path, damage):
    file = tmp_path / "cache.sqlite"
    whole = Cache(file)
    many = {key(f"k{i:04}"): spoken("word " * 20) for i in range(500)}
    whole.add(many)
    whole.close()
    file.write_bytes(damage(file.read_bytes()))

    def read():
        damaged = Cache(file)
        try:
            damaged.find(list(many))
        finally:
            damaged.close()

    with pytest.raises(CorruptInput, match=r"cache\.sqlite: the completion cache cannot be read \(.*malformed\); move the file away and run again"):
        read()


@pytest.mark.parametrize(("version", "said"), [(0, 1), (1, 1), (3, 3)])
def test_a_cache_of_another_version_is_named_with_the_way_out_and_left_as_it_is(tmp_path, version, said):
    file = tmp_path / "cache.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("create table completions (key text primary key, text text not null) without rowid")
    connection.execute("insert into completions values ('k', 'old')")
    connection.execute(f"pragma user_version={version}")
    connection.commit()
    connection.close()
    with pytest.raises(EspalierError) as caught:
        Cache(file)
    assert str(caught.value) == (
        f"{file}: the completion cache is of version {said}, this espalier reads 2; move the file away and run again, its requests are asked anew"
    )
    assert lies(file) == [("k", "old")]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorruptInput, match=r"file/cache\.sqlite: the completion cache cannot be read \(.*exists.*\); move the file away"):
        Cache(tmp_path / "file" / "cache.sqlite")


def test_a_full_database_is_a_full_disk_and_keeps_what_was_written(tmp_path):
    cache = Cache(tmp_path / "cache.sqlite")
    cache.add({key("k"): spoken("kept")})
    cache._connection.execute("pragma max_page_count=6")
    with pytest.raises(DiskFull) as caught:
        cache.add({key(f"l{i}"): spoken("word " * 100) for i in range(100)})
    assert str(caught.value) == (f"{tmp_path}/cache.sqlite: the disk refused the cache (database or disk is full); free some space and run the stage again")
    assert cache.find([key("k"), key("l0")]) == {key("k"): spoken("kept")}
    cache.close()


def test_a_refused_write_is_a_full_disk_and_the_next_process_finds_what_was_written(tmp_path):
    code = """
        import resource, sys
        from pathlib import Path
        from espalier.errors import DiskFull
        from espalier.teachers.cache import Cache
        from tests.test_cache import key, spoken
        cache = Cache(Path(sys.argv[1]))
        cache.add({key(f"k{i}"): spoken(f"kept {i}") for i in range(20)})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        def refused(call):
            try:
                call()
            except DiskFull as error:
                print(error)
        refused(lambda: cache.add({key(f"l{i}"): spoken("word " * 100) for i in range(1000)}))
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
        refused(lambda: Cache(Path(sys.argv[2])))
    """
    first, second = tmp_path / "cache.sqlite", tmp_path / "other.sqlite"
    child = python(code, first, second, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    messages = out.splitlines()
    assert [line.split(": the disk refused the cache (")[0] for line in messages] == [str(first), str(second)]
    assert all(line.endswith("); free some space and run the stage again") for line in messages)
    assert [(row[0], row[3]) for row in lies(first)] == sorted((f"k{i}", f"kept {i}") for i in range(20))


def test_opening_waits_for_another_process_that_is_just_making_the_file(tmp_path, monkeypatch):
    making = sqlite3.connect(tmp_path / "cache.sqlite", isolation_level=None)
    making.execute("begin immediate")
    monkeypatch.setattr("espalier.teachers.cache.time.sleep", lambda seconds: making.execute("rollback"))
    opened = Cache(tmp_path / "cache.sqlite")
    opened.add({key("k"): spoken("x")})
    assert held(tmp_path / "cache.sqlite") == {"k"}
    opened.close()
    making.close()


def test_two_processes_that_write_at_once_lose_nothing(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from espalier.teachers.cache import Cache
        from tests.test_cache import key, spoken
        print("ready", flush=True)
        sys.stdin.readline()
        cache = Cache(Path(sys.argv[1]))  # both find no file there
        for i in range(60):
            cache.add({key(f"{sys.argv[2]}{i}-{j}"): spoken(f"{i} {j}") for j in range(3)} | {key(f"both{i}"): spoken("either")})
        cache.close()
    """
    file = tmp_path / "cache.sqlite"
    children = [python(code, file, name, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for name in "ab"]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    names = {f"{name}{i}-{j}" for name in "ab" for i in range(60) for j in range(3)} | {f"both{i}" for i in range(60)}
    assert {row[0] for row in lies(file)} == names
