"""Tells a step whose loss or gradient norm jumps: how many robust standard deviations it lies above the median of the steps before it. Pure arithmetic.

Robust: the median stands for the mean, and 1.4826 times the median absolute deviation for the standard deviation, so that one spike does not hide the next.
The verdict hangs on the curve alone, which checkpoints hold: a resumed run judges as an undisturbed one.

Source: the idea and the window are SkipStepOptimizer's (allenai/OLMo-core, optim/skip_step_optimizer.py: 128 steps, 6 standard deviations of the plain kind).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

WINDOW = 128  # steps that a step is compared with
LEAST = 64  # fewer say nothing: at the beginning of a run the loss still falls by itself
NORMAL = 1.4826  # the standard deviation of a normal distribution in its median absolute deviations: 1 / 0.6745


@dataclass(frozen=True, slots=True)
class Spike:
    """One jump: its step (from 1), what was seen there, how far above the median in robust standard deviations, and the sequences that the step read."""

    step: int
    loss_nats: float
    gradient_norm: float
    deviations: float
    places: tuple[int, ...]
    skipped: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """What to do about spikes. limit: deviations above which a step is one, 0 for none; skip: its update is left out; report: hears each, in all processes."""

    limit: float
    skip: bool
    report: Callable[[Spike], None]


def find_spike(
    watch: Watch, before: Sequence[tuple[float, float]], *, loss_nats: float, gradient_norm: float, step: int, places: Sequence[int]
) -> Spike | None:
    """The spike that a step is, given (loss, gradient norm) of at most WINDOW steps before it; None for an ordinary one, and after fewer than LEAST.

    Steps that were themselves spikes are among those before, so that a lasting change of level is news for half a window only.
    """
    if not watch.limit or len(before) < LEAST:
        return None
    losses, norms = zip(*before, strict=True)
    worst = max(deviation(losses, loss_nats), deviation(norms, gradient_norm))
    return Spike(step, loss_nats, gradient_norm, worst, tuple(places), watch.skip) if worst > watch.limit else None


def deviation(before: Sequence[float], value: float) -> float:
    """How many robust standard deviations `value` lies above the median of `before`; infinite for what is no number, and above values that are all the same.

    >>> round(deviation([1.0, 2.0, 3.0, 4.0, 5.0], 6.0), 3)  # median 3, deviations 2 1 0 1 2: (6 - 3) / 1.4826
    2.023
    """
    known = [one for one in before if math.isfinite(one)]
    if not math.isfinite(value) or not known:
        return math.inf
    middle = median(known)
    spread = NORMAL * median(abs(one - middle) for one in known)
    return (value - middle) / spread if spread else math.copysign(math.inf, value - middle) if value != middle else 0.0
