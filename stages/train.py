"""Trains one student: a recipe's tokens, one seed. A killed run goes on from its last checkpoint."""

from pathlib import Path

import numpy
import polars

from espalier.checkpoints import checkpoint_folder, drop_checkpoints
from espalier.io import read_bytes, write_json, write_rows
from espalier.launch import is_launched, is_main, launch
from espalier.log import say
from espalier.model import build_model, save_model
from espalier.progress import Progress
from espalier.seeds import digest, number
from espalier.sizes import SIZES, count_parameters
from espalier.spikes import Watch
from espalier.stage import stage
from espalier.tokens import Packed, load_chat, save_chat
from espalier.train import Checkpoints, check_data, train_metrics, train_model


@stage("train", items=("recipe", "seed"), reads=("train",))
def main(params, recipe, seed):
    """Train a student from scratch."""
    settings, source, out = params.train, Path("data/tokens") / recipe, Path("data/train") / recipe / seed
    if settings.processes > 1 and not is_launched():
        return launch("stages.train", [recipe, seed], processes=settings.processes)
    chat, shape = load_chat(source), SIZES[settings.size]
    data = _load(source, by_branch=bool(settings.phases))
    check_data(data, vocabulary=chat.size, context_tokens=shape.context_tokens)
    run = checkpoint_folder("train", recipe, seed, digest(settings, read_bytes(source / "tokens.npy").hex()))
    model = build_model(shape, vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=number("train", seed) % 2**32)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    parameters = count_parameters(shape, chat.size)
    size, all_tokens = data.tokens_NT.size, settings.optimizer.tokens
    say(f"train: {parameters:,} parameters on {size:,} packed tokens of {recipe}, seed {seed}, {all_tokens:,} tokens in all")
    said = Progress(f"train@{recipe}-{seed}: steps", 0)
    curve = train_model(
        model,
        data,
        settings.optimizer,
        seed=int(seed),
        precision=settings.precision,
        micro_batch=settings.micro_batch,
        sharding=settings.sharding,
        phases=settings.phases,
        watch=Watch(settings.spike_deviations, settings.skip_spikes, _say_spike),
        checkpoints=Checkpoints(run, settings.checkpoint_steps),
        progress=lambda step, steps: said(step.step, f"loss {step.loss_nats:.3f} nats, {step.tokens:,} tokens", total=steps),
    )
    save_model(model, out / "model")
    if not is_main():
        return None
    save_chat(chat, out / "model", context_tokens=shape.context_tokens)
    write_rows(out / "curve.parquet", polars.DataFrame([{"tokens": step.tokens, "loss_nats": step.loss_nats} for step in curve]))
    numbers = train_metrics(curve, epoch_tokens=size) | {"parameters": parameters}
    write_json(f"metrics/train/{recipe}/{seed}.json", {"train": {recipe: {seed: numbers}}})
    drop_checkpoints(run)
    say(f"train: last loss {numbers['loss_nats']:.3f} nats after {numbers['tokens']:,} tokens ({numbers['epochs']:.1f} epochs) -> {out}")


def _load(source, *, by_branch):
    """The packed tokens of a recipe, mapped into memory."""
    names = ("tokens", "documents", "targets", *(("branches",) if by_branch else ()))
    return Packed(*(numpy.load(source / f"{name}.npy", mmap_mode="r") for name in names))


def _say_spike(spike):
    places = ", ".join(map(str, spike.places[:8])) + (" .." if len(spike.places) > 8 else "")
    say(
        f"train: spike at step {spike.step:,}: loss {spike.loss_nats:.3f} nats, gradient norm {spike.gradient_norm:.3g}, "
        f"{spike.deviations:.1f} deviations above the steps before; sequences {places}{'; its update is left out' if spike.skipped else ''}"
    )


if __name__ == "__main__":
    main()
