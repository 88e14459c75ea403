"""Checkpoints of a training run: weights and optimizer state as safetensors, the loss curve as JSON; no pickle.

A checkpoint is a folder that appears under its name when it is whole and on the disk. The two newest are kept; a torn one is passed over for the one before.
"""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from espalier.errors import CorruptInput, DiskFull
from espalier.io import DISK_ERRORS
from espalier.launch import is_main
from espalier.log import say
from espalier.parallel import cut, from_main, in_any, whole

if TYPE_CHECKING:
    from espalier.train import Step

KEPT = 2


def checkpoint_folder(*names: str) -> Path:
    """A run's folder, outside the outs of the pipeline, which DVC empties before a stage runs."""
    return Path(os.environ.get("DVC_ROOT", ".")) / ".espalier" / "checkpoints" / "-".join(names)


def save_checkpoint(folder: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], curve: "Sequence[Step]") -> None:
    """Write the state after `len(curve)` steps; all processes call it, the main one writes. Raises: DiskFull; the checkpoints before stay."""
    weights, state = {name: whole(tensor.detach()).contiguous() for name, tensor in model.named_parameters()}, _state(optimizers)
    if is_main():
        _write(folder, weights, state, curve)


def _write(folder: Path, weights: dict[str, torch.Tensor], state: dict[str, torch.Tensor], curve: "Sequence[Step]") -> None:
    temporary, final = folder / ".writing", folder / f"{len(curve):09d}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(weights, temporary / "model.safetensors")
        save_file(state, temporary / "optimizer.safetensors")
        (temporary / "curve.json").write_text(json.dumps([astuple(step) for step in curve]))
        for file in (*temporary.iterdir(), temporary):  # else a power cut can leave whole headers over empty weights
            _sync(file)
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if getattr(error, "errno", None) in DISK_ERRORS or isinstance(error, SafetensorError):
            raise DiskFull(f"{final}: the disk refused a checkpoint ({error}); free some space and run again, training goes on from the one before") from error
        raise
    for old in sorted(folder.glob("[0-9]*"))[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def latest_checkpoint(folder: Path, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> list[list[float]]:
    """Load the newest checkpoint that all processes can read into model and optimizers, and say which; its curve, empty when there is none.

    All processes call it and go on from the same one. On several nodes `folder` must be a shared one.

    Raises: CorruptInput for a checkpoint of another model.
    """
    for name in from_main([found.name for found in sorted(folder.glob("[0-9]*"), reverse=True)]):
        weights, state, curve, fault = _read(folder / name)
        if in_any(bool(fault)):
            say(f"train: {folder / name} cannot be read ({fault or 'by one of the processes'}); the checkpoint before it is taken, if there is one")
            continue
        _check(folder / name, weights, model)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                parameter.copy_(cut(weights[key].to(parameter.device), parameter))
        _restore(optimizers, state)
        say(f"train: goes on after step {len(curve):,}, from {folder / name}")
        return curve
    return []


def _read(found: Path) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[list[float]], str]:
    """Weights, optimizer state and curve of a checkpoint, and why they cannot be read ("": they can)."""
    try:
        weights, state = load_file(found / "model.safetensors"), load_file(found / "optimizer.safetensors")
        return weights, state, json.loads((found / "curve.json").read_text()), ""
    except (OSError, SafetensorError, ValueError) as error:
        return {}, {}, [], str(error) or type(error).__name__


def _check(found: Path, weights: dict[str, torch.Tensor], model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        held = " x ".join(map(str, weights[name].shape)) if name in weights else "missing"
        wanted = " x ".join(map(str, parameter.shape))
        if held != wanted:
            raise CorruptInput(f"{found}: holds another model ({name} is {held}, here {wanted}); set back what was changed, or remove {found.parent}")


def drop_checkpoints(folder: Path) -> None:
    """Remove a finished run's checkpoints."""
    shutil.rmtree(folder, ignore_errors=True)


def _state(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """The optimizers' tensors as `<optimizer>.<parameter>.<name>`."""
    return {
        f"{place}.{parameter}.{name}": whole(tensor).contiguous()
        for place, optimizer in enumerate(optimizers)
        for parameter, values in optimizer.state_dict()["state"].items()
        for name, tensor in values.items()
    }


def _restore(optimizers: Sequence[torch.optim.Optimizer], state: dict[str, torch.Tensor]) -> None:
    for place, optimizer in enumerate(optimizers):
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        values: dict[int, dict[str, torch.Tensor]] = {}
        for key, tensor in state.items():
            owner, parameter, name = key.split(".", 2)
            if int(owner) == place:
                owned = parameters[int(parameter)]
                values.setdefault(int(parameter), {})[name] = cut(tensor.to(owned.device), owned) if tensor.shape == owned.shape else tensor
        optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
