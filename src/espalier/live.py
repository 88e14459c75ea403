"""Live curves of a training, by dvclive: files that `dvc plots show runs/live` and the DVC extension of VS Code draw while it runs. No account is needed.

A point at most every second, from the main process, once a run is 10 s old. The files lie under runs/, which git ignores and no stage declares, for they hold
speeds, which no two runs share; dvc.yaml names the folder among its plots. A resumed run goes on in the files of the one that stopped, less what that one did
after its checkpoint.
dvclive is asked for its files alone: no experiment, no dvc.yaml of its own, nothing added to git or sent to DVC Studio (so neither `next_step` nor `end` is
called, which do that).
"""

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from espalier.log import say

FIRST_S = 10.0  # a run that is over before needs no live curve, and dvclive takes 0.6 s to begin
EVERY_S = 1.0


class LivePlots:
    """Call it after every step; it decides when a point is due. Outside of a DVC repository it writes nothing: dvclive would make one there."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock, self._live, self._due = folder, clock, None, clock() + FIRST_S
        self._on = "DVC_ROOT" in os.environ or Path(".dvc").is_dir()

    def __call__(self, step: int, numbers: Mapping[str, float], *, last: bool) -> None:
        """Note `numbers` at a step (from 1): first after FIRST_S, then every second and at the `last` one. A refused write ends the plots alone."""
        now = self._clock()
        if not self._on or (now < self._due and not (last and self._live)):
            return
        self._due = now + EVERY_S
        try:
            self._live = self._live or _open(self._folder, step)
            self._live.step = step
            for name, value in numbers.items():
                self._live.log_metric(name, value)
        except OSError as error:
            self._on = False
            say(f"train: no more live plots in {self._folder} ({error}); training goes on")


def _open(folder: Path, first_step: int) -> Any:
    """dvclive's Live on a folder that holds the points before `first_step`."""
    try:
        from dvclive import Live
    except ImportError as error:
        raise OSError(f"dvclive is not installed ({error}); pip install -r requirements.txt") from error
    kept = {path: _before(path.read_text(), first_step) for path in folder.glob("plots/metrics/*.tsv")} if first_step > 1 else {}
    os.environ["DVC_STUDIO_OFFLINE"] = "true"  # else a run is announced there by whoever has a token, and never ends
    live = Live(str(folder), save_dvc_exp=False, dvcyaml=None, report=None)
    for path, text in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return live


def _before(text: str, step: int) -> str:
    """The head line of a table and its whole rows of steps before `step`."""
    head, *rows = text.splitlines(keepends=True)
    return head + "".join(row for row in rows if row.endswith("\n") and row.split("\t")[0].isdigit() and int(row.split("\t")[0]) < step)
