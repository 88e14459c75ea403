"""What tests/test_parallel.py starts in several processes: `-m tests.parallel_run FOLDER WORK`, a training of 8 steps whose weights land in FOLDER."""

import contextlib
import os
import resource
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from espalier import checkpoints
from espalier.launch import is_main
from espalier.parallel import whole
from espalier.spikes import LEAST, Watch
from espalier.train import Checkpoints, train_model
from tests.test_train import Stop, corpus, settings, stop_after, tiny

STEPS, EVERY, STOP = 8, 2, 5
SPIKE = LEAST + 2  # the step with a spike, the last of its run
begun = 0  # the first step of the run that goes on


def main(folder: Path, work: str) -> None:
    """work: whole (ddp and fsdp, an fsdp run that stops, and one of each with a spike), killed (ddp, in the middle by SIGKILL), full (ddp, the disk at the second checkpoint),
    resumed (both that stopped, and three that go on from their first checkpoint: one whose second is torn, one where a process cannot read it, one without).
    """
    torch.set_num_threads(1)
    if work == "whole":
        for sharding in ("ddp", "fsdp"):
            run(folder, sharding, name=sharding)
        with contextlib.suppress(Stop):
            run(folder, "fsdp", name="never", checkpoints="fsdp", progress=stop_after(STOP))
        for sharding in ("ddp", "fsdp"):
            run_with_spike(folder, sharding, name=f"{sharding} spiked", sees=not is_main())
    if work == "killed":
        run(folder, "ddp", name="never", checkpoints="ddp", progress=kill_at_stop)
    if work == "full":
        run(folder, "ddp", name="never", checkpoints="full", progress=fill_up)
    if work == "resumed":
        for sharding in ("ddp", "fsdp"):
            run(folder, sharding, name=f"{sharding} resumed", checkpoints=sharding, progress=goes_on)
        for name in ("torn", "full"):
            run(folder, "ddp", name=name, checkpoints=name, progress=goes_on_from_the_first)
        if not is_main():
            checkpoints.load_file = cannot_read
        run(folder, "ddp", name="unread", checkpoints="unread", progress=goes_on_from_the_first)


def run(folder, sharding, *, name, checkpoints=None, progress=lambda step, steps: None):
    """Write weights and losses of a run under its name."""
    model = tiny()
    where = Checkpoints(folder / "checkpoints" / checkpoints, EVERY) if checkpoints else None
    curve = train_model(
        model, corpus(), settings(STEPS, rows=4), seed=1, precision="fp32", checkpoints=where, progress=progress, micro_batch=1, sharding=sharding
    )
    weights = {key: whole(tensor.detach()).clone() for key, tensor in model.named_parameters()}
    if is_main():
        save_file(weights | {"losses": torch.tensor([step.loss_nats for step in curve])}, folder / f"{name}.safetensors")


def run_with_spike(folder, sharding, *, name, sees):
    """Write the weights before and after a step whose loss is blown up and which is left out, when only processes that `sees` find the spike."""
    model, kept, done = tiny(), {}, []

    def progress(step, steps):
        done.append(step.gradient_norm)
        if step.step >= SPIKE - 1:
            kept.update({f"{step.step} {key}": whole(tensor.detach()).clone() for key, tensor in model.named_parameters()})

    def blow_up(module, args, output):
        if len(done) == SPIKE - 1:
            output.loss = 1e6 * output.loss
        return output

    model.register_forward_hook(blow_up)
    watch = Watch(50.0 if sees else 1e30, True, lambda spike: None)
    train_model(
        model, corpus(), settings(SPIKE, rows=2), seed=1, precision="fp32", checkpoints=None, progress=progress, sharding=sharding, watch=watch
    )
    if is_main():
        save_file(kept | {"norms": torch.tensor(done)}, folder / f"{name}.safetensors")


def kill_at_stop(step, steps):
    if step.step == STOP and not is_main():
        os.kill(os.getpid(), signal.SIGKILL)


def fill_up(step, steps):
    if step.step == EVERY + 1 and is_main():
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


def cannot_read(file):
    if file.parent.name == f"{2 * EVERY:09d}":
        raise OSError("stale file handle")
    return load_file(file)


def goes_on_from_the_first(step, steps):
    global begun
    assert (begun := begun or step.step) == EVERY + 1, "the run did not begin at its first checkpoint"
    if step.step == steps:
        begun = 0


def goes_on(step, steps):
    assert step.step >= STOP, "the run did not begin at its checkpoint"


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
