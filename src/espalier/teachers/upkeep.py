"""Looks after the completion cache: counts it, checks it, hands it out, and takes out what other teachers wrote. No stage needs any of this."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from espalier.errors import CorruptInput
from espalier.teachers.cache import Cache

# What every row must be; sqlite itself puts any value into any column.
RULES = {
    "key": "typeof(key) = 'text' and length(key) = 32 and key not glob '*[^0-9a-f]*'",
    "max_tokens": "typeof(max_tokens) = 'integer' and max_tokens >= 1",
    "teacher": "typeof(teacher) = 'text' and teacher != ''",
    "text": "typeof(text) = 'text'",
    "finish": "finish in ('stop', 'length')",
    "prompt_tokens": "typeof(prompt_tokens) = 'integer' and prompt_tokens >= 0",
    "tokens": "typeof(tokens) = 'integer' and tokens between 0 and max_tokens",
    "logprob_mean": "typeof(logprob_mean) = 'real' and logprob_mean between -1e300 and 1e-6",  # 1e-6: rounding of servers
    "error": "error = ''",  # failed requests are not kept
}
EXPORTED = ("key", "max_tokens", "teacher", "text", "finish", "prompt_tokens", "tokens", "logprob_mean")


@dataclass(frozen=True, slots=True)
class Count:
    """Completions of one teacher that ended in one way, and their tokens."""

    teacher: str
    finish: str
    completions: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found: rows in all, bad ones, how many break the rule of each column (only columns with any), and sqlite's own complaints."""

    rows: int
    bad_rows: int
    by_column: dict[str, int]
    complaints: list[str]


def count(cache: Cache) -> list[Count]:
    """Completions and tokens by teacher and finish, sorted by both."""
    columns = "cast(teacher as text), cast(finish as text), count(*), cast(total(tokens) as integer)"
    return [Count(*row) for row in cache.select(f"select {columns} from completions group by 1, 2 order by 1, 2")]


def check(cache: Cache) -> Checked:
    """sqlite's integrity check, and every row against RULES. Raises: CorruptInput when the file cannot be read to its end."""
    complaints = [line for (line,) in cache.select("pragma integrity_check") if line != "ok"]
    whole = " and ".join(f"({rule})" for rule in RULES.values())
    sums = ", ".join(f"total(({rule}) is not true)" for rule in [*RULES.values(), whole])
    rows, *broken, bad_rows = map(int, next(cache.select(f"select count(*), {sums} from completions")))
    by_column = dict(zip(RULES, broken, strict=True))
    undecodable = sum(not _is_utf8(data) for (data,) in cache.select(f"select cast(text as blob) from completions where {whole}"))
    by_column["text"] += undecodable
    return Checked(rows, bad_rows + undecodable, {name: n for name, n in by_column.items() if n}, complaints)


def drop_others(cache: Cache, keep: str) -> None:
    """Delete the completions of all teachers but one, and give the space back to the disk."""
    cache.change("delete from completions where teacher != ?", [keep])
    cache.change("vacuum")
    list(cache.select("pragma wal_checkpoint(truncate)"))


def json_lines(cache: Cache) -> Iterator[str]:
    """Each completion as a line of JSON (ASCII, so that no text can steer a terminal), sorted by key. Raises: CorruptInput for a value that is none."""
    for row in cache.select(f"select {', '.join(EXPORTED)} from completions order by key, max_tokens"):
        try:
            yield json.dumps(dict(zip(EXPORTED, row, strict=True)), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CorruptInput(f"{cache.path}: the completion {row[0]!r} holds a value that is none ({error}); see `espalier cache verify`") from error


def size_bytes(path: Path) -> int:
    """What the cache takes on the disk, with the files that sqlite keeps beside it."""
    files = [path.with_name(path.name + end) for end in ("", "-wal", "-shm")]
    return sum(file.stat().st_size for file in files if file.is_file())


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
