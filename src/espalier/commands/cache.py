"""`espalier cache`: how large the completion cache is, whether it is whole, what is in it, and a way to make it smaller."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from espalier.errors import CorruptInput, InputMissing, ParamsError
from espalier.params import did_you_mean
from espalier.teachers.cache import Cache, cache_path
from espalier.teachers.pin import teacher_fingerprint
from espalier.teachers.upkeep import Count, check, count, drop_others, json_lines, size_bytes

TEACHER = Path("models/teacher")


@click.group()
def cache() -> None:
    """Look after the completion cache ($ESPALIER_CACHE, else .espalier/cache.sqlite)."""


@cache.command()
def stats() -> None:
    """Count completions and tokens by teacher and by how they ended."""
    with _opened() as opened:
        counts = count(opened)
    wide = max(len("teacher"), *(len(one.teacher) for one in counts), 0)
    click.echo(f"{'teacher':{wide}}  finish  completions          tokens")
    for one in [*counts, Count("all", "", *_totals(counts))]:
        click.echo(f"{one.teacher:{wide}}  {one.finish:6}  {one.completions:11,}  {one.tokens:14,}")
    click.echo(f"{_mib(size_bytes(cache_path()))} on disk in {cache_path()}")


@cache.command()
def verify() -> None:
    """Check the file, and the type and range of every value; ends with 1 if anything is wrong."""
    with _opened() as opened:
        found = check(opened)
    if found.bad_rows or found.complaints:
        columns = "".join(f", {name} {n:,}" for name, n in found.by_column.items())
        first = f" (first: {' '.join(found.complaints[0].split())})" if found.complaints else ""
        raise CorruptInput(
            f"{cache_path()}: {found.bad_rows:,} of {found.rows:,} completions are wrong{columns}; sqlite has {len(found.complaints)} complaints{first}; "
            "move the file away and run again, its requests are asked anew"
        )
    click.echo(f"{cache_path()}: {found.rows:,} completions, all right")


@cache.command()
@click.option("--teacher", metavar="FINGERPRINT", help="The teacher to keep; without it that of models/teacher.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(teacher: str | None, dry_run: bool) -> None:
    """Delete what other teachers wrote than the run's."""
    with _opened() as opened:
        counts = count(opened)
        keep = _known(teacher, counts) if teacher else teacher_fingerprint(TEACHER)
        completions, tokens = _totals([one for one in counts if one.teacher != keep])
        others = f"{completions:,} completions ({tokens:,} tokens) of other teachers than {keep}"
        if dry_run or not completions:
            click.echo(f"{others} would go")
            return
        before = size_bytes(cache_path())
        drop_others(opened, keep)
        after = size_bytes(cache_path())
    click.echo(f"{others} are gone, {_mib(max(before - after, 0))} freed, {_mib(after)} left")


@cache.command()
def export() -> None:
    """Write every completion as a line of JSON to stdout (prompts are not stored, only their hash)."""
    with _opened() as opened:
        for line in json_lines(opened):
            click.echo(line)


@contextlib.contextmanager
def _opened() -> Iterator[Cache]:
    """The cache that is there; none is made. Raises: InputMissing, and what Cache raises."""
    path = cache_path()
    if not path.is_file():
        raise InputMissing(f"{path}: no completion cache is here; `dvc repro` makes one, and ESPALIER_CACHE names one elsewhere")
    with contextlib.closing(Cache(path)) as opened:
        yield opened


def _known(teacher: str, counts: list[Count]) -> str:
    """A fingerprint that the cache knows: to keep one that is misspelt would delete all."""
    teachers = {one.teacher for one in counts}
    if teacher not in teachers:
        raise ParamsError(f'--teacher is "{teacher}", of which the cache holds nothing; {did_you_mean(teacher, teachers)}')
    return teacher


def _totals(counts: list[Count]) -> tuple[int, int]:
    return sum(one.completions for one in counts), sum(one.tokens for one in counts)


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
