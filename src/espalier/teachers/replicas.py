"""Several engines with the same model, each in a process of its own, fed from one queue: data parallelism on one machine.

Work goes out in small batches to whoever has least of it, and every result comes back by itself. When a process dies (out of memory, a kill), what it had goes
to the others; what was there when a second one died becomes an error, for it may be the cause. Results carry their place, so the order of work is free.
Nothing here knows vLLM: an engine is what a picklable function opens in the process.
"""

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Protocol

from espalier.errors import EspalierError
from espalier.interrupt import unheard
from espalier.prompts import Messages
from espalier.teachers.base import Completion, Done, Request

Place = int
Score = tuple[float, int]
Work = Request | tuple[Messages, str]
Result = Completion | Score

BATCH = 16  # pieces of work that go out together
DEATHS = 2  # engines that a piece of work may have been in when they died
LOOK_S = 1.0  # between looks at processes that say nothing: their pipe may be held open by children of theirs
END_S = 10.0  # patience with a process that is to end
KEPT = "finished requests are kept, `dvc repro` goes on from them"


class Stepping(Protocol):
    """An engine that is fed and emptied bit by bit. capacity: how much it works on at once."""

    capacity: int

    @property
    def busy(self) -> bool:
        """Whether `step` has anything to do."""

    def submit(self, work: Sequence[tuple[Place, Work]]) -> None:
        """Take more work."""

    def step(self) -> list[tuple[Place, Result]]:
        """What has been finished since."""


@dataclass(frozen=True, slots=True)
class Opener:
    """What a process is started with: a picklable function that makes the engine, and the GPUs that it sees ("" = the machine's own setting)."""

    open: Callable[[], Stepping]
    devices: str = ""


@dataclass(eq=False, slots=True)
class Replica:
    """One process as its parent sees it. capacity 0: it is still loading; under_way: the work that it has."""

    process: multiprocessing.Process
    connection: Connection
    capacity: int = 0
    under_way: set[Place] = field(default_factory=set)

    def has_room(self) -> bool:
        """Whether more work may go to it: as much as it works on, and one batch in waiting."""
        return 0 < self.capacity >= len(self.under_way)


class Replicas:
    """Engines in processes; see teachers/base.py for the interface. They start at once and end with this object or this process, however that ends."""

    def __init__(self, openers: Sequence[Opener], *, fingerprint: str) -> None:
        """One process for each opener; `generate` waits for them."""
        self.fingerprint = fingerprint
        self._alive = [_launch(opener) for opener in openers]
        self._size, self._why = len(openers), ""
        self._first = 0  # the place of the current call's first piece of work; what an interrupted call left behind has lower ones
        self._finalizer = weakref.finalize(self, _end, self._alive)

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order. Raises: as `stream`."""
        return self._run(requests, lambda completions: None)

    def stream(self, requests: Sequence[Request], done: Done) -> list[Completion]:
        """As generate; `done` has every completion as soon as it is there. Raises: EspalierError when no engine is left."""
        return self._run(requests, done)

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[Score]:
        """Log-probability in nats and number of tokens of each reply. Raises: EspalierError when no engine is left, or two died of a pair."""
        return self._run(pairs, lambda scores: None)

    def close(self) -> None:
        """End the processes."""
        self._finalizer()

    def _run(self, work: Sequence[Work], done: Callable) -> list:
        first, self._first = self._first, self._first + len(work)
        results: dict[int, Result] = {}
        waiting, deaths = deque(range(len(work))), Counter[int]()
        while len(results) < len(work):
            self._hand_out(work, waiting, first)
            finished, lost = self._listen()
            for place in sorted(lost, reverse=True):
                if (i := place - first) in range(len(work)) and i not in results:
                    deaths[i] += 1
                    if deaths[i] < DEATHS:
                        waiting.appendleft(i)
                    else:
                        finished.append((place, self._given_up(work[i])))
            fresh = {i: result for place, result in finished if (i := place - first) in range(len(work)) and i not in results}
            results |= fresh
            if fresh:
                done(fresh)
        return [results[i] for i in range(len(work))]

    def _hand_out(self, work: Sequence[Work], waiting: deque[int], first: int) -> None:
        if not self._alive:
            raise EspalierError(f"teacher.engine: all {self._size} engines have ended ({self._why}); mend the cause, then run again: {KEPT}")
        while waiting and (open_ones := [replica for replica in self._alive if replica.has_room()]):
            replica = min(open_ones, key=lambda one: len(one.under_way))
            some = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
            replica.under_way.update(first + i for i in some)
            with contextlib.suppress(OSError):  # it has just died: `_listen` notices
                replica.connection.send([(first + i, work[i]) for i in some])

    def _listen(self) -> tuple[list[tuple[Place, Result]], list[Place]]:
        """What has been finished, and what was lost with a process that ended."""
        finished, lost = [], []
        spoken = set(wait([replica.connection for replica in self._alive], timeout=LOOK_S))
        for replica in list(self._alive):
            ended = replica.connection not in spoken and replica.process.exitcode is not None
            if replica.connection in spoken:
                try:
                    message = replica.connection.recv()
                except (EOFError, OSError):
                    ended = True
                else:
                    finished += self._hear(replica, message)
            if ended:
                lost += self._bury(replica)
        return finished, lost

    def _hear(self, replica: Replica, message: object) -> list[tuple[Place, Result]]:
        """A process says its capacity once it is ready, a reason when it gives up, and else what it has finished."""
        if isinstance(message, int):
            replica.capacity = message
            return []
        if isinstance(message, str):
            self._why = message
            return []
        replica.under_way.difference_update(place for place, _ in message)
        return message

    def _bury(self, replica: Replica) -> list[Place]:
        self._alive.remove(replica)
        replica.connection.close()
        replica.process.join(END_S)
        self._why = self._why or f"the last with exit code {replica.process.exitcode}"
        return list(replica.under_way)

    def _given_up(self, one: Work) -> Result:
        if not isinstance(one, Request):
            raise EspalierError(f"teacher.engine: {DEATHS} engines ended while they scored the same reply ({self._why})")
        return Completion("", "error", 0, 0, 0.0, f"{DEATHS} engines ended while they had this request ({self._why})")


def split_devices(visible: Sequence[str], *, replicas: int, tensor_parallel: int) -> list[str]:
    """The value of CUDA_VISIBLE_DEVICES for each replica; "" for all on a machine without GPUs. Raises: EspalierError when there are too few.

    >>> split_devices(["0", "1", "2", "3", "4"], replicas=2, tensor_parallel=2)
    ['0,1', '2,3']
    """
    if visible and len(visible) < (needed := replicas * tensor_parallel):
        raise EspalierError(f"params.yaml: vllm.replicas {replicas} x vllm.tensor_parallel {tensor_parallel} need {needed} GPUs, {len(visible)} are visible")
    return [",".join(visible[i * tensor_parallel : (i + 1) * tensor_parallel]) for i in range(replicas)]


def _launch(opener: Opener) -> Replica:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(opener, theirs))
    resource_tracker.ensure_running()  # else the first start does it, which lets SIGINT through again
    with unheard():
        process.start()
    theirs.close()
    return Replica(process, ours)


def _serve(opener: Opener, connection: Connection) -> None:
    """The life of a process: open the engine, then take work and give results until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to hear; until here it was blocked
    if opener.devices:
        os.environ["CUDA_VISIBLE_DEVICES"] = opener.devices
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # a killed process leaves none of its own behind
    inbox: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    try:
        engine = opener.open()
        connection.send(engine.capacity)
        while True:
            while not engine.busy or not inbox.empty():
                engine.submit(inbox.get())
            if finished := engine.step():
                connection.send(finished)
    except (BrokenPipeError, ConnectionResetError):  # the parent has gone before `_receive` noticed
        os._exit(0)
    except EspalierError as error:  # no news to a developer: without a traceback
        connection.send(str(error))
        raise SystemExit(1) from None
    except Exception as error:
        connection.send(" ".join(f"{type(error).__name__}: {error}".split())[:300])
        raise


def _receive(connection: Connection, inbox: queue.SimpleQueue) -> None:
    """Reads all the time, so that neither side waits for the other to read; without a parent the process ends at once."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            os._exit(0)


def _end(replicas: list[Replica]) -> None:
    end = time.monotonic() + END_S
    for replica in replicas:
        replica.connection.close()
    for replica in replicas:
        replica.process.join(max(end - time.monotonic(), 0.1))
        if replica.process.exitcode is None:
            replica.process.kill()
            replica.process.join()
