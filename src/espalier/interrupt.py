"""Ctrl-C while requests are under way: the first one lets them end and be kept, the second one does not wait."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

SAID = b"\n  interrupted: what is under way is finished and kept; Ctrl-C again stops at once\n"


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C, which a terminal sends to all of them; this one hears it when the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupt:
    """Use it in `with` around work that is worth finishing; called, it says whether that work should begin nothing new.

    The first SIGINT inside is kept back and raises KeyboardInterrupt where the block ends; a second one raises it at once. The old handler comes back with
    the end of the block. It has no effect outside the main thread, and none where SIGINT is ignored (a shell does that for jobs in the background).
    """

    def __init__(self) -> None:
        self._wanted = False
        self._old: Any = None

    def __call__(self) -> bool:
        return self._wanted

    def __enter__(self) -> "Interrupt":
        self._wanted = False
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None):
            self._old = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._old is not None:
            signal.signal(signal.SIGINT, self._old)
            self._old = None
        if self._wanted and kind is None:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._wanted:
            raise KeyboardInterrupt
        self._wanted = True
        os.write(2, SAID)  # print may have been interrupted in the middle of a line, and then refuses another one
