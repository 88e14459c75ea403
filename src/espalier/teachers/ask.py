"""What generation stages and commands ask the run's teacher with: a reply from the completion cache where it is known, else from the engine, chunk by chunk."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from espalier.errors import Interrupted
from espalier.interrupt import Interrupt
from espalier.log import say
from espalier.progress import Progress
from espalier.settings import Params
from espalier.teachers.base import Completion, Request, Stoppable, Teacher
from espalier.teachers.cache import Cache, cache_path, generate_cached
from espalier.teachers.engines import open_teacher
from espalier.teachers.pin import teacher_fingerprint

TEACHER = Path("models/teacher")


class Asker:
    """Call it with requests, get completions. asked, found: how many requests there were so far, and how many of them were in the cache."""

    def __init__(self, what: str, params: Params, *, again: str = "`dvc repro`") -> None:
        """what: the word that its talk begins with; again: what to run after an interruption. A model is loaded when the first reply is missing."""
        self.asked = self.found = 0
        self._what, self._again, self._engine, self._chunk_rows = what, again, params.teacher.engine, params.gen.chunk_rows
        self._open = partial(open_teacher, self._engine, TEACHER, server=params.server, vllm=params.vllm, ray=params.ray)
        self._teacher: Teacher | None = None
        self._interrupt = Interrupt()

    def __call__(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions for `requests`, in their order. Raises: Interrupted after Ctrl-C, and what Cache and the engine raise."""
        fingerprint, count = teacher_fingerprint(TEACHER), Count(Progress(self._what, len(requests), start=0))
        with contextlib.closing(Cache(cache_path())) as cache:
            say(f"{self._what}: {len(requests):,} requests to {self._engine}, cache {os.path.relpath(cache_path())}")
            try:
                return generate_cached(
                    self._load,
                    requests,
                    cache,
                    fingerprint=fingerprint,
                    chunk=self._chunk_rows,
                    progress=count.note,
                    heard=count.hear,
                    at_work=lambda: self._at_work(count.progress),
                )
            except KeyboardInterrupt:
                raise Interrupted(f"interrupted: {count.kept:,} of {len(requests):,} requests are done and kept, {self._again} goes on from there") from None
            finally:
                self.asked, self.found = self.asked + len(requests), self.found + count.found

    @contextlib.contextmanager
    def _at_work(self, progress: Progress) -> Iterator[None]:
        """While an engine works: it is not silent for long, and Ctrl-C waits for it."""
        with progress, self._interrupt:
            yield

    def _load(self) -> Teacher:
        if self._teacher is None:
            self._teacher = self._open()
            if isinstance(self._teacher, Stoppable):
                self._teacher.stop_when(self._interrupt)
        return self._teacher


class Count:
    """What has come of one call's requests so far: found in the cache, or heard from the teacher."""

    def __init__(self, progress: Progress) -> None:
        self.found = self.heard = self.errors = 0
        self.progress = progress

    @property
    def kept(self) -> int:
        """How many of them lie in the cache."""
        return self.found + self.heard - self.errors

    def hear(self, completion: Completion) -> None:
        """Count a completion of the teacher."""
        self.heard += 1
        self.errors += completion.finish == "error"

    def note(self, done: int, found: int) -> None:
        """Say how far the work is."""
        self.found = found
        self.progress(done, found=found, errors=self.errors)
