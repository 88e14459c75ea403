"""Is the difference between two arms real? Paired intervals clustered by leaf and by training seed.

Values in, values out: arrays of outcomes per seed and item, never files. `compare` reads the exam and calls this module.

Why no simpler test is used. Items of one leaf rise and fall together, so a bootstrap over items rejects a true null far
too often; and three seeds resampled as they are show only (n - 1) / n = 2/3 of the variance that they stand for. Here
the leaves are drawn with replacement (both arms share the draw: the pairing), the seeds of each arm are drawn too, each
part is inflated to be unbiased, and the interval uses Student's t with the degrees of freedom that the parts support.

Simulated true nulls (54 leaves of 8 items, 3 seeds, strong leaf and seed effects) are rejected at the 5 % level about
5 % of the time; tests/test_stats.py repeats the simulation and shows the item bootstrap failing it.

Source: Cameron, Gelbach & Miller 2011, "Robust Inference with Multiway Clustering" (two clusterings: add both, subtract
the overlap); Hesterberg 2015, "What Teachers Should Know about the Bootstrap" (narrowness bias, t with bootstrap standard
error); Satterthwaite 1946 (degrees of freedom of a sum of variances).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from espalier import student_t

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MeanInterval:
    """The leaf-weighted mean of one arm. `low` and `high` are its interval at the confidence asked for."""

    mean: float
    low: float
    high: float
    n_leaves: int
    n_seeds: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Arm minus baseline, in the unit of the outcome.

    p: two-sided, of "no difference"; below 1 - confidence exactly when the interval leaves out 0.
    effect: the difference in standard deviations of the leaf differences (Cohen's d_z over leaves, weighted like the
        mean), so 1 says that a typical leaf gains as much as leaves vary; +-inf when all leaves differ alike.
    n_seeds: of the arm that has fewer. With 1 the noise of training is unknown and the interval lacks it.
    """

    difference: float
    low: float
    high: float
    p: float
    effect: float
    standard_error: float
    degrees_of_freedom: float
    n_leaves: int
    n_seeds: int


def paired_difference(
    arm: Floats, baseline: Floats, *, leaf_index: NDArray[np.int64], leaf_weights: Floats, draws: int, confidence: float,
    rng: np.random.Generator,
) -> Difference:
    """The leaf-weighted mean of `arm` minus that of `baseline`, with a calibrated interval.

    arm, baseline: (seeds, items) outcomes of the same items; the arms may differ in their number of seeds.
    leaf_index: (items,) in 0 .. leaves - 1, every leaf at least once. leaf_weights: (leaves,) of any positive sum.
    Seeds are drawn for each arm by itself: seed 1 of two arms shares a number and nothing else (other data, other order),
    so pairing them would claim a cancellation that does not happen. With shared starting weights this errs on the wide side.

    Raises: ValueError when the shapes do not fit, a value is not finite or there are fewer than 2 leaves.
    """
    leaf_means = [_leaf_means(values, leaf_index, len(leaf_weights)) for values in (arm, baseline)]
    weights = _normalised(leaf_weights)
    by_leaf, error, freedom = _contrast(leaf_means, (1.0, -1.0), weights, draws=draws, rng=rng)
    difference = float(by_leaf @ weights)
    margin = student_t.quantile((1 - confidence) / 2, freedom) * error
    spread = math.sqrt((by_leaf - difference) ** 2 @ weights / (1 - weights @ weights))
    return Difference(
        difference=difference,
        low=difference - margin,
        high=difference + margin,
        p=_two_sided_p(difference, error, freedom),
        effect=_ratio(difference, spread),
        standard_error=error,
        degrees_of_freedom=freedom,
        n_leaves=len(weights),
        n_seeds=min(len(arm), len(baseline)),
    )


def mean_interval(
    arm: Floats, *, leaf_index: NDArray[np.int64], leaf_weights: Floats, draws: int, confidence: float,
    rng: np.random.Generator,
) -> MeanInterval:
    """The leaf-weighted mean of one arm. Arguments and Raises as in `paired_difference`.

    Two such intervals may overlap while the paired difference is clear: leaves differ in difficulty for both arms alike.
    """
    weights = _normalised(leaf_weights)
    by_leaf, error, freedom = _contrast([_leaf_means(arm, leaf_index, len(weights))], (1.0,), weights, draws=draws, rng=rng)
    mean = float(by_leaf @ weights)
    margin = student_t.quantile((1 - confidence) / 2, freedom) * error
    return MeanInterval(mean=mean, low=mean - margin, high=mean + margin, n_leaves=len(weights), n_seeds=len(arm))


def weights_by_rank(ranks: Sequence[int], skew: float) -> Floats:
    """Leaf weights rank**-skew that sum to 1; skew 0 weighs every leaf alike (macro). Ranks count from 1.

    >>> weights_by_rank([1, 2], 1.0).round(3).tolist()
    [0.667, 0.333]
    """
    return _normalised(np.asarray(ranks, dtype=np.float64) ** -skew)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values adjusted for having made them all, in the order given.

    The k-th smallest of m is multiplied by m + 1 - k, kept rising and at most 1. Source: Holm 1979, sequential rejection.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted, highest = [0.0] * len(p_values), 0.0
    for k, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, (len(p_values) - k) * p_values[i])
        adjusted[i] = min(highest, 1.0)
    return adjusted


def minimal_detectable_difference(
    standard_error: float, degrees_of_freedom: float, *, confidence: float, power: float = 0.8
) -> float:
    """The true difference that a study this noisy would call real with probability `power`.

    Source: Bloom 1995, "Minimum Detectable Effects", (t[1 - alpha/2] + t[power]) * standard error.
    """
    reach = student_t.quantile((1 - confidence) / 2, degrees_of_freedom) + student_t.quantile(1 - power, degrees_of_freedom)
    return reach * standard_error


def verdict(difference: float, p: float, *, higher_is_better: bool, level: float) -> str:
    """"better", "worse" or "within noise" for the arm. p: adjusted for all arms; level: 0.05 for 95 % confidence."""
    if not p < level or difference == 0:
        return "within noise"
    return "better" if (difference > 0) == higher_is_better else "worse"


def unbias(weights: Floats) -> float:
    """What sum(w**2 * residual**2) must be multiplied by: the mean has been fitted to the same leaves. L / (L - 1) for equal w."""
    squares, cubes = float((weights**2).sum()), float((weights**3).sum())
    return squares / (squares - 2 * cubes + squares**2)


def _contrast(
    leaf_means: Sequence[Floats], signs: Sequence[float], weights: Floats, *, draws: int, rng: np.random.Generator
) -> tuple[Floats, float, float]:
    """The signed sum of the arms per leaf, the standard error of its weighted mean and its degrees of freedom.

    leaf_means: one (seeds, leaves) array per arm.
    """
    by_leaf = sum(sign * means.mean(axis=0) for sign, means in zip(signs, leaf_means, strict=True))
    assert isinstance(by_leaf, np.ndarray)
    # Drawing w * (value - mean), not the ratio of drawn sums: with steep weights a draw that misses the first leaf
    # divides by almost nothing, and the test grew deaf (0.3 % rejections at skew 1.5).
    pull = weights * (by_leaf - by_leaf @ weights)
    leaf_errors = math.sqrt(unbias(weights)) * _draw_sums(pull, draws, rng)
    seed_errors = [_seed_errors(means @ weights, draws, rng) for means in leaf_means]
    kept = _seed_share_kept(leaf_means, weights)
    parts = [float(leaf_errors.var()), *(kept * float(errors.var()) for errors in seed_errors)]
    # 1 / sum(w**2) is the number of equal leaves with the same spread of weights (Kish 1965). What was subtracted from the
    # seed part was estimated too: `kept` of its degrees of freedom is what simulation found (without: up to 9.6 % at 3 seeds).
    freedoms = [max(1 / float(weights @ weights) - 1, 1.0), *(kept * (len(means) - 1) for means in leaf_means)]
    total = leaf_errors + math.sqrt(kept) * sum(sign * errors for sign, errors in zip(signs, seed_errors, strict=True))
    return by_leaf, float(np.std(total)), _satterthwaite(parts, freedoms)


def _draw_sums(values: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws,) sums of as many values drawn with replacement; `values` sum to 0, so do the draws on average."""
    n = len(values)
    return rng.multinomial(n, np.full(n, 1 / n), size=draws) @ values


def _seed_errors(by_seed: Floats, draws: int, rng: np.random.Generator) -> Floats:
    """(draws,) errors of an arm's mean over seeds, inflated to n / (n - 1); all 0 for a single seed."""
    n = len(by_seed)
    if n == 1:
        return np.zeros(draws)
    return math.sqrt(n / (n - 1)) * _draw_sums((by_seed - by_seed.mean()) / n, draws, rng)


def _seed_share_kept(leaf_means: Sequence[Floats], weights: Floats) -> float:
    """The share of the seed variance that the leaf draws do not hold already, in 0 .. 1.

    Noise that is new in every (seed, leaf) cell shows among the leaves and among the seeds. Counted twice it made the
    test reject a true null of pure noise 0.9 % of the time; counted once, 4 %.
    """
    between = overlap = 0.0
    for means in leaf_means:
        n = len(means)
        if n == 1:
            continue
        by_seed = means @ weights
        cells = means - means.mean(axis=0) - (by_seed - by_seed.mean())[:, None]
        between += by_seed.var(ddof=1) / n
        overlap += unbias(weights) * float((cells**2 @ weights**2).sum()) / (n * (n - 1))
    return max(between - overlap, 0.0) / between if between > 0 else 0.0


def _satterthwaite(variances: Sequence[float], freedoms: Sequence[float]) -> float:
    """Degrees of freedom of a sum of independent variance estimates, in 1 .. 1000 (there t is the normal to 0.2 %)."""
    scatter = sum(v**2 / freedom for v, freedom in zip(variances, freedoms, strict=True) if v > 0)
    return min(max(sum(variances) ** 2 / scatter, 1.0), 1000.0) if scatter > 0 else 1000.0


def _leaf_means(values: Floats, leaf_index: NDArray[np.int64], n_leaves: int) -> Floats:
    """(seeds, leaves) means of (seeds, items) outcomes."""
    values, leaf_index = np.asarray(values, dtype=np.float64), np.asarray(leaf_index)
    if values.ndim != 2 or len(values) == 0 or values.shape[1:] != leaf_index.shape:
        raise ValueError(f"outcomes of shape {values.shape} for {leaf_index.shape} items; wanted (seeds, items) of the same items")
    counts = np.bincount(leaf_index, minlength=n_leaves)
    if n_leaves < 2 or len(counts) != n_leaves or not counts.all():
        raise ValueError(f"{np.count_nonzero(counts)} leaves with items for {n_leaves} weights; wanted one weight per leaf, 2 leaves or more")
    if not np.isfinite(values).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(values))} outcomes are not finite numbers; drop the item in every arm")
    sums = np.stack([np.bincount(leaf_index, weights=row, minlength=n_leaves) for row in values])
    return sums / counts


def _normalised(weights: Floats) -> Floats:
    """Weights that sum to 1."""
    weights = np.asarray(weights, dtype=np.float64)
    if not (np.isfinite(weights).all() and (weights > 0).all()):
        raise ValueError("leaf weights must be finite and above 0")
    return weights / weights.sum()


def _ratio(difference: float, spread: float) -> float:
    # Rounding leaves a spread of 1e-17 when all leaves differ by the same amount.
    if spread > 1e-12 * max(1.0, abs(difference)):
        return difference / spread
    return 0.0 if difference == 0 else math.copysign(math.inf, difference)


def _two_sided_p(difference: float, error: float, freedom: float) -> float:
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return min(1.0, 2 * student_t.tail(abs(difference) / error, freedom))
