import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from espalier.errors import EspalierError
from espalier.settings import Server
from espalier.teachers.base import Completion, Request, Streaming
from espalier.teachers.cache import Cache, generate_cached, request_key
from espalier.teachers.key import Key
from espalier.teachers.server import ServerTeacher
from espalier.teachers.wire import read_reply, request_body
from tests.misbehaving import Answer, Misbehaving, good, refused_url, said, whole

SECRET = "sk-ab/cd+0123456789"
KEY = Key("TEST_API_KEY", SECRET)
SETTINGS = Server((), "m", "TEST_API_KEY", 8, 5.0, 4, 0.5)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    """Proxies of the machine have no say about 127.0.0.1."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def teacher(*urls, key=KEY, **changes):
    return ServerTeacher(replace(SETTINGS, urls=urls, **changes), fingerprint="served", key=key, folder=Path("no folder"), wait_s=0.004)


def requests(n, *, start=0):
    return [Request((("system", "be brief"), ("user", f"w{i}")), 0.7, 0.9, 16, i) for i in range(start, start + n)]


def reply(seed):
    return Completion(f"reply {seed}", "stop", 3, 2, -0.5)


def replies(n, *, start=0):
    return [reply(seed) for seed in range(start, start + n)]


def body(seed=0, **changes):
    return json.dumps(whole(seed, **changes)).encode()


def choice(**changes):
    return [whole(0)["choices"][0] | changes]


def on_first_try(answer):
    """A script: `answer` for the first try of every request, a good one after that."""
    return lambda asked: answer if asked.times == 0 else good(asked)


def raised(call):
    with pytest.raises(EspalierError) as caught:
        call()
    return caught.value


def test_replies_come_in_the_order_of_the_requests_and_each_is_asked_once():
    with Misbehaving() as server:
        assert teacher(server.url).generate(requests(40)) == replies(40)
    assert sorted(server.seeds()) == list(range(40))


def test_a_request_carries_everything_that_decides_a_reply_and_the_key_in_one_header():
    with Misbehaving() as server:
        teacher(f"{server.url}/").generate(requests(1, start=7))
        teacher(server.url, key=Key("TEST_API_KEY", "")).generate(requests(1))
    first, second = server.asked
    assert first.path == "/v1/chat/completions"
    assert first.body == {
        "model": "m", "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "w7"}],
        "temperature": 0.7, "top_p": 0.9, "max_tokens": 16, "seed": 7, "logprobs": True,
    }  # fmt: skip
    assert first.headers["authorization"] == f"Bearer {SECRET}"
    assert "authorization" not in second.headers


def test_a_schema_goes_along_as_a_response_format_and_only_where_there_is_one():
    schema = '{"type": "object", "required": ["a"]}'
    assert "response_format" not in request_body(requests(1)[0], model="m")
    assert request_body(replace(requests(1)[0], schema=schema), model="m")["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "reply", "schema": {"type": "object", "required": ["a"]}, "strict": True},
    }  # fmt: skip


def test_no_requests_open_no_connection():
    assert teacher(refused_url()).generate([]) == []


def test_an_endpoint_scores_nothing():
    assert str(raised(lambda: teacher("http://127.0.0.1:1").score([]))) == (
        "teacher.engine is server: an endpoint offers no likelihoods of given replies; use hf where replies are scored"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, reply(0)),
        ({"choices": choice(finish_reason="length")}, replace(reply(0), finish="length")),
        ({"choices": choice(logprobs=None)}, replace(reply(0), logprob_mean=0.0)),
        ({"choices": choice(logprobs={"content": None})}, replace(reply(0), logprob_mean=0.0)),
        ({"choices": choice(logprobs={"content": [{"logprob": -1}]})}, replace(reply(0), logprob_mean=-1.0)),
        ({"choices": choice(message={"content": ""})}, replace(reply(0), text="")),
        ({"choices": choice(message={"content": "NaN \x00 żółw\n"})}, replace(reply(0), text="NaN \x00 żółw\n")),
        ({"choices": choice(finish_reason="content_filter")}, Completion("", "error", 3, 2, 0.0, "finish_reason content_filter")),
    ],
)
def test_a_whole_body_is_read_to_the_last_number(changes, expected):
    assert read_reply(body(**changes)) == expected


BROKEN = {
    "no json": (b"<html>bad gateway</html>", "Expecting value"),
    "half": (body()[:-20], "Expecting|delimiter|Unterminated"),
    "empty": (b"", "Expecting value"),
    "a list": (b"[]", "choices is None; list is wanted"),
    "an error": (b'{"error": {"message": "busy"}}', "choices is None; list is wanted"),
    "no choice": (body(choices=[]), "0 choices; 1 is wanted"),
    "two choices": (body(choices=choice() * 2), "2 choices; 1 is wanted"),
    "no usage": (body(usage=None), "usage is None; dict is wanted"),
    "no count": (body(usage={"prompt_tokens": 3}), "completion_tokens is None; int is wanted"),
    "a word for a count": (body(usage={"prompt_tokens": "3", "completion_tokens": 2}), "prompt_tokens is '3'; int is wanted"),
    "a negative count": (body(usage={"prompt_tokens": 3, "completion_tokens": -1}), "completion_tokens is -1; a count is wanted"),
    "no finish": (body(choices=choice(finish_reason=None)), "finish_reason is None; str is wanted"),
    "aborted": (body(choices=choice(finish_reason="abort")), "finish_reason 'abort'; stop or length is wanted"),
    "no text": (body(choices=choice(message={"role": "assistant", "content": None})), "content is None; str is wanted"),
    "half a letter": (body(choices=choice(message={"content": "\ud800"})), "surrogates not allowed"),
    "not a number": (body(choices=choice(logprobs={"content": [{"logprob": float("nan")}]})), "NaN is no JSON"),
    "too small a number": (body().replace(b"-0.25", b"-1e999"), "logprob is -inf; a number is wanted"),
    "no logprob": (body(choices=choice(logprobs={"content": [{"token": "x"}]})), "logprob is None; a number is wanted"),
    "nested": (b"[" * 100_000, "nested without end"),
    "not utf-8": (b'{"choices": "\xff"}', "can't decode byte 0xff"),
}


@pytest.mark.parametrize(("broken", "why"), BROKEN.values(), ids=BROKEN)
def test_a_body_that_is_not_whole_is_refused_with_the_reason_and_asked_again(broken, why):
    with pytest.raises(ValueError, match=why):
        read_reply(broken)


def test_every_kind_of_broken_body_is_asked_again_and_nothing_of_it_is_kept():
    kinds = list(BROKEN.values())
    with Misbehaving(lambda asked: Answer(body=kinds[asked.seed][0]) if asked.times == 0 else good(asked)) as server:
        assert teacher(server.url).generate(requests(len(kinds))) == replies(len(kinds))
    assert sorted(server.seeds()) == sorted(list(range(len(kinds))) * 2)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(body=body(99), cut=40), Answer(body=body(99), cut=40, reset=True), Answer(body=body(99)[:40], endless=True), Answer(0, reset=True), Answer(0, cut=0),
        said(500, "down"), said(502, "down"), said(408, "slow"), said(409, "conflict"), said(425, "early"), Answer(204), Answer(body=b"x" * 5000),
        Answer(body=b"no gzip", headers={"Content-Encoding": "gzip"}),
    ],
    ids=["half sent", "reset in the body", "half without length", "reset", "closed", "500", "502", "408", "409", "425", "204", "too long", "not as announced"],
)  # fmt: skip
def test_a_failed_try_is_repeated_and_loses_nothing(answer, monkeypatch):
    monkeypatch.setattr("espalier.teachers.server.MAX_BYTES", 4999)
    with Misbehaving(lambda asked: answer if asked.times == 0 and asked.seed % 3 == 0 else good(asked)) as server:
        assert teacher(server.url).generate(requests(12)) == replies(12)
    assert sorted(server.seeds()) == sorted([*range(12), 0, 3, 6, 9])


def test_a_hang_past_the_timeout_is_given_up_cuts_concurrency_and_is_asked_again():
    with Misbehaving(lambda asked: replace(good(asked), wait_s=5.0) if asked.times == 0 and asked.seed == 3 else good(asked)) as server:
        one = teacher(server.url, timeout_s=0.08)
        assert one.generate(requests(12)) == replies(12)
    assert sorted(server.seeds()) == sorted([*range(12), 3])
    assert one._pace.lanes[0].limit == 6.0  # 8 x 0.75


def test_a_body_that_drips_without_end_runs_into_the_timeout():
    gone = asyncio.Event()

    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not reader.at_eof():  # until the client hangs up
            writer.write(b" ")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(), 0.01)
        writer.close()
        gone.set()

    async def both():
        served = await asyncio.start_server(drip, "127.0.0.1", 0)
        one = teacher(f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}", retries=0, timeout_s=0.05)
        error = await asyncio.to_thread(lambda: raised(lambda: one.generate(requests(1))))
        served.close()
        await gone.wait()
        return str(error)

    assert "no whole answer within 0.05 s" in asyncio.run(both())


def test_each_completion_is_in_the_cache_before_the_run_is_stopped_and_only_the_others_are_asked_again(tmp_path):
    file = tmp_path / "cache.sqlite"
    with Misbehaving(lambda asked: said(401, "expired") if asked.number >= 30 else good(asked)) as server:
        error = raised(lambda: cached(teacher(server.url, max_concurrency=4), requests(60), file))
        assert "answers 401: expired" in str(error)
    held = known(file)
    assert held == {request_key("served", requests(60)[seed]).hash for seed in server.answered}
    assert len(held) == 30
    with Misbehaving() as again:
        said_so = []
        assert cached(teacher(again.url), requests(60), file, progress=lambda done, found: said_so.append((done, found))) == replies(60)
    assert sorted(again.seeds()) == sorted(set(range(60)) - set(server.answered))
    assert said_so == [*((done, 30) for done in range(31, 61)), (60, 30)]


def test_an_error_is_handed_on_but_not_kept(tmp_path):
    with Misbehaving(lambda asked: said(400, "no") if asked.seed == 1 else good(asked)) as server:
        assert [one.finish for one in cached(teacher(server.url), requests(3), tmp_path / "c.sqlite")] == ["stop", "error", "stop"]
    assert len(known(tmp_path / "c.sqlite")) == 2


def test_an_interrupt_in_the_midst_loses_only_what_was_under_way(tmp_path):
    kept = []

    def interrupt(completions):
        kept.extend(completions)
        if len(kept) == 20:
            raise KeyboardInterrupt

    with Misbehaving() as server:
        one = teacher(server.url)
        with pytest.raises(KeyboardInterrupt):
            one.stream(requests(60), interrupt)
        assert len(server.asked) <= 20 + 8
        assert [lane.busy for lane in one._pace.lanes] == [0]
        assert one.generate(requests(5)) == replies(5)  # and the engine can go on


def test_a_run_killed_with_sigkill_loses_only_what_was_under_way(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from tests.test_server import cached, requests, teacher
        cached(teacher(sys.argv[1], max_concurrency=4), requests(60), Path(sys.argv[2]))
    """
    file, child = tmp_path / "cache.sqlite", []

    def behave(asked):
        if asked.number == 30:
            os.kill(child[0].pid, signal.SIGKILL)
        return good(asked)

    with Misbehaving(behave) as server:
        variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        child.append(subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), server.url, str(file)], env=variables, stderr=subprocess.DEVNULL))
        assert child[0].wait(timeout=60) == -signal.SIGKILL
        first = set(server.answered)
    held = known(file)
    assert held <= {request_key("served", requests(60)[seed]).hash for seed in first}
    assert len(held) >= 30 - 4  # of 30 asked before, those under way
    with Misbehaving() as again:
        assert cached(teacher(again.url), requests(60), file) == replies(60)
        assert len(again.asked) == 60 - len(held)


def test_only_an_engine_that_streams_is_written_through():
    assert isinstance(teacher("http://127.0.0.1:1"), Streaming)


def cached(engine, asked, file, *, progress=lambda done, found: None):
    cache = Cache(file)
    try:
        return generate_cached(lambda: engine, asked, cache, fingerprint=engine.fingerprint, chunk=1000, progress=progress)
    finally:
        cache.close()


def known(file):
    connection = sqlite3.connect(file)
    found = {key for (key,) in connection.execute("select key from completions")}
    connection.close()
    return found
