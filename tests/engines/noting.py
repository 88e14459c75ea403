"""What the tests of the engine ray let its workers run: engines that note what they do, die in mid-batch, or hold another model."""

import os
import signal
from pathlib import Path

from espalier.teachers.base import Completion
from espalier.teachers.pin import fingerprint


class Echo:
    """An engine without a model, ready at once."""

    def __init__(self, folder):
        self.fingerprint = fingerprint(folder)

    def generate(self, requests):
        return [Completion(f"reply {request.seed}", "stop", 3, 2, -0.5) for request in requests]


class Other(Echo):
    """An engine whose node sees another model."""

    def __init__(self, folder):
        self.fingerprint = "0" * 32


class Noting:
    """An engine that writes a line (process, node, seed of the first request) for each batch it has done.

    It ends with SIGKILL when it has done the batch that begins with the seed `dies_at`, before that is handed over, the first `deaths` times.
    """

    def __init__(self, folder, *, inside, notes, dies_at=-1, deaths=0):
        import ray

        self._inside, self._notes, self._dies_at, self._deaths = inside(folder), notes, dies_at, deaths
        self._node, self.fingerprint = ray.get_runtime_context().get_node_id(), self._inside.fingerprint

    def generate(self, requests):
        completions, seed = self._inside.generate(requests), requests[0].seed
        with open(self._notes, "a") as notes:
            notes.write(f"{os.getpid()} {self._node} {seed}\n")
        if seed == self._dies_at and [first for _, _, first in read_notes(self._notes)].count(seed) <= self._deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return completions


def read_notes(notes: Path) -> list[tuple[int, str, int]]:
    """(process, node, first seed) of each batch that was done."""
    lines = [line.split() for line in notes.read_text().splitlines()] if notes.is_file() else []
    return [(int(process), node, int(seed)) for process, node, seed in lines]
