"""What a recipe's text is worth in text of the baseline: k(loss) of every recipe, from students of nested parts of their text (train.sizes).

Reads the gold losses by size that `evaluate` leaves for each recipe and seed; gives the learning curves and k along them. How k is read off two curves, and
its interval, is in multiplier.py. Sizes are counted in tokens of text, so a recipe whose mix is short is not flattered. Parts have as many epochs as the whole:
k is the worth of text together with the training that goes with it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl

from espalier import stats
from espalier.errors import CorruptInput
from espalier.multiplier import Curve, falling, multipliers, size_at
from espalier.seeds import rng

POINTS = 13  # losses at which k is taken along a curve
WEIGHTINGS = ("macro", "natural")
LOSSES = tuple(f"loss_{weighting}_nats" for weighting in WEIGHTINGS)
SIZES_SCHEMA = {"recipe": pl.String, "seed": pl.Int64, "share": pl.Float64, "text_tokens": pl.Int64, **dict.fromkeys(LOSSES, pl.Float64)}
WORTH_SCHEMA = {
    "recipe": pl.String, "weighting": pl.String, "loss_nats": pl.Float64, "text_tokens": pl.Float64, "k": pl.Float64, "low": pl.Float64, "high": pl.Float64,
    "is_bound": pl.Boolean, "n_seeds": pl.Int64,
}  # fmt: skip


def learning_curves(items: Mapping[tuple[str, int], pl.DataFrame], leaves: pl.DataFrame, *, skew: float) -> pl.DataFrame:
    """The losses of every student of every size, by recipe and seed as given, then rising in size; no rows for no items.

    items: by (recipe, seed): share, text_tokens, item, leaf, gold_loss. skew: Zipf exponent of the natural weighting.
    Raises: CorruptInput when the students were not asked the same items at the same sizes.
    """
    rows = []
    for (recipe, seed), frame in _checked(items).items():
        names, losses_SL = _by_leaf(frame)
        weighted = losses_SL @ np.stack(_weights(leaves, names, skew), axis=1)
        for (share, tokens), both in zip(_sizes(frame), weighted, strict=True):
            rows.append((recipe, seed, share, tokens, *both))
    return pl.DataFrame(rows, schema=SIZES_SCHEMA, orient="row")


def compare_worth(
    items: Mapping[tuple[str, int], pl.DataFrame], leaves: pl.DataFrame, *, baseline: str, skew: float, draws: int, confidence: float, seed: int
) -> pl.DataFrame:
    """k against the baseline at POINTS losses of each other recipe and weighting, from the highest loss that both have to the recipe's lowest.

    loss_nats: a token of the gold answers; text_tokens: of the recipe at that loss. k, low, high: as in multiplier.Multiplier; `high` is inf without an end.
    is_bound: the baseline does not come down to the loss within twice its text, so the truth lies above k. n_seeds: of the two with fewer; with 1 the noise of
    training is missing. No rows for a recipe whose losses all lie above the baseline's. Raises: as learning_curves.
    """
    curves, names = _curves(_checked(items))
    rows = []
    for recipe, curve in curves.items():
        if recipe == baseline:
            continue
        for weighting, weights in zip(WEIGHTINGS, _weights(leaves, names, skew), strict=True):
            options = {"leaf_weights": weights, "points": POINTS, "draws": draws, "confidence": confidence, "rng": rng(seed, "worth", recipe, weighting)}
            n_seeds = min(curve.losses.shape[1], curves[baseline].losses.shape[1])
            means = falling(curve.losses.mean(axis=1) @ weights)
            for one in multipliers(curve, curves[baseline], **options):
                rows.append((recipe, weighting, one.loss, size_at(curve.sizes, means, one.loss), one.k, one.low, one.high, one.is_bound, n_seeds))
    return pl.DataFrame(rows, schema=WORTH_SCHEMA, orient="row")


def lowest(worth: pl.DataFrame, recipe: str, weighting: str) -> dict | None:
    """The row of a recipe's lowest loss, at which most of its text counts; None where it shares no loss with the baseline."""
    return max(worth.filter(recipe=recipe, weighting=weighting).to_dicts(), key=lambda row: -row["loss_nats"], default=None)


def worth_metrics(worth: pl.DataFrame) -> dict[str, dict[str, float]]:
    """{recipe: k at its lowest loss, every leaf equal, with interval and loss}. k_macro_is_bound: 1 where the truth is above k; no `high` without an end."""
    metrics = {}
    for recipe in worth["recipe"].unique(maintain_order=True):
        row = lowest(worth, recipe, "macro")
        if row is not None:
            numbers = {"k_macro": row["k"], "k_macro_low": row["low"], "k_macro_high": row["high"], "k_macro_loss_nats": row["loss_nats"]}
            metrics[recipe] = {name: number for name, number in numbers.items() if math.isfinite(number)} | {"k_macro_is_bound": int(row["is_bound"])}
    return metrics


def worth_words(row: Mapping[str, float] | None, baseline: str) -> str:
    """k in words.

    >>> worth_words({"k": 1.93, "low": 1.2, "high": math.inf, "loss_nats": 0.6949, "is_bound": False, "n_seeds": 3}, "direct")
    'worth 1.93 x the text of direct (1.20 .. no end) at a loss of 0.695 nats'
    >>> worth_words({"k": 4.0, "low": 4.0, "high": math.inf, "loss_nats": 0.5, "is_bound": True, "n_seeds": 3}, "direct")
    'worth > 4.00 x the text of direct (4.00 .. no end) at a loss of 0.500 nats'
    >>> worth_words(None, "direct")
    'worth less than the text of direct: it reaches none of its losses'
    """
    if row is None:
        return f"worth less than the text of {baseline}: it reaches none of its losses"
    high = "no end" if math.isinf(row["high"]) else f"{row['high']:.2f}"
    k = f"{'> ' if row['is_bound'] else ''}{row['k']:.2f}"
    lacking = "" if row["n_seeds"] > 1 else " (one seed: without the noise of training)"
    return f"worth {k} x the text of {baseline} ({row['low']:.2f} .. {high}) at a loss of {row['loss_nats']:.3f} nats{lacking}"


def _curves(items: Mapping[tuple[str, int], pl.DataFrame]) -> tuple[dict[str, Curve], list[str]]:
    """The curve of every recipe over the leaves named; sizes are the means of its seeds, whose parts differ by a few tokens."""
    curves, names = {}, []
    for recipe in dict.fromkeys(recipe for recipe, _ in items):
        frames = [frame for (one, _), frame in items.items() if one == recipe]
        names = _by_leaf(frames[0])[0]
        sizes = np.array([[tokens for _, tokens in _sizes(frame)] for frame in frames], dtype=np.float64)
        curves[recipe] = Curve(sizes.mean(axis=0), np.stack([_by_leaf(frame)[1] for frame in frames], axis=1))
    return curves, names


def _by_leaf(frame: pl.DataFrame) -> tuple[list[str], stats.Floats]:
    """The leaves, sorted, and the (sizes, leaves) mean losses, both rising."""
    means = frame.group_by("share", "leaf").agg(pl.col("gold_loss").mean()).sort("share", "leaf")
    names = means["leaf"].unique().sort().to_list()
    return names, means["gold_loss"].to_numpy().reshape(-1, len(names))


def _sizes(frame: pl.DataFrame) -> Iterator[tuple[float, int]]:
    return frame.select("share", "text_tokens").unique().sort("share").iter_rows()


def _weights(leaves: pl.DataFrame, names: Sequence[str], skew: float) -> list[stats.Floats]:
    """Of the named leaves, in each of WEIGHTINGS; compare has refused an exam with a leaf that the taxonomy lacks."""
    ranks = dict(leaves.select("leaf", "rank").iter_rows())
    return [stats.weights_by_rank([ranks[name] for name in names], one) for one in (0.0, skew)]


def _checked(items: Mapping[tuple[str, int], pl.DataFrame]) -> Mapping[tuple[str, int], pl.DataFrame]:
    """`items` unchanged, once every student is known to have been asked the same items at the same sizes."""
    wanted: set[tuple[float, str, str]] | None = None
    for (recipe, seed), frame in items.items():
        found = set(frame.select("share", "item", "leaf").iter_rows())
        wanted = found if wanted is None else wanted
        bad = frame.height - int(frame["gold_loss"].is_finite().fill_null(False).sum())
        if found != wanted or len(found) != frame.height or bad:
            what = f"{bad} losses are not finite numbers" if bad else f"found {frame.height} losses of {len(found)} items and sizes, wanted {len(wanted)}"
            raise CorruptInput(f"data/evaluate/{recipe}/{seed}/sizes.parquet: {what}, the same for every student; run `dvc repro evaluate@{recipe}-{seed}`")
    return items
