"""Every finished request, on disk: a killed run loses only what was in flight, and a changed param asks only for what is new.

sqlite in WAL mode at $ESPALIER_CACHE, else $DVC_ROOT/.espalier/cache.sqlite (DVC sets DVC_ROOT to the real repository in plain, --temp and queue runs).
The key is a hash of the rendered request and the teacher's fingerprint; concurrency, batch sizes and file names are not in it.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from espalier.errors import CorruptInput, DiskFull, EspalierError
from espalier.seeds import digest
from espalier.teachers.base import Completion, Request, Teacher, chunked

SCHEMA = """
create table if not exists completions (
    key text primary key, text text not null, finish text not null, prompt_tokens integer not null, tokens integer not null,
    logprob_mean real not null, error text not null
) without rowid
"""
COLUMNS = "key, text, finish, prompt_tokens, tokens, logprob_mean, error"
BUSY_S = 60.0  # how long a stage waits for another one's write


def cache_path() -> Path:
    """Where the cache lies."""
    if named := os.environ.get("ESPALIER_CACHE"):
        return Path(named)
    return Path(os.environ.get("DVC_ROOT", ".")) / ".espalier" / "cache.sqlite"


def request_key(fingerprint: str, request: Request) -> str:
    """The name of a request; equal for equal requests to the same teacher."""
    return digest(json.dumps({"teacher": fingerprint, **asdict(request)}, sort_keys=True, ensure_ascii=True))


class Cache:
    """Completions by key. Raises: CorruptInput for a file that is no sqlite database; DiskFull when a write is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._connection = sqlite3.connect(path, timeout=BUSY_S)
            self._connection.execute("pragma journal_mode=wal")
            self._connection.execute("pragma synchronous=normal")
            self._connection.execute(SCHEMA)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def find(self, keys: Sequence[str]) -> dict[str, Completion]:
        """What is known of `keys`."""
        found: dict[str, Completion] = {}
        try:
            for at in range(0, len(keys), 500):  # sqlite allows 999 values in a statement
                some = keys[at : at + 500]
                marks = ",".join("?" * len(some))
                for key, *values in self._connection.execute(f"select {COLUMNS} from completions where key in ({marks})", some):
                    found[key] = Completion(*values)
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return found

    def add(self, completions: dict[str, Completion]) -> None:
        """Write all of them in one transaction; a key that is there stays as it is."""
        rows = [(key, c.text, c.finish, c.prompt_tokens, c.tokens, c.logprob_mean, c.error) for key, c in completions.items()]
        try:
            with self._connection:
                self._connection.executemany("insert or ignore into completions values (?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _failure(self, error: sqlite3.Error) -> Exception:
        if "full" in str(error) or "disk I/O" in str(error):
            return DiskFull(f"{self._path}: the disk refused the cache ({error}); free some space and run the stage again")
        if "locked" in str(error):
            return EspalierError(f"{self._path}: another stage has held the cache for {BUSY_S:.0f} s; run this one again when that has ended")
        return CorruptInput(f"{self._path}: the completion cache cannot be read ({error}); move the file away and run again, its requests are asked anew")


def generate_cached(
    teacher: Callable[[], Teacher], requests: Sequence[Request], cache: Cache, *, fingerprint: str, chunk: int, progress: Callable[[int, int], None]
) -> list[Completion]:
    """A completion for each request: those in the cache from there, the others from the teacher, chunk by chunk.

    A chunk is written in one transaction, and chunks are cut before anything is looked up. So a resumed run puts the same rows through the model together as
    an undisturbed one, and floating-point sums, which depend on the batch, come out the same to the last bit.
    teacher: called only if something is missing (loading a model takes seconds). progress: called with (done, found in the cache).
    """
    completions: list[Completion] = []
    hits = 0
    for some in chunked(requests, chunk):
        keys = [request_key(fingerprint, request) for request in some]
        known = cache.find(sorted(set(keys)))
        hits += sum(key in known for key in keys)
        missing = {key: request for key, request in zip(keys, some, strict=True) if key not in known}
        if missing:
            fresh = dict(zip(missing, teacher().generate(list(missing.values())), strict=True))
            cache.add({key: completion for key, completion in fresh.items() if completion.finish != "error"})
            known |= fresh
        completions += [known[key] for key in keys]
        progress(len(completions), hits)
    return completions
