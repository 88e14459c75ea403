"""The arms of a study side by side on the held-out exam, with intervals, and a verdict for each.

Reads the per-item outcomes of `evaluate` (one frame per recipe and seed) and the leaves; gives three tables and the flat
metrics. The stage `compare` does the reading and writing. The statistics, and why they are clustered by leaf and by seed,
are in `stats`; the numbers are taken on the split `key`, whose items are held out by problem key.

Two weightings are always reported, because they can disagree: `macro` (every leaf equal) and `natural` (rank**-skew, the
frequencies of natural text). A way of making data that covers rare leaves can win the first and not the second.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from espalier import stats
from espalier.errors import CorruptInput, ParamsError
from espalier.seeds import rng


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is compared: a column of the items, the direction in which it is good, and the highest mean it can have."""

    column: str
    higher_is_better: bool
    highest: float


OUTCOMES = {"accuracy": Outcome("right", True, 1.0), "gold_loss": Outcome("gold_loss", False, math.inf)}
WEIGHTINGS = ("macro", "natural")
SPLIT = "key"

ITEM_COLUMNS = ("item", "split", "leaf", "branch", "right", "gold_loss")
TABLE_SCHEMA = {
    "recipe": pl.String, "outcome": pl.String, "weighting": pl.String, "n_items": pl.Int64, "n_leaves": pl.Int64,
    "n_seeds": pl.Int64, "mean": pl.Float64, "mean_low": pl.Float64, "mean_high": pl.Float64, "difference": pl.Float64,
    "low": pl.Float64, "high": pl.Float64, "p": pl.Float64, "p_holm": pl.Float64, "effect": pl.Float64, "mdd": pl.Float64,
    "verdict": pl.String,
}


def compare_arms(
    items: Mapping[tuple[str, int], pl.DataFrame], leaves: pl.DataFrame, *, baseline: str, skew: float, draws: int,
    confidence: float, seed: int,
) -> pl.DataFrame:
    """One row per recipe, outcome (accuracy as a share, gold_loss in nats per token) and weighting; baseline rows first.

    items: by (recipe, seed). skew: Zipf exponent of the natural weighting. confidence: of every interval; the verdict
    uses 1 - confidence on p_holm (Holm over the arms, within each outcome and weighting). The intervals are not adjusted,
    so one may leave out 0 while the verdict says "within noise". mdd: the difference that would be found 80 % of the time.
    verdict: better, worse, within noise, "one seed" (training noise unknown, nothing is claimed) or baseline. The columns
    from `difference` to `mdd` are null for the baseline.

    Raises: ParamsError when the baseline is no recipe; CorruptInput when the arms did not answer the same items.
    """
    arms = _by_recipe(check_arms(items, baseline=baseline))
    first = next(iter(arms[baseline].values()))
    exam = first.filter(pl.col("split") == SPLIT).sort("item")
    names, leaf_index = np.unique(exam["leaf"].to_numpy(), return_inverse=True)
    ranks = _ranks(leaves, names)
    rows: list[dict[str, object]] = []
    for name, outcome in OUTCOMES.items():
        values = {recipe: _outcomes(frames, outcome.column) for recipe, frames in arms.items()}
        for weighting in WEIGHTINGS:
            options = {"leaf_index": leaf_index, "draws": draws, "confidence": confidence}
            options["leaf_weights"] = stats.weights_by_rank(ranks, skew if weighting == "natural" else 0.0)
            block = [
                {"recipe": recipe, "outcome": name, "weighting": weighting, "n_items": exam.height}
                | _mean_of(values[recipe], rng(seed, "mean", recipe, name, weighting), options, highest=outcome.highest)
                | (
                    {"verdict": "baseline"} if recipe == baseline else
                    _difference_of(values[recipe], values[baseline], rng(seed, "difference", recipe, name, weighting), options)
                )
                for recipe in arms
            ]
            rows += _judged(block, higher_is_better=outcome.higher_is_better, level=1 - confidence)
    return pl.DataFrame(rows, schema=TABLE_SCHEMA)


def accuracy_by_leaf(items: Mapping[tuple[str, int], pl.DataFrame], leaves: pl.DataFrame) -> pl.DataFrame:
    """recipe, leaf, branch, rank, accuracy (share over seeds and items of the split `key`), gold_loss, n_items (per seed)."""
    key = _joined(items).filter(pl.col("split") == SPLIT)
    return (
        key.group_by("recipe", "leaf", "branch")
        .agg(pl.col("right").mean().alias("accuracy"), pl.col("gold_loss").mean(), pl.col("item").n_unique().alias("n_items"))
        .join(leaves.select("leaf", "rank"), on="leaf", how="left")
        .select("recipe", "leaf", "branch", "rank", "accuracy", "gold_loss", "n_items")
        .sort("recipe", "branch", "rank", "leaf")
    )


def accuracy_by_split(items: Mapping[tuple[str, int], pl.DataFrame]) -> pl.DataFrame:
    """recipe, split (key, template, difficulty), accuracy (every leaf equal), gold_loss, n_items (per seed), n_leaves."""
    means = pl.col("accuracy", "gold_loss").mean()
    return (
        _joined(items)
        .group_by("recipe", "split", "leaf")
        .agg(pl.col("right").mean().alias("accuracy"), pl.col("gold_loss").mean(), pl.col("item").n_unique().alias("n_items"))
        .group_by("recipe", "split")
        .agg(means, pl.col("n_items").sum(), pl.len().cast(pl.Int64).alias("n_leaves"))
        .sort("recipe", "split")
    )


def comparison_metrics(table: pl.DataFrame) -> dict[str, dict[str, float]]:
    """The table as {recipe: {name: number}}: 5 numbers for the baseline, 12 for every other recipe."""
    metrics: dict[str, dict[str, float]] = {}
    for row in table.to_dicts():
        numbers = metrics.setdefault(row["recipe"], {})
        if row["outcome"] == "accuracy":
            numbers[f"accuracy_{row['weighting']}"] = row["mean"]
            numbers |= _interval_metrics(row)
        elif row["weighting"] == "macro":
            numbers["gold_loss_nats_macro"] = row["mean"]
    return metrics


def check_arms(items: Mapping[tuple[str, int], pl.DataFrame], *, baseline: str) -> Mapping[tuple[str, int], pl.DataFrame]:
    """`items` unchanged, once every arm is known to have answered the same exam.

    Raises: ParamsError, CorruptInput; the message names the file, what was found and the command that mends it.
    """
    recipes = sorted({recipe for recipe, _ in items})
    if baseline not in recipes:
        found = ", ".join(recipes) or "no recipe at all"
        raise ParamsError(f"params.yaml: the baseline is {baseline!r} and the arms are {found}; add it to study.recipes")
    first = min(key for key in items if key[0] == baseline)
    wanted = _identity(items[first], first)
    if not any(split == SPLIT for _, split, _ in wanted):
        raise CorruptInput(f"{_file(first)}: no item of split {SPLIT!r}, on which arms are compared; run `dvc repro exam`")
    for key, frame in items.items():
        _check_frame(frame, key)
        odd = wanted ^ _identity(frame, key)
        if odd:
            missing = len(wanted - _identity(frame, key))
            raise CorruptInput(
                f"{_file(key)}: {missing} items of {_file(first)} are absent and {len(odd) - missing} are others (one is"
                f" {min(odd)[0]!r}); every arm must answer the same exam; run `{_mend(key)}`"
            )
    return items


def _check_frame(frame: pl.DataFrame, key: tuple[str, int]) -> None:
    if frame["item"].n_unique() != frame.height:
        twice = frame.filter(pl.col("item").is_duplicated())["item"].min()
        raise CorruptInput(f"{_file(key)}: item {twice!r} occurs more than once; wanted one row per item; run `{_mend(key)}`")
    for column in ("right", "gold_loss"):
        numbers = frame[column].cast(pl.Float64)
        bad = frame.height - int(numbers.is_finite().fill_null(False).sum())
        if bad:
            raise CorruptInput(
                f"{_file(key)}: {bad} of {frame.height} values of {column!r} are not finite numbers; wanted one for every"
                f" item; the student may have diverged: look at its loss, lower train.optimizer.learning_rate, then run `{_mend(key)}`"
            )


def _identity(frame: pl.DataFrame, key: tuple[str, int]) -> set[tuple[str, str, str]]:
    absent = [column for column in ITEM_COLUMNS if column not in frame.columns]
    if absent:
        raise CorruptInput(f"{_file(key)}: found no column {', '.join(absent)}; wanted {', '.join(ITEM_COLUMNS)}; run `{_mend(key)}`")
    return set(frame.select("item", "split", "leaf").iter_rows())


def _ranks(leaves: pl.DataFrame, names: Sequence[str]) -> list[int]:
    ranks = dict(leaves.select("leaf", "rank").iter_rows())
    unknown = [name for name in names if name not in ranks]
    if unknown:
        raise CorruptInput(
            f"data/taxonomy/leaves.parquet: {len(unknown)} leaves of the exam are absent (one is {unknown[0]!r}); exam and"
            " taxonomy must be of one run; run `dvc repro exam`"
        )
    if len(names) < 2:
        raise CorruptInput(f"data/exam/items.parquet: {len(names)} leaf in split {SPLIT!r}; wanted 2 or more for an interval over leaves")
    return [ranks[name] for name in names]


def _by_recipe(items: Mapping[tuple[str, int], pl.DataFrame]) -> dict[str, dict[int, pl.DataFrame]]:
    """Frames by recipe (in the order given) and then by seed (rising)."""
    arms: dict[str, dict[int, pl.DataFrame]] = {recipe: {} for recipe, _ in items}
    for recipe, seed in sorted(items):
        arms[recipe][seed] = items[recipe, seed]
    return arms


def _outcomes(frames: Mapping[int, pl.DataFrame], column: str) -> stats.Floats:
    """(seeds, items) of the split `key`, items sorted by name."""
    key = [frame.filter(pl.col("split") == SPLIT).sort("item") for frame in frames.values()]
    return np.stack([frame[column].cast(pl.Float64).to_numpy() for frame in key])


def _mean_of(values: stats.Floats, generator: np.random.Generator, options: dict, *, highest: float) -> dict[str, object]:
    found = stats.mean_interval(values, rng=generator, **options)
    # With few leaves the t interval of a share runs past 0 or 1, where no accuracy can be.
    low, high = max(found.low, 0.0), min(found.high, highest)
    return {"n_leaves": found.n_leaves, "n_seeds": found.n_seeds, "mean": found.mean, "mean_low": low, "mean_high": high}


def _difference_of(arm: stats.Floats, base: stats.Floats, generator: np.random.Generator, options: dict) -> dict[str, object]:
    found = stats.paired_difference(arm, base, rng=generator, **options)
    mdd = stats.minimal_detectable_difference(
        found.standard_error, found.degrees_of_freedom, confidence=options["confidence"]
    )
    return {
        "difference": found.difference, "low": found.low, "high": found.high, "p": found.p, "effect": found.effect, "mdd": mdd,
        "n_seeds": found.n_seeds,
    }


def _judged(block: list[dict[str, object]], *, higher_is_better: bool, level: float) -> list[dict[str, object]]:
    """The rows of one outcome and weighting with p_holm and verdict, the baseline first."""
    arms = [row for row in block if "p" in row]
    for row, p_holm in zip(arms, stats.holm([row["p"] for row in arms]), strict=True):
        row["p_holm"] = p_holm
        word = stats.verdict(row["difference"], p_holm, higher_is_better=higher_is_better, level=level)
        row["verdict"] = word if row["n_seeds"] > 1 else "one seed"
    return [row for row in block if "p" not in row] + arms


def _interval_metrics(row: dict) -> dict[str, float]:
    """The intervals of one accuracy row: of the mean for macro, of the difference for both weightings."""
    weighting = row["weighting"]
    numbers = {}
    if weighting == "macro":
        numbers |= {f"accuracy_macro_{end}": row[f"mean_{end}"] for end in ("low", "high")}
    if row["difference"] is not None:
        name = f"accuracy_difference_{weighting}"
        numbers |= {name: row["difference"], f"{name}_low": row["low"], f"{name}_high": row["high"]}
        if weighting == "macro":
            numbers["accuracy_p_holm_macro"] = row["p_holm"]
    return numbers


def _joined(items: Mapping[tuple[str, int], pl.DataFrame]) -> pl.DataFrame:
    columns = ("item", "split", "leaf", "branch", pl.col("right").cast(pl.Float64), pl.col("gold_loss").cast(pl.Float64))
    return pl.concat(
        frame.select(*columns).with_columns(pl.lit(recipe).alias("recipe"), pl.lit(seed).alias("seed"))
        for (recipe, seed), frame in sorted(items.items(), key=lambda pair: pair[0])
    )


def _file(key: tuple[str, int]) -> str:
    return f"data/evaluate/{key[0]}/{key[1]}/items.parquet"


def _mend(key: tuple[str, int]) -> str:
    return f"dvc repro evaluate@{key[0]}-{key[1]}"
