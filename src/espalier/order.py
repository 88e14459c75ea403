"""Which sequences a step reads, and in what order: a hash of the seed, the same for any number of processes.

A mix is read epoch by epoch, each shuffled anew. With phases it is read phase by phase, each with a share of what the phases before it read (LAB's replay
buffer). Both have one learning-rate schedule and one token budget, so that one order can be compared with another at equal tokens; LAB itself trains each
phase as a run of its own.

Letters: N sequences of the data, B sequences of a step. Source of the phases: LAB, arXiv 2403.01081, section 3.3.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from espalier.errors import ParamsError
from espalier.ranges import BRANCHES
from espalier.seeds import rng
from espalier.settings import Phase

NO_BRANCH = len(BRANCHES)  # the number of what has no branch: a row whose leaf nobody knows


def branch_number(leaf: str) -> int:
    """The place in BRANCHES of a leaf's branch; NO_BRANCH where there is none.

    >>> branch_number("knowledge/birds/colour"), branch_number("")
    (0, 3)
    """
    branch = leaf.partition("/")[0]
    return BRANCHES.index(branch) if branch in BRANCHES else NO_BRANCH


def mixed_order(n: int, *, rows: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """The B = `rows` sequences of each step: a fresh shuffle each epoch, read on across the end of an epoch."""
    reader = _Reader(np.arange(n), (seed, "order"))
    for _ in range(steps):
        yield reader.take(rows)


def phased_order(branches_N: np.ndarray, phases: Sequence[Phase], *, rows: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """The B = `rows` sequences of each step, phase after phase; a phase has its share of the steps, and of its sequences `replay` come from the phases before.

    branches_N: the branch's number of each sequence; what has no branch is read in the last phase. Replayed sequences are spread evenly over a phase.

    Raises: ParamsError for a phase without sequences or without steps.
    """
    members = [np.flatnonzero(np.isin(branches_N, _numbers(phases, i))) for i in range(len(phases))]
    ends = [round(end * steps) for end in accumulate(phase.share for phase in phases)]
    lengths = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    _check(phases, members, lengths, steps)
    for i, (phase, own, length) in enumerate(zip(phases, members, lengths, strict=True)):
        fresh = _Reader(own, (seed, "order", "phase", i))
        before = _Reader(np.concatenate([np.empty(0, np.int64), *members[:i]]), (seed, "replay", i))
        for step in range(length):
            slots = np.arange(step * rows, (step + 1) * rows)
            again_B = np.floor((slots + 1) * phase.replay + 1e-9) > np.floor(slots * phase.replay + 1e-9)
            places_B = np.empty(rows, dtype=np.int64)
            places_B[again_B], places_B[~again_B] = before.take(int(again_B.sum())), fresh.take(int((~again_B).sum()))
            yield places_B


def part_of(places_B: np.ndarray, process: int, processes: int) -> np.ndarray:
    """The sequences of a step that one process reads; all processes together read each once.

    >>> [part_of(np.arange(6), process, 2).tolist() for process in range(2)]
    [[0, 2, 4], [1, 3, 5]]
    """
    return places_B[process::processes]


class _Reader:
    """Hands out some numbers in an order of its own, again and again, each time shuffled anew."""

    def __init__(self, places: np.ndarray, names: tuple[int | str, ...]) -> None:
        (self._seed, *self._names), self._places = names, places
        self._epoch, self._waiting = 0, np.empty(0, dtype=np.int64)

    def take(self, n: int) -> np.ndarray:
        """The next `n`."""
        assert n == 0 or len(self._places), f"{n} asked of nothing"
        while len(self._waiting) < n:
            self._waiting = np.concatenate([self._waiting, self._places[rng(self._seed, *self._names, self._epoch).permutation(len(self._places))]])
            self._epoch += 1
        taken, self._waiting = self._waiting[:n], self._waiting[n:]
        return taken


def _numbers(phases: Sequence[Phase], i: int) -> list[int]:
    """The numbers of the branches of phase i."""
    return [BRANCHES.index(branch) for branch in phases[i].branches] + ([NO_BRANCH] if i == len(phases) - 1 else [])


def _check(phases: Sequence[Phase], members: Sequence[np.ndarray], lengths: Sequence[int], steps: int) -> None:
    for i, (phase, own, length) in enumerate(zip(phases, members, lengths, strict=True)):
        if not len(own):
            named = ", ".join(phase.branches)
            raise ParamsError(f"params.yaml: train.phases[{i}] reads {named}, of which the training set has no sequence; join it with another phase")
        if not length:
            raise ParamsError(f"params.yaml: train.phases[{i}].share is {phase.share}, no step of {steps}; raise it, or train.optimizer.tokens")
