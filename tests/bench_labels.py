"""How many labels the score learned needs: the verdicts of scored rows stand for a reviewer's labels; `python -m tests.bench_labels data/score/lab/rows.parquet`.

For each number of labels, ten draws: the AUC on up to 6,000 rows that the model did not see (mean, standard deviation, lowest). Beside them the best other scorers.
"""

import sys

import numpy as np
import polars as pl

from espalier.auc import auc
from espalier.scorers import learned
from espalier.scorers.logistic import fit_logistic, probabilities
from espalier.scorers.table import goodness

LABELS, DRAWS, MOST = (20, 40, 60, 80, 120, 160, 320, 1000), 10, 6000


def main(file: str) -> None:
    """Print a table."""
    rows = pl.read_parquet(file).filter(pl.col("status") == "ok")
    features, right = learned.features_of(rows), (rows["verdict"] == "right").to_numpy()
    print(f"{file}: {rows.height:,} rows, {right.mean():.3f} right, penalty {learned.PENALTY}")
    for name in ("vote", "entropy", "loss", "ifd", "teacher"):
        values = goodness(rows, name)
        known = values.is_not_null().to_numpy()
        print(f"  {name:8} AUC {auc(values.filter(values.is_not_null()).to_numpy(), right[known]):.3f}")
    for n in LABELS:
        found = [_once(features, right, np.random.default_rng(draw), n) for draw in range(DRAWS)]
        print(f"  {n:5} labels  AUC {np.mean(found):.3f}, sd {np.std(found):.3f}, lowest {min(found):.3f}")


def _once(features, right, rng, n):
    order = rng.permutation(len(right))
    seen, rest = np.sort(order[:n]), np.sort(order[n : n + MOST])
    return auc(probabilities(features[rest], fit_logistic(features[seen], right[seen], penalty=learned.PENALTY)), right[rest])


if __name__ == "__main__":
    main(sys.argv[1])
