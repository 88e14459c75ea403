"""Talk on stderr while something works: done/total, rate, time left, errors, cache hits. A line every 20 s; on a terminal a bar, every second."""

import os
import threading
import time
from collections.abc import Callable

from espalier.log import is_terminal, say, show

LINE_S, BAR_S = 20.0, 1.0
BAR = 20  # characters
GREEN, PLAIN = "\x1b[32m", "\x1b[0m"


class Progress:
    """Call it with the number done, and anything worth saying; it decides when a line is due.

    In `with` it also speaks by itself while no call comes, so that work in long pieces is not silent. Source of NO_COLOR: no-color.org.
    """

    def __init__(self, what: str, total: int, *, start: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """start: how much was done before and is no part of the rate; None: what the first call says (a resumed training)."""
        self._what, self._total, self._before, self._clock = what, total, start, clock
        self._done = self._found = 0
        self._errors: int | None = None
        self._note = ""
        self._start = self._said = clock()
        self._lock, self._over = threading.Lock(), threading.Event()

    def __call__(self, done: int, note: str = "", *, total: int | None = None, found: int = 0, errors: int | None = None) -> None:
        """Remember how far the work is, and say so if it is time to. total corrects the number that was expected; found: of `done`, those from the cache;
        errors: those that failed, None where nothing can.
        """
        with self._lock:
            self._before = done if self._before is None else self._before
            self._total = self._total if total is None else total
            self._done, self._note, self._found, self._errors = done, note, found, errors
        self.beat()

    def __enter__(self) -> "Progress":
        self._over = threading.Event()
        threading.Thread(target=self._beat_until, args=(self._over,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def beat(self) -> None:
        """Say how far the work is, if it is time to."""
        with self._lock:
            now, bar = self._clock(), is_terminal()
            if now - self._said >= (BAR_S if bar else LINE_S):
                self._said = now
                if bar:
                    show(f"  {bar_of(self._done, self._total, colour=not os.environ.get('NO_COLOR'))} {self._text(now)}")
                else:
                    say(f"  {self._text(now)}")

    def _text(self, now: float) -> str:
        fresh = self._done - self._found - (self._before or 0)
        rate = fresh / max(now - self._start, 1e-9)
        parts = [f"{self._what}: {self._done:,}/{self._total:,}"]
        if rate > 0:
            parts += [f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s", f"{duration((self._total - self._done) / rate)} left"]
        if self._errors is not None:
            parts += [f"{self._errors / max(self._done, 1):.1%} errors", f"{self._found:,} from the cache"]
        return ", ".join([*parts, *([self._note] if self._note else [])])

    def _beat_until(self, over: threading.Event) -> None:
        while not over.wait(BAR_S):
            self.beat()


def bar_of(done: int, total: int, *, colour: bool) -> str:
    """A bar as wide as BAR.

    >>> bar_of(5, 20, colour=False)
    '[#####---------------]'
    """
    full = BAR * done // max(total, 1)
    drawn = "#" * full
    return f"[{f'{GREEN}{drawn}{PLAIN}' if colour else drawn}{'-' * (BAR - full)}]"


def duration(seconds: float) -> str:
    """A time in the units in which one plans.

    >>> duration(42.4), duration(600), duration(12_345)
    ('42 s', '10 min', '3 h 26 min')
    """
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60:,} h {minutes % 60} min"
