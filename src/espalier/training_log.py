"""What a training says: before the first step what it will take, then log lines, live curves and spikes."""

from pathlib import Path

from espalier.forecast import flop_words
from espalier.launch import is_main
from espalier.live import LivePlots
from espalier.log import say
from espalier.progress import Progress
from espalier.settings import Optimizer
from espalier.speed import Meter, Pace, device_peak
from espalier.spikes import Spike
from espalier.train import Step

MOST_PLACES = 8  # sequences that are named of a step with a spike


class TrainingLog:
    """Call it after every step with its entry of the curve and the number of steps."""

    def __init__(self, what: str, optimizer: Optimizer, *, flops_token: float, precision: str, processes: int, live: Path) -> None:
        """what: the stage with its item, as in `train@lab-1`; flops_token: operations a token; precision: fp32 or bf16; live: folder of the live curves."""
        self._stage, self._optimizer = what.partition("@")[0], optimizer
        peak, source = device_peak(precision)
        say(f"{self._stage}: MFU is the share of {flop_words(processes * peak)}/s in {precision}, {source}")
        self._progress, self._meter = Progress(f"{what}: steps", 0), Meter(flops_token, processes * peak)
        self._live = LivePlots(live) if is_main() else None

    def __call__(self, step: Step, steps: int) -> None:
        """Note a step; a line or a point is written when it is due."""
        pace = self._meter(step.tokens)
        self._progress(step.step, step_words(step, self._optimizer, pace), total=steps)
        if self._live:
            self._live(step.step, _numbers(step, self._optimizer, pace), last=step.step == steps)

    def spike(self, spike: Spike) -> None:
        """Say where a spike was, with its data, so that they can be looked at."""
        places = ", ".join(map(str, spike.places[:MOST_PLACES])) + (" .." if len(spike.places) > MOST_PLACES else "")
        say(
            f"{self._stage}: spike at step {spike.step:,}: loss {spike.loss_nats:.3f} nats, gradient norm {spike.gradient_norm:.3g}, "
            f"{spike.deviations:.1f} deviations above the steps before; sequences {places}{'; its update is left out' if spike.skipped else ''}"
        )


def step_words(step: Step, optimizer: Optimizer, pace: Pace) -> str:
    """A log line's part on a step: tokens, loss, both learning rates, tokens/s, MFU, peak memory. Step, steps and time left stand before it (progress.py)."""
    rates = f"{optimizer.learning_rate * step.rate_share:.2e} and {optimizer.matrix_learning_rate * step.rate_share:.2e}"
    return (
        f"{step.tokens:,} tokens, loss {step.loss_nats:.3f} nats, lr {rates}, {pace.tokens_s:,.0f} tokens/s, MFU {pace.mfu:.1%}, "
        f"peak memory {pace.memory_mib:,.0f} MiB"
    )


def _numbers(step: Step, optimizer: Optimizer, pace: Pace) -> dict[str, float]:
    rate = optimizer.learning_rate * step.rate_share
    return {"loss_nats": step.loss_nats, "gradient_norm": step.gradient_norm, "learning_rate": rate, "tokens_s": pace.tokens_s}
