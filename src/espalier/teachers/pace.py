"""How much is asked of which URL at once, and what is asked again: nothing here knows HTTP.

Concurrency falls and grows as TCP's does (additive increase, multiplicative decrease): x 0.75 when a URL says that it is too much or says nothing in time, + 1
after as many successes in a row as are allowed at once. All that fails of what was under way at a time is one incident and cuts once. From the second incident
without a success between on, a URL rests, twice as long each time, so that a sick one takes no work from the others; a silent one is tried with one request.
Source: AIMD, Chiu and Jain 1989 (Computer Networks 17, 1); full jitter, AWS Architecture Blog, "Exponential Backoff And Jitter".
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from espalier.errors import EspalierError
from espalier.settings import Server
from espalier.teachers.base import NOT_BEGUN, Completion, Done, Request, never

CUT = 0.75
DOUBLINGS = 6  # waits grow to 2**6 times the first
ERRORS_SEEN, ERRORS_MIN = 100, 20  # the error share is that of the last 100 requests, once there are 20
LOOK_S = 0.2  # how often it is asked whether to stop: a signal alone does not end a wait
LONGEST_REST_S = 900.0  # a longer wait is the user's to decide
KEPT = "finished requests are kept, `dvc repro` goes on from them"


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that gave no completion. congested: fewer at once; answered: the server spoke; stop: no other request would fare better."""

    reason: str
    congested: bool = False
    answered: bool = True
    retry_after_s: float = 0.0
    stop: bool = False


Outcome = Completion | Failure
Ask = Callable[[str, Request], Awaitable[Outcome]]


@dataclass(slots=True)
class Lane:
    """One URL and what it bears. limit: requests at once; failures: incidents in a row; ready_s: when it may be asked again; since_s: the last incident."""

    url: str
    most: int
    wait_s: float
    limit: float
    busy: int = 0
    successes: int = 0
    failures: int = 0
    answered: bool = True
    ready_s: float = 0.0
    since_s: float = 0.0

    def room(self, now_s: float) -> int:
        """How many more requests may go to it now."""
        if now_s < self.ready_s:
            return 0
        return (1 if self.failures > 1 and not self.answered else int(self.limit)) - self.busy

    def note(self, outcome: Outcome, *, started_s: float, now_s: float) -> None:
        """Learn from a try that began at started_s."""
        if isinstance(outcome, Completion):
            self._succeed(started_s)
            return
        self.ready_s = max(self.ready_s, now_s + outcome.retry_after_s)
        self.answered = outcome.answered
        if started_s >= self.since_s:
            self.since_s, self.successes, self.failures = now_s, 0, self.failures + 1
            self.limit = max(1.0, self.limit * CUT) if outcome.congested else self.limit
            if self.failures > 1 and not outcome.retry_after_s:
                self.ready_s = max(self.ready_s, now_s + self.wait_s * 2 ** min(self.failures - 2, DOUBLINGS))

    def _succeed(self, started_s: float) -> None:
        self.failures, self.answered = 0, True
        self.successes += started_s >= self.since_s
        if self.successes >= self.limit:
            self.limit, self.successes = min(float(self.most), self.limit + 1), 0


class Pace:
    """What an engine knows of its URLs from call to call. wait_s: the first wait after a failure; jitter: a number in 0..1, it decides only when."""

    def __init__(self, settings: Server, *, wait_s: float, jitter: Callable[[], float] = random.random) -> None:
        self.settings, self.wait_s, self.jitter = settings, wait_s, jitter
        most = settings.max_concurrency
        self.lanes = [Lane(url.rstrip("/"), most, wait_s, float(most)) for url in settings.urls]
        self.recent: deque[bool] = deque(maxlen=ERRORS_SEEN)

    def open_lanes(self, now_s: float) -> list[Lane]:
        """Those with room, most room first."""
        return sorted((lane for lane in self.lanes if lane.room(now_s) > 0), key=lambda lane: -lane.room(now_s))

    def check_share(self, last: Completion) -> None:
        """Remember how a request ended. Raises: EspalierError when too many of the last ones ended in an error."""
        self.recent.append(last.finish == "error")
        share, wanted = sum(self.recent) / len(self.recent), self.settings.error_share_stop
        if len(self.recent) >= ERRORS_MIN and share > wanted:
            raise EspalierError(
                f"server: {share:.0%} of the last {len(self.recent)} requests failed, the last with: {last.error}; server.error_share_stop is {wanted}. "
                f"Mend the cause or raise it (1 = never stop), then run again: {KEPT}"
            )

    def check_alive(self, reason: str, now_s: float) -> None:
        """Raises: EspalierError when no URL has said a word for longer than one request is patient, or all of them want to be left alone for long."""
        rest_s = min(lane.ready_s for lane in self.lanes) - now_s
        if rest_s > LONGEST_REST_S:
            raise EspalierError(f"server: every URL of server.urls asks to come back in {rest_s:,.0f} s or later ({reason}); run again then: {KEPT}")
        if all(lane.failures > self.settings.retries and not lane.answered for lane in self.lanes):
            raise EspalierError(f"server: no URL of server.urls answers ({reason}); start the server, then run again: {KEPT}")


class Call:
    """The requests of one call, from the first try to the last completion. One task decides; the tries under way only ask."""

    def __init__(self, requests: Sequence[Request], done: Done, ask: Ask, *, pace: Pace, stop: Callable[[], bool] = never) -> None:
        self._requests, self._done, self._ask, self._pace, self._stop = requests, done, ask, pace, stop
        self._fresh = deque(range(len(requests)))
        self._again: list[tuple[float, int]] = []  # heap of (when, place)
        self._tries = [0] * len(requests)
        self._failed_on: list[set[str]] = [set() for _ in requests]
        self._retries_left = pace.settings.retries + len(requests)
        self._flights: dict[asyncio.Task[Outcome], tuple[int, Lane, float]] = {}
        self._completions: dict[int, Completion] = {}

    async def run(self) -> list[Completion]:
        """All completions, in their order, NOT_BEGUN for those that a stop left undone. Raises: EspalierError when going on makes no sense."""
        clock = asyncio.get_running_loop().time
        try:
            while len(self._completions) < len(self._requests) and (self._flights or not self._stop()):
                self._take_off(clock())
                finished = await self._wait(clock())
                for task in sorted(finished, key=lambda one: _is_bad(one.result())):  # what is whole is kept before a failure can end the run
                    self._land(task, clock())
        finally:
            await self._drop_flights()
        return [self._completions.get(place, NOT_BEGUN) for place in range(len(self._requests))]

    def _take_off(self, now_s: float) -> None:
        while not self._stop() and (found := self._next(now_s)):
            place, lane = found
            lane.busy += 1
            task = asyncio.ensure_future(self._ask(lane.url, self._requests[place]))
            self._flights[task] = (place, lane, now_s)

    def _next(self, now_s: float) -> tuple[int, Lane] | None:
        """What to ask next, and where; None when nothing fits now."""
        for lane in self._pace.open_lanes(now_s):
            if self._is_due(now_s) and not self._shuns(self._again[0][1], lane):
                return heapq.heappop(self._again)[1], lane
            if self._fresh:
                return self._fresh.popleft(), lane
        return None

    def _shuns(self, place: int, lane: Lane) -> bool:
        """Whether a request should wait for a URL that has not failed it: else a dead one, which always has room, would use up its tries."""
        failed = self._failed_on[place]
        return lane.url in failed and any(other.url not in failed and other.failures < 2 for other in self._pace.lanes)

    def _is_due(self, now_s: float) -> bool:
        return bool(self._again) and self._again[0][0] <= now_s

    async def _wait(self, now_s: float) -> set[asyncio.Task[Outcome]]:
        """Tries that have ended; none when the next one can begin before that."""
        moments = [when for when, _ in self._again[:1]] + [lane.ready_s for lane in self._pace.lanes]
        pause_s = min(LOOK_S, min((moment - now_s for moment in moments if moment > now_s), default=LOOK_S if self._flights else 0.0))
        if self._flights:
            return (await asyncio.wait(self._flights, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED))[0]
        await asyncio.sleep(pause_s)
        return set()

    def _land(self, task: asyncio.Task[Outcome], now_s: float) -> None:
        place, lane, started_s = self._flights.pop(task)
        outcome = task.result()
        lane.busy -= 1
        lane.note(outcome, started_s=started_s, now_s=now_s)
        if isinstance(outcome, Completion):
            self._finish(place, outcome)
        else:
            self._failed_on[place].add(lane.url)
            self._fail(place, outcome, now_s)

    def _finish(self, place: int, completion: Completion) -> None:
        self._completions[place] = completion
        self._done({place: completion})
        self._pace.check_share(completion)

    def _fail(self, place: int, failure: Failure, now_s: float) -> None:
        if failure.stop:
            raise EspalierError(f"{failure.reason}; {KEPT}")
        self._pace.check_alive(failure.reason, now_s)
        self._tries[place] += 1
        if self._tries[place] > self._pace.settings.retries:
            self._finish(place, Completion("", "error", 0, 0, 0.0, f"{failure.reason} (tried {self._tries[place]} times)"))
            return
        if not self._retries_left:
            tries = len(self._requests) + self._pace.settings.retries
            raise EspalierError(f"server: {len(self._requests)} requests needed more than {tries} retries (last: {failure.reason}); mend the server, {KEPT}")
        self._retries_left -= 1
        wait_s = self._pace.jitter() * self._pace.wait_s * 2 ** min(self._tries[place] - 1, DOUBLINGS)
        heapq.heappush(self._again, (now_s + wait_s, place))

    async def _drop_flights(self) -> None:
        for task, (_, lane, _) in self._flights.items():
            lane.busy -= 1
            task.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)


def _is_bad(outcome: Outcome) -> bool:
    return isinstance(outcome, Failure) or outcome.finish == "error"
