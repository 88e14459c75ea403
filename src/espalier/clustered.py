"""A share over rows that come in clusters (leaves), with its interval: precision, recall.

For each cluster the hits and the trials; share = hits / trials of all together. The spread between clusters tells how many independent rows the rows are
worth, and Wilson's interval is taken of so many. To first order it is the interval of a bootstrap over clusters, without its draws, so that one can be
taken for every threshold and every left-out leaf.

Source: Cochran 1977, "Sampling Techniques", section 6.4 (variance of a ratio); Korn & Graubard 1998, Survey Methodology 24:193 (effective sample size, with
Student's t); Wilson 1927.
"""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares with the ends of their intervals, any number at once; NaN where there were no trials."""

    value: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class Sums:
    """What a share and its interval need of the clusters: sums over clusters of powers of hits and trials. Sums can be subtracted, to leave clusters out."""

    clusters: Floats
    hits: Floats
    trials: Floats
    hits_hits: Floats
    hits_trials: Floats
    trials_2: Floats
    trials_3: Floats

    def without(self, other: "Sums") -> "Sums":
        """These sums less `other`."""
        return Sums(*(getattr(self, name) - getattr(other, name) for name in self.__slots__))


def sums_of(hits: Floats, trials: Floats) -> Sums:
    """The sums of single clusters: arrays of any shape."""
    return Sums((trials > 0).astype(float), hits, trials, hits * hits, hits * trials, trials**2, trials**3)


def total(sums: Sums) -> Sums:
    """Added up over the first axis, the clusters."""
    return Sums(*(getattr(sums, name).sum(axis=0) for name in sums.__slots__))


def wilson(hits: Floats, trials: Floats, *, confidence: float) -> Shares:
    """hits / trials of independent rows, with Wilson's score interval, in 0..1; NaN where there are no trials.

    >>> found = wilson(np.array([8.0]), np.array([10.0]), confidence=0.95)  # the example of every textbook: 0.49 to 0.94
    >>> found.value[0].item(), round(found.low[0].item(), 3), round(found.high[0].item(), 3)
    (0.8, 0.49, 0.943)
    """
    return _score_interval(hits, trials, trials, NormalDist().inv_cdf((1 + confidence) / 2))


def clustered_shares(sums: Sums, *, confidence: float) -> Shares:
    """Shares of the sums over their clusters, with intervals, in 0..1; a single cluster leaves 0 to 1, no trials NaN.

    Effective rows = p (1 - p) / v, at most the rows, with v = u sum(w**2 (p_k - p)**2) and w the weights of the clusters by trials; u makes v unbiased for
    unequal weights as in `stats`. All hits or none show no spread: then every cluster counts as one row. Degrees of freedom: 1 / sum(w**2) - 1, at least 1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        share = sums.hits / sums.trials
        squares, cubes = sums.trials_2 / sums.trials**2, sums.trials_3 / sums.trials**3
        scatter = (sums.hits_hits - 2 * share * sums.hits_trials + share**2 * sums.trials_2) / sums.trials**2
        variance = np.maximum(scatter, 0) * squares / (squares - 2 * cubes + squares**2)
        rows = np.minimum(share * (1 - share) / variance, sums.trials)
        is_flat = (sums.hits <= 0) | (sums.hits >= sums.trials)
        rows = np.where(is_flat, np.minimum(sums.clusters, sums.trials), np.maximum(rows, 1.0))
        t = stdtrit(np.maximum(1 / squares - 1, 1.0), (1 + confidence) / 2)
    found = _score_interval(sums.hits, sums.trials, rows, t)
    is_alone = (sums.clusters < 2) & (sums.trials > 0)
    return Shares(found.value, np.where(is_alone, 0.0, found.low), np.where(is_alone, 1.0, found.high))


def _score_interval(hits: Floats, trials: Floats, rows: Floats, z: Floats | float) -> Shares:
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(trials > 0, hits / trials, np.nan)
        inverse = z**2 / rows
        middle = (share + inverse / 2) / (1 + inverse)
        half = z / (1 + inverse) * np.sqrt(share * (1 - share) / rows + inverse / (4 * rows))
    return Shares(share, np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1))
