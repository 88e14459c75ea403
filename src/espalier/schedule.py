"""How the learning rate moves over a run: a share of its peak for every step. Pure arithmetic.

Both kinds rise linearly at first. `wsd` stays at the peak and falls linearly at the end; `cosine` falls as half a cosine from the warmup on.
Source: warmup-stable-decay, arXiv 2404.06395, section 4; cosine annealing without restarts, arXiv 1608.03983, equation 5.
"""

import math


def schedule(step: int, steps: int, *, warmup: float, decay: float, kind: str) -> float:
    """Share of the peak rate (above 0, at most 1) at `step` (0 .. steps - 1).

    warmup, decay: shares (0..1) of the steps that rise and, with wsd, fall; the last step of either kind is not yet at nothing, so that it still learns.
    """
    rising = (step + 1) / max(warmup * steps, 1)
    return min(1.0, rising, _wsd(step, steps, decay) if kind == "wsd" else _cosine(step, steps, warmup))


def _wsd(step: int, steps: int, decay: float) -> float:
    return (steps - step) / max(decay * steps, 1)


def _cosine(step: int, steps: int, warmup: float) -> float:
    begin = warmup * steps
    return 0.5 * (1 + math.cos(math.pi * max(step - begin, 0) / max(steps - begin, 1)))
