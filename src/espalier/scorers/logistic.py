"""Logistic regression with a penalty on the squared weights, by L-BFGS. Arrays in, arrays out; no randomness."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
MOST_STEPS = 500


def fit_logistic(features: Any, accepted: Bools, *, penalty: float) -> Floats:
    """Weights that minimise sum ln(1 + exp(-y x.w)) + penalty / 2 |w without bias|^2, y = 1 or -1; the last weight is the bias, which is not penalised.

    features: n x d, sparse. Columns without a value have the weight 0 and cost nothing.
    Source: Bishop 2006, "Pattern Recognition and Machine Learning", section 4.3.2; L-BFGS: Liu & Nocedal 1989.
    """
    from scipy.optimize import minimize

    signs = np.where(accepted, 1.0, -1.0)
    used = np.unique(features.nonzero()[1])
    known = features[:, used]

    def loss(weights: Floats) -> tuple[float, Floats]:
        margins = signs * (known @ weights[:-1] + weights[-1])
        slopes = -signs * _sigmoid(-margins)
        gradient = np.append(known.T @ slopes + penalty * weights[:-1], slopes.sum())
        return float(np.logaddexp(0, -margins).sum() + penalty / 2 * weights[:-1] @ weights[:-1]), gradient

    found = minimize(loss, np.zeros(len(used) + 1), jac=True, method="L-BFGS-B", options={"maxiter": MOST_STEPS, "gtol": 1e-7}).x
    weights = np.zeros(features.shape[1] + 1)
    weights[used], weights[-1] = found[:-1], found[-1]
    return weights


def probabilities(features: Any, weights: Floats) -> Floats:
    """1 / (1 + exp(-(x.w + bias))) of each row, 0..1."""
    return _sigmoid(features @ weights[:-1] + weights[-1])


def _sigmoid(x: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -x))
