"""Engines in processes of their own: how work is spread, and what happens when processes die. The engine is a stand-in that answers at once."""

import gc
import multiprocessing
import os
import signal
import time
from functools import partial

import pytest

from espalier.errors import EspalierError
from espalier.teachers.base import Completion, Request, Streaming
from espalier.teachers.replicas import BATCH, Opener, Replicas, split_devices


def request(seed, text="w1"):
    return Request((("user", text),), 1.0, 1.0, 12, seed)


def completion(seed):
    return Completion(f"reply {seed}", "stop", 3, 2, -0.5)


class StandIn:
    """Answers one piece of work a step, `pause_s` after the last; a text "die" kills its process, "break" raises."""

    capacity = 20

    def __init__(self, pause_s=0.0):
        self._pause_s, self._work = pause_s, []

    @property
    def busy(self):
        return bool(self._work)

    def submit(self, work):
        self._work += work

    def step(self):
        time.sleep(self._pause_s)
        place, one = self._work.pop(0)
        if not isinstance(one, Request):
            return [(place, (-1.5 * len(one[1].split()), len(one[1].split())))]
        text = one.messages[0][1]
        if text == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "break":
            raise ValueError("no\nreason")
        if text == "where":
            return [(place, Completion(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}", "stop", 3, 2, -0.5))]
        return [(place, completion(one.seed))]


def refuse():
    raise EspalierError("no such model")


def ready(replicas):
    """The same, once all have loaded."""
    while not all(replica.capacity for replica in replicas._alive):
        replicas._listen()
    return replicas


@pytest.fixture
def opened():
    """Opens replicas that end with the test."""
    made = []

    def opening(*openers):
        made.append(Replicas([Opener(opener) for opener in openers], fingerprint="f"))
        return made[-1]

    yield opening
    for one in made:
        one.close()


def test_replies_come_in_their_order_whoever_gave_them_and_each_is_handed_on_once(opened):
    replicas, told = opened(StandIn, StandIn), []
    assert replicas.stream([request(i) for i in range(200)], lambda replies: told.extend(replies.items())) == [completion(i) for i in range(200)]
    assert sorted(told, key=lambda one: one[0]) == [(i, completion(i)) for i in range(200)]
    assert replicas.generate([]) == []
    assert replicas.score([((("user", "w"),), "a b c"), ((("user", "w"),), "d")]) == [(-4.5, 3), (-1.5, 1)]
    assert isinstance(replicas, Streaming)


def test_each_replica_has_a_process_and_devices_of_its_own_and_work_goes_to_both():
    replicas = ready(Replicas([Opener(StandIn, "3"), Opener(StandIn, "5")], fingerprint="f"))
    said = {reply.text for reply in replicas.generate([request(i, "where") for i in range(8 * BATCH)])}
    replicas.close()
    assert {one.split()[1] for one in said} == {"3", "5"}
    assert len(said) == 2


def test_a_slow_replica_gets_less(opened):
    replicas = ready(opened(partial(StandIn, 0.05), partial(StandIn, 0.001)))
    replies = [reply.text for reply in replicas.generate([request(i, "where") for i in range(300)])]
    shares = sorted(replies.count(one) for one in set(replies))
    assert shares[0] < 100


def test_what_a_killed_replica_had_is_answered_by_the_other(opened):
    replicas = ready(opened(partial(StandIn, 0.005), partial(StandIn, 0.005)))
    victim, told = replicas._alive[0].process.pid, []

    def kill(replies):
        told.extend(replies)
        if len(told) >= 30 and len(told) - len(replies) < 30:
            os.kill(victim, signal.SIGKILL)

    assert replicas.stream([request(i) for i in range(150)], kill) == [completion(i) for i in range(150)]
    assert sorted(told) == list(range(150))
    assert replicas.generate([request(7)]) == [completion(7)]  # and the other goes on


def test_a_request_that_kills_two_replicas_is_an_error_and_the_third_answers_the_rest(opened):
    replicas = ready(opened(StandIn, StandIn, StandIn))
    replies = replicas.generate([request(0, "die"), *(request(i) for i in range(1, 200))])
    assert replies[0].finish == "error"
    assert replies[0].error == "2 engines ended while they had this request (the last with exit code -9)"
    lost = [reply for reply in replies if reply.finish == "error"]
    assert len(lost) <= StandIn.capacity + BATCH  # at most what both had
    assert replies[100:] == [completion(i) for i in range(100, 200)]


@pytest.mark.parametrize(
    ("opener", "text", "why"),
    [(StandIn, "die", "the last with exit code -9"), (StandIn, "break", "ValueError: no reason"), (refuse, "w1", "no such model")],
)
def test_when_all_have_ended_the_run_stops_with_the_reason(opener, text, why, capfd):
    replicas = Replicas([Opener(opener)], fingerprint="f")
    with pytest.raises(EspalierError) as caught:
        replicas.generate([request(0, text)])
    assert str(caught.value) == (
        f"teacher.engine: all 1 engines have ended ({why}); mend the cause, then run again: finished requests are kept, `dvc repro` goes on from them"
    )
    replicas.close()


def test_an_interrupted_run_leaves_nothing_for_the_next(opened):
    replicas = opened(partial(StandIn, 0.002))

    def interrupt(replies):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replicas.stream([request(i) for i in range(50)], interrupt)
    assert replicas.generate([request(i) for i in range(100, 130)]) == [completion(i) for i in range(100, 130)]


def test_processes_end_with_the_object():
    replicas = Replicas([Opener(StandIn)], fingerprint="f")
    process = replicas._alive[0].process
    assert replicas.generate([request(1)]) == [completion(1)]
    del replicas
    gc.collect()
    process.join(10)
    assert process.exitcode == 0
    assert process not in multiprocessing.active_children()


def test_gpus_are_split_among_replicas_and_too_few_are_refused():
    assert split_devices(["4", "5", "6", "7"], replicas=2, tensor_parallel=2) == ["4,5", "6,7"]
    assert split_devices([], replicas=3, tensor_parallel=1) == ["", "", ""]
    with pytest.raises(EspalierError) as caught:
        split_devices(["0", "1", "2"], replicas=2, tensor_parallel=2)
    assert str(caught.value) == "params.yaml: vllm.replicas 2 x vllm.tensor_parallel 2 need 4 GPUs, 3 are visible"
