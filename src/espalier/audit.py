"""The filter audit: where a verifier knows the truth, how well does every other scorer tell right from wrong, and which threshold keeps a promise?

Reads scored rows; judges by those that are finished, have a leaf and are called right or wrong. Gives three tables: scorers, scorers x leaves, thresholds.
Beside the verifier this is the only place that reads verdicts to choose by; `filter` gets the thresholds alone.

The threshold of a scorer is the least strict one at which the lower end of the precision's interval (clustered by leaf, pooled over the verified
leaves) reaches the target. The lower end and not the estimate: the least strict of many noisy estimates that reach a target is a lucky one (LOG.md has the
numbers). A leaf without a verifier gets the same threshold, marked `carried`. What it is worth there is measured by leaving out one leaf at a time: the
others set the threshold, and it is judged on the left-out leaf (`carried_precision`).

Scores are those of `scorers.table.goodness`, so every threshold reads "keep what is at least this". A row on which a scorer is silent is not kept: it lowers
recall, and takes no part in the AUC.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from espalier.auc import Estimate, auc, auc_interval, clustered_auc, mean_auc
from espalier.clustered import Shares, Sums, clustered_shares, sums_of, total, wilson
from espalier.scorers.table import SCORERS, goodness, wanted_columns

MOST_CUTS = 1000  # thresholds tried, at quantiles of the scores where there are more; a finer one moves the kept share by less than 0.1 %
IN_METRICS = ("vote", "teacher_leaf", "loss_leaf", "ifd_leaf", "neighbours", "learned", "heuristics")  # all scorers stand in the tables
OWN, CARRIED = "own", "carried"

Floats = NDArray[np.float64]

_MEASURES = tuple(f"{name}{end}" for name in ("auc", "precision", "recall") for end in ("", "_low", "_high"))
_MORE = tuple(f"{name}{end}" for name in ("leaf_auc", "carried_precision") for end in ("", "_low", "_high"))
LEAF_SCHEMA = {"scorer": pl.String, "leaf": pl.String, "rows": pl.Int64, "right": pl.Int64} | dict.fromkeys(_MEASURES, pl.Float64)
SCORER_SCHEMA = {"scorer": pl.String, "rows": pl.Int64, "right": pl.Int64, "leaves": pl.Int64, "leaves_both": pl.Int64} | dict.fromkeys(
    ("threshold", "cut", *_MEASURES, *_MORE), pl.Float64
)
THRESHOLD_SCHEMA = {"scorer": pl.String, "leaf": pl.String, "threshold": pl.Float64, "source": pl.String}


@dataclass(frozen=True, slots=True)
class Audit:
    """scorers: a row for each scorer that speaks, pooled. leaves: scorer x verified leaf. thresholds: scorer x any leaf. Null: could not be measured.

    rows: on which the scorer speaks; right: of these; leaves_both: leaves with both kinds. auc, precision, recall with _low and _high. leaf_auc: mean of the
    leaves' AUCs. threshold: null where none reaches the target. cut: what precision and recall were taken at, the threshold, or else what comes nearest to the
    target. carried_precision: of the threshold on leaves that did not set it. source: own (the leaf's rows helped to set the threshold) or carried.
    """

    scorers: pl.DataFrame
    leaves: pl.DataFrame
    thresholds: pl.DataFrame


def audit_rows(frame: pl.DataFrame, *, target_precision: float, confidence: float) -> Audit:
    """Audit every scorer but the verifier that speaks on at least one verified row, in the order of SCORERS."""
    known = verified(frame)
    every_leaf = frame["delivered_leaf"].unique().sort().to_list()
    pooled, by_leaf, limits = [], [], []
    for name in _speaking(known):
        row, leaf_rows = _audit_scorer(known, name, target_precision=target_precision, confidence=confidence)
        pooled.append(row)
        by_leaf += leaf_rows
        own = {one["leaf"] for one in leaf_rows}
        limits += [{"scorer": name, "leaf": leaf, "threshold": row["threshold"], "source": OWN if leaf in own else CARRIED} for leaf in every_leaf]
    return Audit(_table(pooled, SCORER_SCHEMA), _table(by_leaf, LEAF_SCHEMA), _table(limits, THRESHOLD_SCHEMA))


def verified(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows whose truth is known: finished, of a leaf, called right or wrong."""
    return frame.filter((pl.col("status") == "ok") & pl.col("verdict").is_in(["right", "wrong"]) & (pl.col("delivered_leaf") != ""))


def audit_metrics(frame: pl.DataFrame, audit: Audit) -> dict[str, float]:
    """Counts of what could be audited, and the pooled AUC of the scorers IN_METRICS as far as they were measured; zeros for no verified rows."""
    known = verified(frame)
    both = known.group_by("delivered_leaf").agg(kinds=pl.col("verdict").n_unique()).filter(pl.col("kinds") == 2).height
    aucs = dict(audit.scorers.select("scorer", "auc").iter_rows())
    return {
        "rows_verified": known.height,
        "leaves_verified": known["delivered_leaf"].n_unique(),
        "leaves_both": both,
        "right_share": known.filter(pl.col("verdict") == "right").height / max(known.height, 1),
        "scorers_at_target": audit.scorers["threshold"].count(),
        **{f"auc_{name}": aucs[name] for name in IN_METRICS if aucs.get(name) is not None},
    }


def least_strict(cuts: Floats, precision_low: Floats, *, target_precision: float) -> Floats:
    """The lowest of the rising cuts at which the lower end of the precision reaches the target; NaN where none does. precision_low: (..., cuts)."""
    reaches = precision_low >= target_precision
    return np.where(reaches.any(axis=-1), cuts[reaches.argmax(axis=-1)], np.nan)


def _speaking(known: pl.DataFrame) -> list[str]:
    there = [name for name in SCORERS if name != "verifier" and set(wanted_columns(name)) <= set(known.columns)]
    return [name for name in there if goodness(known, name).count() > 0]


def _audit_scorer(known: pl.DataFrame, name: str, *, target_precision: float, confidence: float) -> tuple[dict[str, object], list[dict[str, object]]]:
    """The pooled row of a scorer and its rows by leaf."""
    score = goodness(known, name)
    leaves, leaf_index = np.unique(known["delivered_leaf"].to_numpy(), return_inverse=True)
    is_right = (known["verdict"] == "right").to_numpy()
    speaks = score.is_not_null().to_numpy()
    scores = score.filter(score.is_not_null()).to_numpy()
    right, place = is_right[speaks], leaf_index[speaks]
    cuts = _cuts(scores)
    hits, trials = (_at_least(cuts, scores[mask], place[mask], len(leaves)) for mask in (right, np.ones_like(right)))
    each = sums_of(hits, trials)
    low = clustered_shares(total(each), confidence=confidence).low
    threshold = float(least_strict(cuts, low, target_precision=target_precision))
    cut = float(cuts[np.argmax(low)]) if np.isnan(threshold) else threshold
    by_leaf = _leaf_rows(scores, right, place, np.bincount(leaf_index[is_right], minlength=len(leaves)), cut=cut, confidence=confidence)
    counts = {
        "scorer": name, "rows": len(scores), "right": int(right.sum()), "leaves": len(by_leaf),
        "leaves_both": sum(row["auc"] is not None for row in by_leaf), "threshold": threshold, "cut": cut,
    }  # fmt: skip
    aucs = np.array([row["auc"] for row in by_leaf if row["auc"] is not None])
    _, dense = np.unique(place, return_inverse=True)
    pooled = {
        **_ends("auc", clustered_auc(scores, right, leaf_index=dense, confidence=confidence)),
        **_ends("leaf_auc", mean_auc(aucs, confidence=confidence)),
        **_kept(scores, right, place, leaf_index[is_right], cut=cut, n_leaves=len(leaves), confidence=confidence),
    }
    if not np.isnan(threshold):
        carried = _carried(scores, right, place, cuts, each, target_precision=target_precision, confidence=confidence)
        pooled |= _share_ends("carried_precision", carried)
    return counts | pooled, [{"scorer": name, "leaf": leaves[row.pop("place")], **row} for row in by_leaf]


def _leaf_rows(
    scores: Floats, right: NDArray[np.bool_], place: NDArray[np.int64], rights: NDArray[np.int64], *, cut: float, confidence: float
) -> list[dict[str, object]]:
    """A row for each leaf in which the scorer speaks; rights: right rows by leaf, the unscored ones too. Rows of a leaf count as independent."""
    rows = []
    for leaf in np.unique(place):
        inside = place == leaf
        kept = inside & (scores >= cut)
        n, n_right = int(inside.sum()), int((inside & right).sum())
        value = auc(scores[inside], right[inside])
        ends = auc_interval(value, rights=n_right, wrongs=n - n_right, confidence=confidence) if value is not None else None
        hits = np.array([float((kept & right).sum())])
        row = {"place": leaf, "rows": n, "right": n_right, **_ends("auc", Estimate(value, *ends) if ends else None)}
        for measure, trials in (("precision", kept.sum()), ("recall", rights[leaf])):
            row |= _share_ends(measure, wilson(hits, np.array([float(trials)]), confidence=confidence))
        rows.append(row)
    return rows


def _kept(
    scores: Floats, right: NDArray[np.bool_], place: NDArray[np.int64], right_leaves: NDArray[np.int64], *, cut: float, n_leaves: int, confidence: float
) -> dict[str, float | None]:
    """Precision and recall of a cut over all leaves."""
    kept = scores >= cut
    hits, chosen, rights = (np.bincount(where, minlength=n_leaves).astype(float) for where in (place[kept & right], place[kept], right_leaves))
    found = {name: clustered_shares(total(sums_of(hits, trials)), confidence=confidence) for name, trials in (("precision", chosen), ("recall", rights))}
    return {key: value for name, shares in found.items() for key, value in _share_ends(name, shares).items()}


def _carried(
    scores: Floats, right: NDArray[np.bool_], place: NDArray[np.int64], cuts: Floats, each: Sums, *, target_precision: float, confidence: float
) -> Shares:
    """The precision on every leaf of the threshold that the other leaves set, pooled. each: the (leaves, cuts) sums of what reaches a cut."""
    low = clustered_shares(total(each).without(each), confidence=confidence).low
    thresholds = least_strict(cuts, low, target_precision=target_precision)
    kept = scores >= thresholds[place]
    found, chosen = (np.bincount(place[mask], minlength=len(thresholds)).astype(float) for mask in (kept & right, kept))
    return clustered_shares(total(sums_of(found, chosen)), confidence=confidence)


def _cuts(scores: Floats) -> Floats:
    """The thresholds to be tried, rising: every score there is, or MOST_CUTS of them."""
    distinct = np.unique(scores)
    return distinct if len(distinct) <= MOST_CUTS else np.unique(np.quantile(scores, np.linspace(0, 1, MOST_CUTS), method="lower"))


def _at_least(cuts: Floats, scores: Floats, place: NDArray[np.int64], n_leaves: int) -> Floats:
    """(leaves, cuts) rows that score at least the cut."""
    counts = np.zeros((n_leaves, len(cuts)))
    for leaf in np.unique(place):
        inside = np.sort(scores[place == leaf])
        counts[leaf] = len(inside) - np.searchsorted(inside, cuts, "left")
    return counts


def _ends(name: str, found: Estimate | None) -> dict[str, float | None]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high} if found else dict.fromkeys((name, f"{name}_low", f"{name}_high"))


def _share_ends(name: str, found: Shares) -> dict[str, float | None]:
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: float(np.ravel(value)[0]) for key, value in ends.items()} if np.isfinite(np.ravel(found.value)[0]) else dict.fromkeys(ends)


def _table(rows: list[Mapping[str, object]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema).fill_nan(None)
