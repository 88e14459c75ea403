"""What generation stages and commands ask the run's teacher with: a reply from the completion cache where it is known, else from the engine, chunk by chunk."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from espalier.errors import Interrupted
from espalier.interrupt import Interrupt
from espalier.ledger import Asked
from espalier.log import say
from espalier.progress import Progress
from espalier.settings import Params
from espalier.teachers.base import Batched, Completion, Request, Stoppable, Teacher
from espalier.teachers.cache import Cache, cache_path, generate_cached
from espalier.teachers.engines import chunk_rows, open_teacher
from espalier.teachers.pin import teacher_fingerprint

TEACHER = Path("models/teacher")


class Asker:
    """Call it with requests, get completions.

    calls: what each call so far has taken, equal requests counted once; fingerprint: the teacher's, known from the first call on.
    """

    def __init__(self, what: str, params: Params, *, again: str = "`dvc repro`") -> None:
        """what: the word that its talk begins with; again: what to run after an interruption. A model is loaded when the first reply is missing."""
        self.calls: list[Asked] = []
        self.fingerprint, self.engine = "", params.teacher.engine
        self._what, self._again, self._chunk_rows = what, again, chunk_rows(self.engine, params.gen.chunk_rows)
        self._open = partial(open_teacher, self.engine, TEACHER, server=params.server, vllm=params.vllm, ray=params.ray)
        self._teacher: Teacher | None = None
        self._interrupt, self._load_s = Interrupt(), 0.0

    @property
    def batch(self) -> int:
        """How many requests the engine puts through its model at a time; 0 where it does not say or is not loaded."""
        return self._teacher.batch if isinstance(self._teacher, Batched) else 0

    def __call__(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions for `requests`, in their order. Raises: Interrupted after Ctrl-C, and what Cache and the engine raise."""
        self.fingerprint = self.fingerprint or teacher_fingerprint(TEACHER)
        count, start, load_s = Count(Progress(self._what, len(requests), start=0)), time.monotonic(), self._load_s
        with contextlib.closing(Cache(cache_path())) as cache:
            say(f"{self._what}: {len(requests):,} requests to {self.engine}, cache {os.path.relpath(cache_path())}")
            try:
                replies = generate_cached(
                    self._load,
                    requests,
                    cache,
                    fingerprint=self.fingerprint,
                    chunk=self._chunk_rows,
                    progress=count.note,
                    heard=count.hear,
                    at_work=lambda: self._at_work(count.progress),
                )
            except KeyboardInterrupt:
                raise Interrupted(f"interrupted: {count.kept:,} of {len(requests):,} requests are done and kept, {self._again} goes on from there") from None
        different = dict(zip(requests, replies, strict=True))
        tokens = [sum(getattr(reply, name) for reply in different.values()) for name in ("prompt_tokens", "tokens")]
        found, seconds = min(count.found, len(different)), time.monotonic() - start
        self.calls.append(Asked(len(different), found, count.errors, *tokens, count.tokens, seconds, self._load_s - load_s))
        return replies

    @contextlib.contextmanager
    def _at_work(self, progress: Progress) -> Iterator[None]:
        """While an engine works: it is not silent for long, and Ctrl-C waits for it."""
        with progress, self._interrupt:
            yield

    def _load(self) -> Teacher:
        if self._teacher is None:
            start = time.monotonic()
            self._teacher = self._open()
            self._load_s += time.monotonic() - start
            if isinstance(self._teacher, Stoppable):
                self._teacher.stop_when(self._interrupt)
        return self._teacher


class Count:
    """What has come of one call's requests so far: found in the cache, or heard from the teacher. tokens: of those heard."""

    def __init__(self, progress: Progress) -> None:
        self.found = self.heard = self.errors = self.tokens = 0
        self.progress = progress

    @property
    def kept(self) -> int:
        """How many of them lie in the cache."""
        return self.found + self.heard - self.errors

    def hear(self, completion: Completion) -> None:
        """Count a completion of the teacher."""
        self.heard += 1
        self.errors += completion.finish == "error"
        self.tokens += completion.tokens

    def note(self, done: int, found: int) -> None:
        """Say how far the work is."""
        self.found = found
        self.progress(done, found=found, errors=self.errors)
