"""The quality path on rows that are there already: rules -> duplicates -> benchmarks -> quotas, with a funnel that adds up.

Reads the parts of `intake`; the steps fill `Drops`, a number for every row and the reasons of those that go; `divide` writes kept and dropped rows. Held are
9 bytes a row, 60 to 80 more while duplicates are looked for (spill.py), the reasons, and one part. Every row is kept, or dropped by one step for one reason.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.decontaminate import decontaminate_rows
from espalier.intake import Intake, row_id
from espalier.overlap import jaccard, shingle_sets
from espalier.seeds import share
from espalier.settings import Decontaminate, Dedup
from espalier.spill import cluster_documents
from espalier.text import fold, full_text, words
from espalier.wording import compression_ratio, distinct_share, first_words_entropy, number_words, shared_ngram_share

STEPS = ("kept", "rules", "exact", "near", "benchmark", "quota")
KEPT, RULES, EXACT, NEAR, BENCHMARK, QUOTA = range(len(STEPS))
TEXTS = ["context", "query", "answer"]
FIRST_WORDS, SHARED_NGRAM, DISTINCT_NGRAM = 4, 4, 2  # as in diversity.py


@dataclass(slots=True)
class Drops:
    """`steps`: for every row the number of the step that drops it, KEPT for none; `reasons`: row -> (reason, detail) for those that no rule dropped."""

    steps: NDArray[np.int8]
    reasons: dict[int, tuple[str, str]] = field(default_factory=dict)

    def drop(self, row: int, step: int, detail: str) -> None:
        """Give a kept row its step, which is its reason too."""
        assert self.steps[row] == KEPT, f"row {row} is dropped by {STEPS[self.steps[row]]} and again by {STEPS[step]}"
        self.steps[row] = step
        self.reasons[row] = (STEPS[step], detail)


def drops_of(intake: Intake) -> Drops:
    """The drops after the rules."""
    columns = [pl.read_parquet(part, columns=["reason"])["reason"].is_not_null().to_numpy() for part, _ in intake.parts]
    return Drops(np.concatenate([np.zeros(0, np.int8), *(np.where(broken, RULES, KEPT).astype(np.int8) for broken in columns)]))


def drop_duplicates(intake: Intake, drops: Drops, scratch: Path, *, settings: Dedup) -> int:
    """Drop the rows of a cluster but the first; the size of the largest cluster, which is boilerplate where it is a good part of the rows.

    `exact`: an earlier row has the same prompt and reply after white-space folding; `near`: the others (spill.py). A row with a context also has to be near to
    the one that stays without it: of 13 rows looked at that long passages had joined, 12 asked different things.
    """
    alive, hashes = np.flatnonzero(drops.steps == KEPT), [np.zeros(0, np.uint64)]

    def documents() -> Iterator[pl.DataFrame]:
        for frame in _alive(intake, drops):
            rows = frame.select(TEXTS).rows()
            hashes.append(pl.Series(["\x1f".join(map(fold, row)) for row in rows], dtype=pl.String).hash(seed=0).to_numpy())
            yield frame.select("id", text=pl.Series([full_text(*row) for row in rows], dtype=pl.String))

    if not len(alive):
        return 0
    found = cluster_documents(documents(), scratch, settings=settings)
    _, first, inverse = np.unique(np.concatenate(hashes), return_index=True, return_inverse=True)
    clusters = pl.concat([pl.read_parquet(file) for file in sorted((scratch / "clusters").iterdir())])
    assert clusters.height == len(alive), f"{clusters.height} rows came back from the clusters, {len(alive)} went in"
    pairs = {int(alive[row]): int(alive[cluster]) for row, cluster in clusters.filter(~pl.col("stays")).select("row", "cluster").iter_rows()}
    differ = _ask_differently(intake, drops, pairs, settings)
    for at in np.flatnonzero(~clusters["stays"].to_numpy()):
        row, twin = int(alive[at]), int(first[inverse[at]])
        if twin < at:
            stays = int(alive[twin])
            drops.drop(row, EXACT, f"row {row_id(pairs[stays] if drops.steps[stays] != KEPT else stays)} stays")
        elif row not in differ:
            drops.drop(row, NEAR, f"row {row_id(pairs[row])} stays")
    return found.largest_cluster


def drop_leaks(intake: Intake, drops: Drops, items: pl.DataFrame, *, settings: Decontaminate) -> None:
    """Drop rows that give away an item of a benchmark, by equal text or by n-grams (decontaminate.py)."""
    for frame in _alive(intake, drops):
        _, leaked = decontaminate_rows(frame.with_columns(problem_key=pl.lit("")), items, settings=settings)
        for row, tier, item, coverage in leaked.select("id", "reason", "item", "coverage").iter_rows():
            drops.drop(int(row), BENCHMARK, f"{item}: {tier}, {coverage:.0%} of its {settings.ngram}-grams")


def drop_surplus(intake: Intake, drops: Drops, *, most: int, seed: int) -> None:
    """Keep at most `most` rows of each value of the group field, chosen by a hash of seed and id; rows without a value have no quota."""
    rows = [pair for frame in _alive(intake, drops) for pair in frame.filter(pl.col("group") != "").select("group", "id").iter_rows()]
    taken: Counter[str] = Counter()
    for group, row in sorted(rows, key=lambda pair: share(seed, "curate", pair[1])):
        taken[group] += 1
        if taken[group] > most:
            drops.drop(int(row), QUOTA, f"{group[:100]}: {most:,} rows are kept")


def divide(intake: Intake, drops: Drops, folder: Path) -> None:
    """Write folder/kept/*.parquet and folder/dropped/*.parquet, in order; dropped rows have step, reason and detail."""
    for name in ("kept", "dropped"):
        (folder / name).mkdir()
    for start, (part, rows) in _numbered(intake):
        steps = drops.steps[start : start + rows]
        later = [drops.reasons.get(row, (None, None)) for row in range(start, start + rows)]
        told = pl.DataFrame(later, schema={"later": pl.String, "later_detail": pl.String}, orient="row")
        frame = pl.concat([pl.read_parquet(part).drop("group"), told], how="horizontal").with_columns(
            step=pl.Series([STEPS[step] for step in steps], dtype=pl.String),
            reason=pl.coalesce("reason", "later"),
            detail=pl.coalesce("detail", "later_detail"),
        )
        keep = pl.Series(steps == KEPT)
        assert frame["reason"].is_null().to_list() == keep.to_list(), f"{part}: steps and reasons disagree which rows stay"
        frame.filter(keep).drop("step", "reason", "detail", "later", "later_detail").write_parquet(folder / "kept" / part.name, statistics=False)
        frame.filter(~keep).drop("later", "later_detail").write_parquet(folder / "dropped" / part.name, statistics=False)


def funnel_of(intake: Intake, dropped: Mapping[str, Mapping[str, int]], kept: int) -> dict[str, object]:
    """The counts of a run. dropped: step -> reason -> rows. Raises: AssertionError when rows or records are lost or counted twice."""
    rows, gone = sum(rows for _, rows in intake.parts), sum(sum(reasons.values()) for reasons in dropped.values())
    assert rows == kept + gone, f"{rows} rows went in, {kept} were kept and {gone} dropped"
    return {
        "records": intake.records,
        "rejected": dict(intake.rejected.most_common()),
        "rows": rows,
        "shapes": dict(intake.shapes.most_common()),
        "dropped": {step: dict(dropped[step]) for step in STEPS if step in dropped},
        "kept": kept,
    }


def wording_of(texts: list[str]) -> dict[str, float]:
    """Measures of wording of a sample; they change with its number of words (wording.py)."""
    numbered = number_words(texts)
    return {
        "sample_rows": len(texts),
        "sample_words": len(numbered.ids),
        "first_words_entropy_nats": first_words_entropy(numbered, FIRST_WORDS),
        "shared_4gram_share": shared_ngram_share(numbered, SHARED_NGRAM),
        "distinct_2": distinct_share(numbered, DISTINCT_NGRAM),
        "compression_ratio": compression_ratio(texts),
    }


def sample_texts(batches: Iterator[pl.DataFrame], *, sample_words: int, kept_words: int, seed: int) -> list[str]:
    """Texts of rows in the order of a hash of seed and id, up to `sample_words` words; kept_words: of the answers of all rows together."""
    limit = 1.5 * sample_words / max(kept_words, 1)  # of the draws: enough for the sample, and all that is ever held
    drawn = [
        (draw, full_text(*texts))
        for batch in batches
        for row, *texts in batch.select("id", *TEXTS).iter_rows()
        if (draw := share(seed, "diversity", row)) <= limit
    ]
    chosen, total = [], 0
    for _, text in sorted(drawn):
        total += len(words(text))
        if total > sample_words:
            break
        chosen.append(text)
    return chosen


def _numbered(intake: Intake) -> Iterator[tuple[int, tuple[Path, int]]]:
    """(number of its first row, part)."""
    start = 0
    for part, rows in intake.parts:
        yield start, (part, rows)
        start += rows


def _alive(intake: Intake, drops: Drops) -> Iterator[pl.DataFrame]:
    """The rows of each part that no step has dropped so far."""
    for start, (part, rows) in _numbered(intake):
        frame = pl.read_parquet(part, columns=["id", *TEXTS, "group"])
        yield frame.filter(pl.Series(drops.steps[start : start + rows] == KEPT, dtype=pl.Boolean))


def _ask_differently(intake: Intake, drops: Drops, pairs: Mapping[int, int], settings: Dedup) -> set[int]:
    """Of rows with a context (row -> the one that stays) those whose query and reply alone are less alike than the threshold."""
    wanted = {row_id(row) for row in pairs.values()}
    stays = {int(row): text for frame in _alive(intake, drops) for row, text in _without_context(frame.filter(pl.col("id").is_in(wanted)))}
    found: set[int] = set()
    for frame in _alive(intake, drops):
        rows = [(int(row), text) for row, text in _without_context(frame.filter(pl.col("context") != "")) if int(row) in pairs]
        if rows:
            shingles = shingle_sets([text for _, text in rows] + [stays[pairs[row]] for row, _ in rows], settings.shingle_words)
            places = np.arange(len(rows))
            alike = jaccard(shingles, places, places + len(rows))
            found.update(row for (row, _), likeness in zip(rows, alike, strict=True) if likeness < settings.threshold)
    return found


def _without_context(frame: pl.DataFrame) -> Iterator[tuple[str, str]]:
    return ((row, full_text("", query, answer)) for row, query, answer in frame.select("id", "query", "answer").iter_rows())
