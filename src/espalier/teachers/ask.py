"""What generation stages and commands ask the run's teacher with: a reply from the completion cache where it is known, else from the engine, chunk by chunk."""

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from espalier.log import say
from espalier.progress import Progress
from espalier.settings import Params
from espalier.teachers.base import Completion, Request, Teacher
from espalier.teachers.cache import Cache, cache_path, generate_cached
from espalier.teachers.engines import open_teacher
from espalier.teachers.pin import teacher_fingerprint

TEACHER = Path("models/teacher")


class Asker:
    """Call it with requests, get completions. asked, found: how many requests there were so far, and how many of them were in the cache."""

    def __init__(self, what: str, params: Params) -> None:
        """what: the word that its talk begins with. Nothing is opened before the first call, and no model before one is needed."""
        self.asked = self.found = 0
        self._what, self._engine, self._chunk_rows = what, params.teacher.engine, params.gen.chunk_rows
        self._open = partial(open_teacher, self._engine, TEACHER, server=params.server, vllm=params.vllm)
        self._teacher: Teacher | None = None

    def __call__(self, requests: Sequence[Request]) -> list[Completion]:
        """Completions for `requests`, in their order. Raises: what Cache and the engine raise."""
        progress, before, fingerprint = Progress(self._what, len(requests)), self.found, teacher_fingerprint(TEACHER)

        def note(done: int, found: int) -> None:
            progress(done, f"{found:,} from the cache")
            self.found = before + found

        with contextlib.closing(Cache(cache_path())) as cache:
            say(f"{self._what}: {len(requests):,} requests to {self._engine}, cache {os.path.relpath(cache_path())}")
            self.asked += len(requests)
            return generate_cached(self._load, requests, cache, fingerprint=fingerprint, chunk=self._chunk_rows, progress=note)

    def _load(self) -> Teacher:
        self._teacher = self._teacher or self._open()
        return self._teacher
