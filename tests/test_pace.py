"""How much is asked of which URL at once, what is asked again, and when a run is given up."""

import asyncio
import re
from dataclasses import replace
from email.utils import formatdate

import pytest

from espalier.teachers.base import Completion
from espalier.teachers.pace import Call, Failure, Lane, Pace
from tests.misbehaving import Answer, Misbehaving, good, refused_url, said
from tests.test_server import SETTINGS, no_proxy, on_first_try, raised, replies, reply, requests, teacher  # noqa: F401 (a fixture that works by being here)


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
        error = raised(lambda: teacher(server.url, max_concurrency=1).stream(requests(500), kept.update))
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
        call = Call(requests(1), lambda completions: None, ask, pace=pace)
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
