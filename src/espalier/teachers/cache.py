"""Every finished request, on disk: a killed run loses only what was in flight, and a changed param asks only for what is new.

sqlite in WAL mode at $ESPALIER_CACHE, else $DVC_ROOT/.espalier/cache.sqlite (DVC sets DVC_ROOT to the real repository in plain, --temp and queue runs).
The key is a hash of the rendered request and the teacher's fingerprint; concurrency, batch sizes and file names are not in it. Nor is max_tokens, which decides
no word of a reply but only where it is cut off: a raised one asks again for the replies that were cut off, and for no others.

A row that is asked without the others of its chunk has the same random numbers as with them, but shares a batch with other rows, and floating-point sums depend
on the batch in their last bits. So it may differ from an undisturbed run where two ids are tied that closely; what is stored never changes.
"""

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path

from espalier.errors import CorruptInput, DiskFull, EspalierError
from espalier.seeds import digest
from espalier.teachers.base import NOT_BEGUN, Completion, Request, Streaming, Teacher, chunked

VERSION = 2  # of the table, kept in `pragma user_version`; 1 (kept as 0) had max_tokens inside the key's hash, from which it cannot be taken out again
SCHEMA = """
create table completions (
    key text not null, max_tokens integer not null, teacher text not null, text text not null, finish text not null, prompt_tokens integer not null,
    tokens integer not null, logprob_mean real not null, error text not null, primary key (key, max_tokens)
) without rowid
"""
COLUMNS = "key, max_tokens, teacher, text, finish, prompt_tokens, tokens, logprob_mean, error"
REPLY = "text, finish, prompt_tokens, tokens, logprob_mean, error"  # the columns that make a Completion
IN_THE_HASH = tuple(field.name for field in fields(Request) if field.name not in ("max_tokens", "schema", "logprob"))
BUSY_S = 60.0  # how long a stage waits for another one's write


_ENCODER = json.JSONEncoder(sort_keys=True, ensure_ascii=True)  # json.dumps would make one for every request


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """The name of a request: the hash of all that decides its words, where the reply is cut off, and the fingerprint of the teacher (which is in the hash)."""

    hash: str
    max_tokens: int
    teacher: str


def cache_path() -> Path:
    """Where the cache lies."""
    if named := os.environ.get("ESPALIER_CACHE"):
        return Path(named)
    return Path(os.environ.get("DVC_ROOT", ".")) / ".espalier" / "cache.sqlite"


def request_key(fingerprint: str, request: Request) -> Key:
    """The name of a request; equal for equal requests to the same teacher."""
    words = {field: getattr(request, field) for field in IN_THE_HASH}
    words["teacher"] = fingerprint
    if request.schema:  # requests for free text keep the names that they had before there were schemas
        words["schema"] = request.schema
    return Key(digest(_ENCODER.encode(words)), request.max_tokens, fingerprint)


class Cache:
    """Completions by key.

    Raises: CorruptInput for a file that is no sqlite database; EspalierError for one of another version; DiskFull when a write is refused.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=BUSY_S)
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error
        try:
            self._prepare_patiently()
        except sqlite3.Error as error:
            self.close()
            raise self._failure(error) from error
        except EspalierError:
            self.close()
            raise

    def find(self, keys: Iterable[Key]) -> dict[Key, Completion]:
        """What is known of `keys`: a reply that ended by itself before the wanted max_tokens, or one that was cut off exactly there."""
        keys = list(keys)
        hashes = sorted({key.hash for key in keys})  # in the order of the table
        stored: dict[str, dict[int, Completion]] = {}
        for at in range(0, len(hashes), 500):  # sqlite allows 999 values in a statement
            some = hashes[at : at + 500]
            marks = ",".join("?" * len(some))
            for name, max_tokens, *reply in self.select(f"select key, max_tokens, {REPLY} from completions where key in ({marks})", some):
                stored.setdefault(name, {})[max_tokens] = Completion(*reply)
        return {key: reply for key in keys if (reply := _fitting(stored.get(key.hash, {}), key.max_tokens))}

    def add(self, completions: dict[Key, Completion]) -> None:
        """Write all of them in one transaction; a key that is there stays as it is."""
        rows = [(key.hash, key.max_tokens, key.teacher, c.text, c.finish, c.prompt_tokens, c.tokens, c.logprob_mean, c.error) for key, c in completions.items()]
        try:
            with self._connection:
                self._connection.executemany(f"insert or ignore into completions ({COLUMNS}) values (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def select(self, statement: str, values: Sequence[object] = ()) -> Iterator[tuple]:
        """The rows that a statement gives, one by one."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def change(self, statement: str, values: Sequence[object] = ()) -> None:
        """Run a statement that writes."""
        try:
            with self._connection:
                self._connection.execute(statement, values)
        except sqlite3.Error as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    def _prepare_patiently(self) -> None:
        """sqlite itself does not wait when two open a new file and both set WAL mode (1 of 360 openings failed, six processes at a time)."""
        end = time.monotonic() + BUSY_S
        while True:
            try:
                return self._prepare()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _prepare(self) -> None:
        """Make the table in a new file; in another one see that it is of this version."""
        self._connection.execute("pragma journal_mode=wal")
        self._connection.execute("pragma synchronous=normal")
        if self._version() == 0:
            with self._connection:
                self._connection.execute("begin immediate")  # two stages may find the file new at the same time; the second waits here
                if not self._connection.execute("select name from sqlite_master").fetchall():
                    self._connection.execute(SCHEMA)
                    self._connection.execute(f"pragma user_version={VERSION}")
        if (found := self._version()) != VERSION:
            raise EspalierError(
                f"{self.path}: the completion cache is of version {found or 1}, this espalier reads {VERSION}; "
                "move the file away and run again, its requests are asked anew"
            )

    def _version(self) -> int:
        return self._connection.execute("pragma user_version").fetchone()[0]

    def _failure(self, error: sqlite3.Error | OSError) -> Exception:
        if "full" in str(error) or "disk I/O" in str(error):
            return DiskFull(f"{self.path}: the disk refused the cache ({error}); free some space and run the stage again")
        if "locked" in str(error):
            return EspalierError(f"{self.path}: another stage has held the cache for {BUSY_S:.0f} s; run this one again when that has ended")
        return CorruptInput(f"{self.path}: the completion cache cannot be read ({error}); move the file away and run again, its requests are asked anew")


def generate_cached(
    teacher: Callable[[], Teacher],
    requests: Sequence[Request],
    cache: Cache,
    *,
    fingerprint: str,
    chunk: int,
    progress: Callable[[int, int], None],
    heard: Callable[[Completion], None] = lambda completion: None,
    at_work: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> list[Completion]:
    """A completion for each request: those in the cache from there, the others from the teacher, chunk by chunk.

    A chunk is written in one transaction, and chunks are cut before anything is looked up. So a resumed run puts the same rows through the model together as
    an undisturbed one, and floating-point sums, which depend on the batch, come out the same to the last bit.
    What a streaming engine hands over is written at once, in one transaction: its completions do not hang on others than those.
    teacher: called only if something is missing (loading a model takes seconds). progress: called with (done, found in the cache).
    heard: called with every completion that the teacher gave. at_work: gives what is entered while a chunk is under way and left when it is kept.
    """
    completions: list[Completion] = []
    hits = 0
    for some in chunked(requests, chunk):
        keys = [request_key(fingerprint, request) for request in some]
        known = cache.find(set(keys))
        hits += sum(key in known for key in keys)
        missing = {key: request for key, request in zip(keys, some, strict=True) if key not in known}
        ready = len(completions) + len(some) - len(missing)
        asked = teacher() if missing else None  # loaded before the block: to interrupt a load, one Ctrl-C is enough
        with at_work():
            if asked:
                known |= _ask(asked, missing, cache, progress=lambda done, ready=ready, hits=hits: progress(ready + done, hits), heard=heard)
            completions += [known[key] for key in keys]
            progress(len(completions), hits)
    return completions


def _ask(
    teacher: Teacher, missing: dict[Key, Request], cache: Cache, *, progress: Callable[[int], None], heard: Callable[[Completion], None]
) -> dict[Key, Completion]:
    """Completions by key, kept but for the failed ones; progress: called with the number that is done, where the engine hands them over one by one."""
    keys, requests, done = list(missing), list(missing.values()), 0

    def keep(completions: dict[Key, Completion]) -> None:
        nonlocal done
        cache.add({key: completion for key, completion in completions.items() if completion.finish != "error"})
        done += len(completions)
        for completion in completions.values():
            heard(completion)

    def keep_some(completions: Mapping[int, Completion]) -> None:
        keep({keys[place]: completion for place, completion in completions.items()})
        progress(done)

    if isinstance(teacher, Streaming):
        return dict(zip(keys, teacher.stream(requests, keep_some), strict=True))
    fresh = dict(zip(keys, teacher.generate(requests), strict=True))
    keep({key: completion for key, completion in fresh.items() if completion != NOT_BEGUN})
    return fresh


def _fitting(stored: dict[int, Completion], max_tokens: int) -> Completion | None:
    """The stored reply (by its own max_tokens) that `max_tokens` would give too.

    A reply of n tokens that ended by itself ends so under every limit above n (under n itself too where the end token is counted; some endpoints leave it
    out). A reply cut off further on would be cut off here as well, but its first tokens are not stored.
    """
    if max_tokens in stored:
        return stored[max_tokens]
    ended = [at for at, reply in stored.items() if reply.finish == "stop" and reply.tokens < max_tokens]
    return stored[min(ended)] if ended else None
