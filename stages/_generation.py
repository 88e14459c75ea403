"""What the four generation stages share: the prompt of their step, the teacher behind the completion cache, and their files."""

import os
from pathlib import Path

import polars

from espalier.generate import Sampling, measure
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.log import say
from espalier.progress import Progress
from espalier.prompts import Prompt
from espalier.teachers.cache import Cache, cache_path, generate_cached
from espalier.teachers.engines import open_teacher
from espalier.teachers.pin import teacher_fingerprint

READS = ("gen.temperature", "gen.top_p", "gen.max_tokens", "gen.chunk_rows", "teacher.engine", "server")
TEACHER = Path("models/teacher")


class Asker:
    """One step of one recipe: call it with requests, get completions, from the cache where they are known."""

    def __init__(self, step: str, recipe: str, params) -> None:
        prompts = read_json(f"data/plan/{recipe}/prompts.json")
        self.step, self.recipe = step, recipe
        self.prompt = Prompt.from_json(prompts[step]) if step in prompts else None
        self.sampling = Sampling(params.gen, params.seed)
        self.asked = self.found = 0
        self._teacher = None
        self._engine, self._server, self._chunk_rows = params.teacher.engine, params.server, params.gen.chunk_rows

    def __call__(self, requests):
        """Completions for `requests`; a model is loaded only if one is missing in the cache."""
        progress = Progress(f"{self.step}@{self.recipe}", len(requests))

        def note(done: int, found: int) -> None:
            progress(done, f"{found:,} from the cache")
            self.found = found

        self.asked += len(requests)
        say(f"{self.step}@{self.recipe}: {len(requests):,} requests to {self._engine}, cache {os.path.relpath(cache_path())}")
        cache = Cache(cache_path())
        try:
            return generate_cached(self._load, requests, cache, fingerprint=teacher_fingerprint(TEACHER), chunk=self._chunk_rows, progress=note)
        finally:
            cache.close()

    def _load(self):
        self._teacher = self._teacher or open_teacher(self._engine, TEACHER, server=self._server)
        return self._teacher


def read_step(step: str, recipe: str) -> polars.DataFrame:
    """The rows that the step before left."""
    return read_rows(f"data/{step}/{recipe}/rows.parquet")


def write_step(asker: Asker, rows: polars.DataFrame) -> None:
    """Write a step's rows and its metrics, and say how it went."""
    step, recipe = asker.step, asker.recipe
    write_rows(f"data/{step}/{recipe}/rows.parquet", rows)
    numbers = measure(rows)
    write_json(f"metrics/{step}/{recipe}.json", {step: {recipe: numbers}})
    if asker.prompt is None:
        say(f"{step}: {recipe} has no such step, its {rows.height:,} rows pass")
    else:
        say(f"{step}: {rows.height:,} rows of {recipe}, {numbers['ok_share']:.1%} whole, {asker.asked:,} requests -> data/{step}/{recipe}")
