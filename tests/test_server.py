import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import traceback
from dataclasses import replace
from email.utils import formatdate

import pytest

from espalier.errors import EspalierError, InputMissing
from espalier.io import write_json
from espalier.settings import Server
from espalier.teachers.base import Completion, Request, Streaming
from espalier.teachers.cache import Cache, generate_cached, request_key
from espalier.teachers.engines import open_teacher
from espalier.teachers.key import Key, read_key
from espalier.teachers.pace import Call, Failure, Lane, Pace
from espalier.teachers.pin import pin_served, teacher_fingerprint, teacher_folder
from espalier.teachers.server import ServerTeacher, ask_served
from espalier.teachers.wire import read_reply
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
    return ServerTeacher(replace(SETTINGS, urls=urls, **changes), fingerprint="served", key=key, wait_s=0.004)


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


def test_a_storm_of_429_cuts_concurrency_once_an_incident_waits_as_told_and_grows_again_after_it():
    def storm(asked):
        return said(429, "slow down", headers={"Retry-After": "0.03"}, wait_s=0.04) if asked.number < 16 else replace(good(asked), wait_s=0.02)

    with Misbehaving(storm) as server:
        one = teacher(server.url, retries=6)
        assert one.generate(requests(120)) == replies(120)
    assert sorted(server.answered) == list(range(120))
    assert len(server.seeds()) == 120 + 16
    assert max(server.at_once[:8]) == 8
    calm = server.at_once[16:]
    assert max(calm[:4]) <= 4  # it fell: 8 x 0.75 x 0.75 = 4.5 and lower
    assert max(calm) >= 6  # and grew
    assert one._pace.lanes[0].limit > 4.5


def test_retry_after_is_obeyed_by_the_whole_url():
    moments = []

    def behave(asked):
        moments.append(asyncio.get_running_loop().time())
        return said(503, "loading", headers={"Retry-After": "0.05"}) if asked.number == 0 else good(asked)

    with Misbehaving(behave) as server:
        assert teacher(server.url, max_concurrency=1).generate(requests(3)) == replies(3)
    assert min(moments[1:]) - moments[0] >= 0.05


def test_a_wait_of_hours_ends_the_run_and_says_so():
    later = formatdate(4102444800, usegmt=True)  # the year 2100
    with Misbehaving(lambda asked: said(429, "quota", headers={"Retry-After": later})) as server:
        assert re.fullmatch(
            r"server: every URL of server.urls asks to come back in [\d,]+ s or later \(429: quota\); run again then: finished .*",
            str(raised(lambda: teacher(server.url).generate(requests(3)))),
        )


def test_of_two_urls_one_that_dies_loses_no_request_and_the_other_does_the_rest():
    with Misbehaving() as healthy, Misbehaving(lambda asked: good(asked) if asked.number < 10 else Answer(0, reset=True)) as dying:
        assert teacher(dying.url, healthy.url, retries=1).generate(requests(100)) == replies(100)
    assert sorted(healthy.answered + dying.answered) == list(range(100))  # none is answered twice
    assert len(dying.answered) == 10
    assert max(asked.times for asked in dying.asked) == 0  # what it failed once goes to the other
    assert len(dying.asked) < 10 + 8 + 8 + 8  # two incidents of at most 8, then single tries


def test_of_two_urls_one_that_answers_nothing_but_500_costs_no_request():
    with Misbehaving() as healthy, Misbehaving(lambda asked: said(500, "sick", wait_s=0.0)) as sick:
        assert teacher(sick.url, healthy.url, retries=1).generate(requests(80)) == replies(80)
    assert sorted(healthy.seeds()) == list(range(80))
    assert max(asked.times for asked in sick.asked) == 0


def test_of_two_urls_one_that_never_listened_takes_no_work():
    with Misbehaving() as healthy:
        assert teacher(refused_url(), healthy.url).generate(requests(60)) == replies(60)
    assert sorted(healthy.seeds()) == list(range(60))


def test_two_urls_share_the_work():
    with Misbehaving() as one, Misbehaving() as two:
        assert teacher(one.url, two.url).generate(requests(80)) == replies(80)
    assert sorted(one.seeds() + two.seeds()) == list(range(80))
    assert min(len(one.asked), len(two.asked)) > 20
    assert max(one.at_once) <= 8
    assert max(two.at_once) <= 8


def test_no_url_that_answers_ends_the_run_even_with_few_requests():
    url = refused_url()
    error = str(raised(lambda: teacher(url, retries=2).generate(requests(2))))
    assert re.fullmatch(r"server: no URL of server.urls answers \(ConnectError .*\); start the server, then run again: finished requests are kept, .*", error)


def test_a_request_that_fails_for_good_is_an_error_and_its_neighbours_are_answered():
    with Misbehaving(lambda asked: said(500, "it hurts here") if asked.seed == 4 else good(asked)) as server:
        found = teacher(server.url, retries=3).generate(requests(30))
    assert found[4] == Completion("", "error", 0, 0, 0.0, "500: it hurts here (tried 4 times)")
    assert found[:4] + found[5:] == [reply(seed) for seed in range(30) if seed != 4]
    assert server.seeds().count(4) == 4


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_request_that_the_server_refuses_is_final_at_once(status):
    with Misbehaving(lambda asked: said(status, "too long\x1b[2J\n by far") if asked.seed == 1 else good(asked)) as server:
        found = teacher(server.url).generate(requests(3))
    assert found == [reply(0), Completion("", "error", 0, 0, 0.0, f"{status}: too long [2J by far"), reply(2)]
    assert sorted(server.seeds()) == [0, 1, 2]


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, r"the endpoint wants another key: set the environment variable TEST_API_KEY \(it is set\)"),
        (403, r"the endpoint refuses this key: look at its rights, or set the environment variable TEST_API_KEY \(it is set\)"),
        (404, r"look at server.urls \(most servers want /v1 at the end\) and server.model"),
        (307, "name the place that it leads to in server.urls"),
    ],
)
def test_an_answer_that_every_request_would_get_stops_the_run_at_the_first(status, hint):
    with Misbehaving(lambda asked: said(status, "no", headers={"Location": "/elsewhere"})) as server:
        error = str(raised(lambda: teacher(server.url, max_concurrency=2).generate(requests(50))))
        assert re.fullmatch(f"{server.url} answers {status}: no; {hint}; finished requests are kept, .*", error)
    assert len(server.asked) == 2


def test_too_many_errors_stop_the_run_and_what_was_finished_is_with_the_caller():
    kept = {}
    with Misbehaving(lambda asked: good(asked) if asked.seed < 10 else said(400, "no such option")) as server:
        error = raised(lambda: teacher(server.url, max_concurrency=1).stream(requests(500), kept.__setitem__))
    assert str(error) == (
        "server: 52% of the last 21 requests failed, the last with: 400: no such option; server.error_share_stop is 0.5. "
        "Mend the cause or raise it (1 = never stop), then run again: finished requests are kept, `dvc repro` goes on from them"
    )
    assert [kept[place] for place in range(10)] == replies(10)
    assert len(server.asked) == 21


def test_a_share_of_one_never_stops():
    with Misbehaving(lambda asked: said(400, "no")) as server:
        assert {one.finish for one in teacher(server.url, error_share_stop=1.0).generate(requests(60))} == {"error"}


def test_a_call_whose_retries_are_spent_stops():
    with Misbehaving(lambda asked: good(asked) if asked.times == 3 else said(500, "again")) as server:
        error = raised(lambda: teacher(server.url, retries=4, max_concurrency=4).generate(requests(20)))
    assert re.match(r"server: 20 requests needed more than 24 retries \(last: 500: again\); mend the server, finished requests are kept", str(error))
    assert len(server.asked) <= 20 + 24 + 4


def test_jitter_decides_when_and_never_what():
    def run(jitter):
        with Misbehaving(on_first_try(said(500, "again"))) as server:
            one = teacher(server.url)
            one._pace.jitter = jitter
            return one.generate(requests(10))

    assert run(lambda: 0.0) == run(lambda: 1.0) == replies(10)


def test_a_wait_is_drawn_between_nothing_and_a_bound_that_doubles():
    waits = []

    async def ask(url, request):
        return Failure("500")

    async def run():
        pace = Pace(replace(SETTINGS, urls=("u",), retries=9, error_share_stop=1.0), wait_s=0.0001, jitter=lambda: 0.5)
        call = Call(requests(1), lambda place, completion: None, ask, pace=pace)
        land = call._land

        def spy(task, now_s):
            land(task, now_s)
            waits.extend(round((when - now_s) * 10000, 3) for when, _ in call._again)

        call._land = spy
        return await call.run()

    assert asyncio.run(run())[0].error == "500 (tried 10 times)"
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 32, 32]  # half of 1, 2, 4 ... 64, and no more


def test_a_lane_falls_by_a_quarter_an_incident_and_grows_by_one_a_round():
    lane = Lane("u", 8, 1.0, 8.0)
    for _ in range(8):  # all that is under way when it begins is one incident
        lane.note(Failure("429", congested=True), started_s=1.0, now_s=2.0)
    assert (lane.limit, lane.failures, lane.room(2.0)) == (6.0, 1, 6)
    for _ in range(6):
        lane.note(reply(0), started_s=3.0, now_s=4.0)
    assert (lane.limit, lane.failures) == (7.0, 0)
    for _ in range(100):
        lane.note(reply(0), started_s=3.0, now_s=4.0)
    assert lane.limit == 8.0  # the bound of the settings
    for moment in range(10, 40):
        lane.note(Failure("429", congested=True), started_s=moment, now_s=moment + 0.5)
    assert lane.limit == 1.0


def test_a_lane_that_fails_twice_in_a_row_rests_longer_each_time_and_is_tried_with_one_request():
    lane, rests = Lane("u", 8, 1.0, 8.0), []
    for moment in range(0, 1000, 100):
        lane.note(Failure("refused", answered=False), started_s=moment, now_s=moment + 1)
        rests.append(max(lane.ready_s - moment - 1, 0))
    assert rests == [0, 1, 2, 4, 8, 16, 32, 64, 64, 64]
    assert (lane.room(901.5), lane.room(970.0), lane.limit) == (0, 1, 8.0)
    lane.note(reply(0), started_s=970.0, now_s=971.0)
    assert lane.room(971.0) == 8


def test_a_lane_that_answers_with_errors_is_tried_with_all_it_bears_after_its_rest():
    lane = Lane("u", 8, 1.0, 8.0)
    for moment in range(0, 1000, 100):
        lane.note(Failure("500"), started_s=moment, now_s=moment + 1)
    assert (lane.room(901.5), lane.room(970.0), lane.limit) == (0, 8, 8.0)


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

    def interrupt(place, completion):
        kept.append(place)
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


ECHOES = {
    "in an error": lambda asked: said(401, f"no such key: {SECRET}"),
    "in a refusal": lambda asked: said(400, f"bad header Authorization: Bearer {SECRET}" + "x" * 300),
    "as json spells it": lambda asked: Answer(400, b'{"error": {"message": "key sk-ab\\/cd+0123456789"}}'),
    "as a url spells it": lambda asked: said(400, "see /login?key=sk-ab%2Fcd%2B0123456789"),
    "as escapes spell it": lambda asked: Answer(400, ('{"error": {"message": "' + "".join(f"\\u{ord(letter):04x}" for letter in SECRET) + '"}}').encode()),
    "where a message is cut": lambda asked: said(400, "x" * (195 - asked.seed // 2) + SECRET),
    "where a value is cut": lambda asked: Answer(body=body(choices=choice(finish_reason="x" * (55 - asked.seed) + SECRET))),
    "in plain text": lambda asked: Answer(500, f"Bearer {SECRET}".encode()),
    "in headers": lambda asked: said(500, "no", headers={"X-Key": SECRET}, reason=f"Key {SECRET}"),
    "in a reply": lambda asked: Answer(body=body(choices=choice(message={"content": f"my key is {SECRET}"}))),
    "where a field should be": lambda asked: Answer(body=body(choices=choice(finish_reason=SECRET))),
    "in a reset": lambda asked: Answer(body=f"Bearer {SECRET}".encode(), cut=10, reset=True),
}


@pytest.mark.parametrize("behave", ECHOES.values(), ids=ECHOES)
def test_a_key_that_the_server_echoes_shows_nowhere(behave, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    seen = [repr(KEY), str(KEY)]
    with Misbehaving(behave) as server:
        engine = teacher(server.url, retries=1, error_share_stop=0.9)
        try:
            seen += map(repr, cached(engine, requests(25), tmp_path / "cache.sqlite"))
        except EspalierError as error:
            seen += traceback.TracebackException.from_exception(error, capture_locals=True).format()
    assert SECRET in server.asked[0].headers["authorization"]  # it was sent
    out, err = capfd.readouterr()
    seen += [out, err, caplog.text, *(repr(record.__dict__) for record in caplog.records), repr(vars(engine)), repr(server.url)]
    seen += [file.read_bytes().decode("latin-1") for file in tmp_path.iterdir()]
    for spelling in (SECRET, "sk-ab\\/cd", "sk-ab%2Fcd", "sk-a"):
        assert [text for text in seen if spelling in text] == []


def test_a_key_that_a_list_of_models_echoes_is_not_pinned():
    with Misbehaving(models=listing({"id": "m", "root": f"/keys/{SECRET}"})) as server:
        assert served(server.url) == {"model": "m", "id": "m", "root": "/keys/***"}


def test_a_placeholder_for_a_key_leaves_replies_alone():
    with Misbehaving(lambda asked: Answer(body=body(choices=choice(message={"content": "the box is EMPTY"})))) as server:
        assert teacher(server.url, key=Key("TEST_API_KEY", "EMPTY")).generate(requests(1))[0].text == "the box is EMPTY"


@pytest.mark.parametrize(("value", "found"), [(f" {SECRET}\n", SECRET), ("", ""), (None, "")])
def test_a_key_is_read_from_the_variable_without_the_white_space_around_it(monkeypatch, value, found):
    monkeypatch.delenv("TEST_API_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("TEST_API_KEY", value)
    assert read_key("TEST_API_KEY") == Key("TEST_API_KEY", found)


@pytest.mark.parametrize("value", ["sk-ab\ncd", "sk-ab cd", "sk-äb"])
def test_a_key_that_no_header_carries_is_refused_without_being_shown(monkeypatch, value):
    monkeypatch.setenv("TEST_API_KEY", value)
    error = raised(lambda: read_key("TEST_API_KEY"))
    assert str(error) == "$TEST_API_KEY: holds a space, a control character or a letter beyond ASCII; set it to the key alone"


def served(*urls, **changes):
    return ask_served(replace(SETTINGS, urls=urls, **changes), key=KEY)


def listing(*entries):
    return Answer(body=json.dumps({"object": "list", "data": list(entries)}).encode())


M = {"model": "m", "id": "m", "root": "org/m", "max_model_len": 4096}


def test_what_is_pinned_of_a_model_is_what_all_urls_say_and_no_time():
    with Misbehaving() as one, Misbehaving(models=listing({"id": "m", "created": 999, "root": "org/m", "max_model_len": 4096, "owned_by": "x"})) as two:
        assert served(one.url, two.url) == served(two.url) == served(refused_url(), one.url) == M


def test_an_endpoint_that_says_less_is_pinned_by_what_it_says():
    with Misbehaving(models=listing({"id": "m", "root": None})) as bare, Misbehaving(models=Answer(404)) as silent:
        assert (served(bare.url), served(silent.url)) == ({"model": "m", "id": "m"}, {"model": "m"})


def test_urls_that_serve_different_models_are_refused():
    with Misbehaving() as one, Misbehaving(models=listing({"id": "m", "root": "org/other"})) as two:
        assert "server.urls serve different models" in str(raised(lambda: served(one.url, two.url)))


def test_a_model_that_is_not_served_is_named_with_the_one_that_was_meant():
    with Misbehaving(models=listing({"id": "qwen-7b"})) as server:
        assert str(raised(lambda: served(server.url, model="qwen-7"))) == (
            f'params.yaml: server.model is "qwen-7", which {server.url} does not serve; did you mean "qwen-7b"?'
        )


def test_a_server_that_cannot_be_asked_is_named_with_the_reason():
    url = refused_url()
    assert re.fullmatch(
        rf"params.yaml: no URL of server.urls lists its models \({url}: ConnectError .*\); start the server, or mend server.urls", str(raised(lambda: served(url)))
    )
    for answer, why in ((Answer(500, b"down"), "500: down"), (Answer(body=b"{}"), "not a list of models: data is None"), (Answer(body=b"{"), "not a list of models")):
        with Misbehaving(models=answer) as server:
            assert why in str(raised(lambda url=server.url: served(url)))
    with Misbehaving(models=said(401, f"bad key {SECRET}")) as server:
        assert "answers 401: bad key ***; the endpoint wants another key" in str(raised(lambda: served(server.url)))


def test_a_pinned_endpoint_gives_the_tokenizer_folder_and_a_fingerprint_without_urls(tmp_path):
    tokenizer = tmp_path / "tokenizer"
    with pytest.raises(InputMissing, match=r"params\.yaml: teacher\.path is .*tokenizer, which holds no tokenizer\.json; an endpoint gives none"):
        pin_served(str(tokenizer), M)
    write_json(tokenizer / "tokenizer.json", {})
    pin = pin_served(str(tokenizer), M)
    write_json(tmp_path / "run" / "pin.json", pin)
    assert set(pin) == {"path", "tokenizer", "served", "fingerprint"}
    assert re.fullmatch("[0-9a-f]{32}", pin["fingerprint"])
    assert teacher_folder(tmp_path / "run") == tokenizer
    assert teacher_fingerprint(tmp_path / "run") == pin["fingerprint"] != pin_served(str(tokenizer), M | {"root": "org/other"})["fingerprint"]
    write_json(tokenizer / "tokenizer.json", {"other": 1})
    assert "the teacher has changed since it was pinned" in str(raised(lambda: teacher_folder(tmp_path / "run")))


def test_an_endpoint_that_serves_another_model_than_was_pinned_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("TEST_API_KEY", SECRET)
    write_json(tmp_path / "tokenizer" / "tokenizer.json", {})
    write_json(tmp_path / "run" / "pin.json", pin_served(str(tmp_path / "tokenizer"), M))

    def opened(server):
        return open_teacher("server", tmp_path / "run", server=replace(SETTINGS, urls=(server.url,)))

    with Misbehaving() as server:
        assert opened(server).generate(requests(2)) == replies(2)
        assert server.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        assert opened(server).fingerprint == teacher_fingerprint(tmp_path / "run")
    with Misbehaving(models=listing({"id": "m", "root": "org/other"})) as other:
        assert re.search(r"org/m.* is pinned, found is .*org/other.*; run `dvc repro -f teacher`", str(raised(lambda: opened(other))))
    assert other.asked == []
    assert "is pinned, found is a model in a folder; run" in str(raised(lambda: open_teacher("hf", tmp_path / "run")))
