"""`espalier curate INPUT --out DIR`: the quality path on data that is there already, in any of the known shapes and files.

Writes DIR/kept.parquet, DIR/dropped.parquet (step, reason, detail), DIR/rejected.jsonl (place, reason, detail, text) and, last, DIR/funnel.json: a folder with
a funnel.json is whole. What is under way lies in DIR/.curate-PID. Limits are those of params.yaml in the working folder (filter.rules, filter.max_repeat,
score, dedup, decontaminate, diversity, seed), or STANDARD without one. No other length limit of `filter` is used: they belong to the study's own tasks.
"""

import errno
import json
import os
import resource
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import polars as pl

from espalier.benchmarks import read_benchmarks
from espalier.curate import Drops, divide, drop_duplicates, drop_leaks, drop_surplus, drops_of, funnel_of, sample_texts, wording_of
from espalier.errors import DiskFull, EspalierError, Interrupted, ParamsError
from espalier.intake import COLUMNS, Intake, Reading, take_in
from espalier.io import DISK_ERRORS, read_text, write_json
from espalier.log import say
from espalier.params import FILE, parse_params
from espalier.records import Raw, read_records
from espalier.scorers.rules.table import FAMILIES
from espalier.settings import Decontaminate, Dedup

BATCH_ROWS = 8192
SAY_EVERY_S = 20
PARTS = ("kept", "dropped")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run goes by. rules: families that drop; `filter.rules` where it names any, else all (rules of pages judge texts without a prompt alone)."""

    rules: tuple[str, ...]
    max_repeat: float
    repeat_words: int
    dedup: Dedup
    decontaminate: Decontaminate
    sample_words: int
    seed: int


# For folders without a params.yaml; equal to the one of this repository, which a test holds it to.
STANDARD = Limits(FAMILIES, 0.5, 3, Dedup(0.95, 3, 128), Decontaminate("data/seeds/benchmarks", 8, 0.8, 0.5, 0.05), 100_000, 42)


@click.command()
@click.argument("source", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Folder to write to.")
@click.option("--benchmark", "benchmarks", multiple=True, metavar="FILE", help="Drop rows that give away its items; may be given again.")
@click.option("--prompt-field", help="The prompt, where no known shape fits; without --answer-field the reply is found by its usual names.")
@click.option("--answer-field", help="The reply; without --prompt-field rows are documents.")
@click.option("--quota", type=click.IntRange(1), help="Rows kept of each value of the field --by.")
@click.option("--by", metavar="FIELD", help="The field that --quota goes by, such as category.")
def curate(source: Path, out: Path, benchmarks: tuple[str, ...], prompt_field: str | None, answer_field: str | None, quota: int | None, by: str | None) -> None:
    """Judge, deduplicate and decontaminate a file of records."""
    if (quota is None) != (by is None):
        raise ParamsError("curate: --quota and --by go together: rows kept of each value, and the field with the values")
    limits = limits_of()
    reading = Reading(prompt_field, answer_field, by, limits.rules, limits.max_repeat, limits.repeat_words)
    items = [read_benchmarks(file) for file in benchmarks]
    say(f"curate: {source}, rules {', '.join(limits.rules) or 'none'}, near-duplicates from {limits.dedup.threshold}, {len(items)} benchmarks -> {out}")
    work = _workspace(out)
    try:
        funnel = _run(source, work, reading=reading, limits=limits, items=items, quota=quota)
        _publish(work, out, funnel)
    except KeyboardInterrupt as error:
        raise Interrupted(f"curate: interrupted; {out} is as it was") from error
    except (OSError, pl.exceptions.PolarsError) as error:
        if getattr(error, "errno", None) in DISK_ERRORS or os.strerror(errno.ENOSPC) in str(error):
            raise DiskFull(f"{out}: the disk is full ({error}); free about 3 times the size of {source} and run it again") from error
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    click.echo("\n".join(table_of(funnel)))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(f"curate: {funnel['kept']:,} of {funnel['rows']:,} rows kept, peak memory {peak_mib:,.0f} MiB -> {out}; look into dropped.parquet before you trust it")


def limits_of() -> Limits:
    """The limits of params.yaml, or the standard ones. Raises: ParamsError."""
    if not Path(FILE).exists():
        say(f"curate: no {FILE} here, so the standard limits")
        return STANDARD
    params = parse_params(read_text(FILE))
    rules = params.filter.rules or FAMILIES
    repeat, words = params.filter.max_repeat, params.score.repeat_words
    return Limits(tuple(rules), repeat, words, params.dedup, params.decontaminate, params.diversity.sample_words, params.seed)


def table_of(funnel: dict) -> list[str]:
    """The funnel as lines of text: a step, what came in, what it dropped, what is left, and the most frequent reasons."""
    left, lines = funnel["records"], [("step", "in", "dropped", "left", "reasons")]
    for step, reasons in {"read": funnel["rejected"], **funnel["dropped"]}.items():
        gone, before = sum(reasons.values()), left
        left = funnel["rows"] if step == "read" else before - gone
        most = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
        told = ", ".join(f"{name} {count:,}" for name, count in most[:4]) + (f" and {len(most) - 4} more" if len(most) > 4 else "")
        lines.append((step, f"{before:,}", f"{gone:,}", f"{left:,}", told if list(reasons) != [step] else ""))
    wide = [max(len(line[i]) for line in lines) for i in range(4)]
    return [f"{line[0]:{wide[0]}}  {line[1]:>{wide[1]}}  {line[2]:>{wide[2]}}  {line[3]:>{wide[3]}}  {line[4]}".rstrip() for line in lines]


def _run(source: Path, work: Path, *, reading: Reading, limits: Limits, items: list[pl.DataFrame], quota: int | None) -> dict:
    with (work / "rejected.jsonl").open("w", encoding="utf-8") as rejected:
        intake = take_in(_noted(read_records(source)), work / "parts", reading=reading, write_reject=lambda one: _write_line(rejected, one))
    drops = drops_of(intake)
    say(f"curate: {len(drops.steps):,} rows of {intake.records:,} records, {intake.rejected.total():,} rejected, {(drops.steps > 0).sum():,} broke a rule")
    largest = drop_duplicates(intake, drops, work / "clusters", settings=limits.dedup)
    if items:
        drop_leaks(intake, drops, pl.concat(items), settings=limits.decontaminate)
    if quota:
        drop_surplus(intake, drops, most=quota, seed=limits.seed)
    divide(intake, drops, work)
    return _tell(intake, drops, work, limits=limits, largest=largest, steps=["rules", "exact", "near", *["benchmark"] * bool(items), *["quota"] * bool(quota)])


def _tell(intake: Intake, drops: Drops, work: Path, *, limits: Limits, largest: int, steps: list[str]) -> dict:
    """Join the parts into files, and count what they hold, not what was meant to be in them."""
    for name in PARTS:
        _join(work, name, drops)
    gone = pl.scan_parquet(work / "dropped.parquet").group_by("step", "reason").len().collect().sort("len", "reason", descending=[True, False])
    dropped = {step: {reason: count for at, reason, count in gone.iter_rows() if at == step} for step in steps}
    kept = pl.scan_parquet(work / "kept.parquet").select(rows=pl.len(), words=pl.col("words").sum()).collect().row(0, named=True)
    batches = pl.scan_parquet(work / "kept.parquet").collect_batches(chunk_size=BATCH_ROWS, maintain_order=True)
    texts = sample_texts(iter(batches), sample_words=limits.sample_words, kept_words=kept["words"], seed=limits.seed)
    return funnel_of(intake, dropped, kept["rows"]) | {"largest_cluster_rows": largest, "wording": wording_of(texts) if texts else {}}


def _join(work: Path, name: str, drops: Drops) -> None:
    parts = sorted((work / name).iterdir())
    if parts:
        pl.scan_parquet(parts).sink_parquet(work / f"{name}.parquet", compression="zstd", statistics=False, maintain_order=True)
        return
    assert not len(drops.steps), "rows without parts"
    told = {"step": pl.String, "reason": pl.String, "detail": pl.String} if name == "dropped" else {}
    plain = {column: kind for column, kind in COLUMNS.items() if column not in ("reason", "detail", "group")}
    pl.DataFrame(schema=plain | told).write_parquet(work / f"{name}.parquet", statistics=False)


def _workspace(out: Path) -> Path:
    """A folder of this process beside its results; those that killed runs have left are removed."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        for left in out.glob(".curate-*"):
            if not Path("/proc", left.name.removeprefix(".curate-")).exists():
                shutil.rmtree(left)
        work = out / f".curate-{os.getpid()}"
        work.mkdir()
    except OSError as error:
        raise EspalierError(f"{out}: cannot be written to ({error.strerror}); name a folder with --out that can") from error
    return work


def _publish(work: Path, out: Path, funnel: dict) -> None:
    """Give the files their names; without its funnel.json a folder is not whole, so that one goes first and comes last."""
    (out / "funnel.json").unlink(missing_ok=True)
    for name in ("kept.parquet", "dropped.parquet", "rejected.jsonl"):
        with (work / name).open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(work / name, out / name)
    write_json(out / "funnel.json", funnel)


def _noted(raws: Iterator[Raw]) -> Iterator[Raw]:
    """The same records, with a line of talk now and then."""
    start = said = time.monotonic()
    for count, raw in enumerate(raws, 1):
        if count % 1000 == 0 and time.monotonic() - said > SAY_EVERY_S:
            said = time.monotonic()
            say(f"curate: {count:,} records read, {count / (said - start):,.0f} a second")
        yield raw


def _write_line(file, value: dict[str, object]) -> None:
    file.write(json.dumps(value, ensure_ascii=False) + "\n")
