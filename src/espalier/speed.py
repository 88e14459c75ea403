"""How fast a training goes: tokens a second, share of the peak of the hardware (MFU), peak memory.

The peak of a known GPU is the maker's (hardware.py). That of a CPU, or of a card that is in no table, is measured once, before training, by a product of two
large matrices on the threads that training has (0.1 s at 1 thread): MFU is then a share of what this machine's own library reaches.
Source of MFU: PaLM, arXiv 2204.02311, appendix B.
"""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil
import torch

from espalier.hardware import known_peak
from espalier.launch import local_place

MIB = 2**20
WINDOW_S = 10.0  # the rate is that of the last 10 to 20 s
SIZES = {"cpu": 1024, "cuda": 8192}  # of the square matrices that measure a peak
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Pace:
    """tokens_s: tokens a second in all processes; mfu: share of the peak, 0..1; memory_mib: the most that this process held so far (on its card, if any)."""

    tokens_s: float
    mfu: float
    memory_mib: float


class Meter:
    """Call it after every step with the tokens so far; the first call begins the clock, so what a first step takes longer does not count."""

    def __init__(self, flops_token: float, peak_flops: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        """flops_token: operations a token; peak_flops: FLOP/s of all processes together."""
        self._flops_token, self._peak_flops, self._clock = flops_token, peak_flops, clock
        self._marks: list[tuple[float, int]] = []  # (time, tokens): where the window begins, and where the next one will

    def __call__(self, tokens: int) -> Pace:
        """The pace at this step; 0 tokens a second at the first."""
        now = self._clock()
        self._marks = self._marks or [(now, tokens), (now, tokens)]
        if now - self._marks[1][0] >= WINDOW_S:
            self._marks = [self._marks[1], (now, tokens)]
        begin, before = self._marks[0]
        tokens_s = (tokens - before) / (now - begin) if now > begin else 0.0
        return Pace(tokens_s, tokens_s * self._flops_token / self._peak_flops, peak_memory_bytes() / MIB)


def device_peak(precision: str) -> tuple[float, str]:
    """FLOP/s of one process's device, and where the number is from. precision: fp32 or bf16."""
    if _has_card():
        card = torch.cuda.get_device_name()
        if known := known_peak(card, precision):
            return known, f"the peak of {card} by its maker"
    return measure_peak(precision), "the peak measured on this machine"


def measure_peak(precision: str) -> float:
    """FLOP/s of a product of two large square matrices, the best of REPEATS; 2 n^3 operations each."""
    device = "cuda" if _has_card() else "cpu"
    n = SIZES[device]
    matrix_NN = torch.ones(n, n, dtype=torch.bfloat16 if precision == "bf16" else torch.float32, device=device)
    best_s = min(_seconds(matrix_NN) for _ in range(REPEATS))
    return 2 * n**3 / best_s


def room_bytes(processes: int) -> int:
    """Memory that is free now for one of `processes` of this machine: of its card, or its share of the machine's."""
    return torch.cuda.mem_get_info()[0] if _has_card() else psutil.virtual_memory().available // processes


def peak_memory_bytes() -> int:
    """The most that this process held so far: on its card what torch's allocator took, else its resident memory."""
    return torch.cuda.max_memory_reserved() if _has_card() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _has_card() -> bool:
    """Whether there are GPUs; makes this process's own the current one. Asked on the first card, every process would hold some 0.4 GB of it for nothing."""
    if not torch.cuda.is_available():
        return False
    torch.cuda.set_device(local_place())
    return True


def _seconds(matrix_NN: torch.Tensor) -> float:
    begin = time.perf_counter()
    torch.mm(matrix_NN, matrix_NN)
    if matrix_NN.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - begin
