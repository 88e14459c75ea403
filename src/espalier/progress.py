"""Talk on stderr while a stage works: a line at least every 30 s (every second on a terminal) with done/total, rate and time left."""

import sys
import time
from collections.abc import Callable


class Progress:
    """Call it with the number done, and anything worth saying; it decides when a line is due."""

    def __init__(self, what: str, total: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._what, self._total, self._clock = what, total, clock
        self._start = self._said = clock()
        self._first: int | None = None

    def __call__(self, done: int, note: str = "", *, total: int | None = None) -> None:
        """Say how far the work is, if it is time to; `total` corrects the number that was expected."""
        now = self._clock()
        self._total = self._total if total is None else total
        if self._first is None:
            self._first = done
        if now - self._said < (1.0 if sys.stderr.isatty() else 10.0):
            return
        self._said = now
        rate = (done - self._first) / max(now - self._start, 1e-9)
        left = f", {(self._total - done) / rate:,.0f} s left" if rate > 0 else ""
        print(f"  {self._what}: {done:,}/{self._total:,} ({rate:,.0f}/s{left}){f', {note}' if note else ''}", file=sys.stderr, flush=True)
