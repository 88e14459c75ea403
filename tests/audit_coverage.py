"""Simulated studies of which the truth is known: how often do the intervals of the audit hold it, and do its thresholds keep their promise?

`python -m tests.audit_coverage 4000` prints the figures of LOG.md. Leaves differ in accuracy, in the level of the score and in how well it tells right from
wrong: accuracy q ~ Beta(4, 2), score = N(0, 1) + level + gain where right, level ~ N(0, LEVEL), gain ~ N(GAIN, SPREAD), all independent. So over the rows of
many leaves a right one scores N(GAIN, 1 + LEVEL**2 + SPREAD**2) and a wrong one N(0, 1 + LEVEL**2).
"""

import math
import sys
from statistics import NormalDist

import numpy as np
import polars as pl

from espalier.auc import auc, auc_interval, clustered_auc, mean_auc
from espalier.audit import audit_rows, least_strict
from espalier.clustered import clustered_shares, sums_of, total

LEVEL, SPREAD, GAIN, ACCURACY = 0.7, 0.4, 1.5, 2 / 3
RIGHT_SD, WRONG_SD = math.sqrt(1 + LEVEL**2 + SPREAD**2), math.sqrt(1 + LEVEL**2)
PHI = NormalDist().cdf
TRUE_AUC = PHI(GAIN / math.hypot(RIGHT_SD, WRONG_SD))
TRUE_LEAF_AUC = PHI(GAIN / math.sqrt(2 + SPREAD**2))


def true_precision(cut, accuracy=ACCURACY):
    """P(right | score >= cut) by Bayes."""
    rights, wrongs = accuracy * PHI((GAIN - cut) / RIGHT_SD), (1 - accuracy) * PHI(-cut / WRONG_SD)
    return rights / (rights + wrongs)


def study(rng, *, leaves, rows, skew):
    """(scores, is_right, leaf_index) of about `rows` rows a leaf, of sizes by Zipf's law with exponent `skew`."""
    weights = np.arange(1, leaves + 1.0) ** -skew
    sizes = np.maximum(2, rng.poisson(leaves * rows * weights / weights.sum()))
    leaf = np.repeat(np.arange(leaves), sizes)
    is_right = rng.random(leaf.size) < rng.beta(4, 2, leaves)[leaf]
    gain = rng.normal(GAIN, SPREAD, leaves)
    return rng.normal(size=leaf.size) + rng.normal(0, LEVEL, leaves)[leaf] + gain[leaf] * is_right, is_right, leaf


def table(scores, is_right, leaf):
    """Scored rows of which the vote is the score."""
    return pl.DataFrame({
        "id": [f"r{i}" for i in range(len(leaf))], "status": "ok", "verdict": np.where(is_right, "right", "wrong"),
        "delivered_leaf": [f"leaf {i:03}" for i in leaf], "vote_share": scores,
    })  # fmt: skip


def at_cuts(scores, is_right, leaf, cuts, leaves):
    """(leaves, cuts) right rows, and all rows, that score at least the cut."""
    return tuple(
        np.stack([(np.sort(scores[(leaf == one) & mask])[:, None] >= cuts).sum(axis=0) for one in range(leaves)]).astype(float)
        for mask in (is_right, np.ones_like(is_right))
    )


def coverage(runs, *, leaves=54, rows=30, skew=0.0, seed=1):
    """Shares of the runs whose 95 % interval holds the truth: pooled AUC, mean AUC of the leaves, precision at a fixed cut."""
    rng = np.random.default_rng(seed)
    held, cut = np.zeros(3), np.array([0.8])
    for _ in range(runs):
        scores, is_right, leaf = study(rng, leaves=leaves, rows=rows, skew=skew)
        by_leaf = [auc(scores[leaf == one], is_right[leaf == one]) for one in range(leaves)]
        precision = clustered_shares(total(sums_of(*at_cuts(scores, is_right, leaf, cut, leaves))), confidence=0.95)
        found = (
            clustered_auc(scores, is_right, leaf_index=leaf, confidence=0.95),
            mean_auc(np.array([one for one in by_leaf if one is not None]), confidence=0.95),
            precision,
        )
        held += [np.ravel(one.low)[0] <= truth <= np.ravel(one.high)[0] for one, truth in zip(found, (TRUE_AUC, TRUE_LEAF_AUC, true_precision(0.8)), strict=True)]
    return tuple((held / runs).tolist())


def leaf_coverage(runs, *, rights, wrongs, gain=GAIN, seed=1):
    """The same for the interval of one leaf, with so many right and wrong rows."""
    rng = np.random.default_rng(seed)
    is_right, held = np.repeat([True, False], [rights, wrongs]), 0
    for _ in range(runs):
        low, high = auc_interval(auc(rng.normal(size=rights + wrongs) + gain * is_right, is_right), rights=rights, wrongs=wrongs, confidence=0.95)
        held += low <= PHI(gain / math.sqrt(2)) <= high
    return held / runs


def promises(runs, *, target=0.85, leaves=54, rows=30, skew=0.0, seed=2):
    """What the chosen threshold is truly worth: by the estimate and by the lower end, (share of runs below the target, mean precision, share without one)."""
    rng = np.random.default_rng(seed)
    worth = {"estimate": [], "lower end": []}
    for _ in range(runs):
        scores, is_right, leaf = study(rng, leaves=leaves, rows=rows, skew=skew)
        cuts = np.unique(np.quantile(scores, np.linspace(0, 1, 200), method="lower"))
        found = clustered_shares(total(sums_of(*at_cuts(scores, is_right, leaf, cuts, leaves))), confidence=0.95)
        for name, precision in (("estimate", found.value), ("lower end", found.low)):
            worth[name].append(float(least_strict(cuts, precision, target_precision=target)))
    return {name: _kept_promises(np.array(found), target) for name, found in worth.items()}


def _kept_promises(thresholds, target):
    there = thresholds[np.isfinite(thresholds)]
    precisions = np.array([true_precision(one) for one in there])
    return float((precisions < target).mean()), float(precisions.mean()), 1 - len(there) / len(thresholds)


def carried_coverage(runs, *, target=0.85, leaves=54, rows=30, seed=3):
    """Share of the runs whose interval of the carried precision holds the true precision of the threshold."""
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(runs):
        row = audit_rows(table(*study(rng, leaves=leaves, rows=rows, skew=0.0)), target_precision=target, confidence=0.95).scorers.row(0, named=True)
        if row["carried_precision"] is not None and row["threshold"] is not None:
            held.append(row["carried_precision_low"] <= true_precision(row["threshold"]) <= row["carried_precision_high"])
    return float(np.mean(held))


def main(runs):
    print("pooled AUC, mean leaf AUC, precision")
    for leaves, rows, skew in ((54, 30, 0.0), (54, 100, 0.0), (54, 60, 0.8), (15, 60, 0.0), (15, 60, 0.8), (117, 17, 0.8)):
        print(leaves, rows, skew, coverage(runs, leaves=leaves, rows=rows, skew=skew))
    print("one leaf")
    for rights, wrongs, gain in ((20, 10, 1.5), (5, 5, 1.5), (100, 40, 1.5), (20, 3, 2.5), (30, 10, 0.0)):
        print(rights, wrongs, gain, leaf_coverage(runs, rights=rights, wrongs=wrongs, gain=gain))
    print("below the target, mean true precision, without a threshold")
    for leaves, rows, skew in ((54, 30, 0.0), (54, 60, 0.8), (15, 60, 0.0)):
        print(leaves, rows, skew, promises(runs // 4, leaves=leaves, rows=rows, skew=skew))
    print("carried precision", carried_coverage(runs // 4))


if __name__ == "__main__":
    main(int(sys.argv[1]))
