"""Trains one student: a recipe's tokens, one seed. A killed run goes on from its last checkpoint."""

from pathlib import Path

import polars

from espalier.checkpoints import checkpoint_folder, drop_checkpoints
from espalier.forecast import memory_words, run_words
from espalier.io import file_digest, write_json, write_rows
from espalier.launch import is_launched, is_main, launch, process_counts
from espalier.log import say
from espalier.model import build_model, save_model
from espalier.seeds import digest, number
from espalier.sizes import SIZES, count_parameters, train_flops
from espalier.speed import room_bytes
from espalier.spikes import Watch
from espalier.stage import stage
from espalier.tokens import load_chat, load_packed, save_chat
from espalier.train import Checkpoints, check_data, pick_precision, train_metrics, train_model
from espalier.training_log import TrainingLog


@stage("train", items=("recipe", "seed"), reads=("train",))
def main(params, recipe, seed):
    """Train a student from scratch."""
    settings, source, out = params.train, Path("data/tokens") / recipe, Path("data/train") / recipe / seed
    if settings.processes > 1 and not is_launched():
        return launch("stages.train", [recipe, seed], processes=settings.processes)
    chat, shape = load_chat(source), SIZES[settings.size]
    data = load_packed(source, by_branch=bool(settings.phases))
    check_data(data, vocabulary=chat.size, context_tokens=shape.context_tokens)
    log = _begin(settings, data, chat, shape, recipe=recipe, seed=seed)
    run = checkpoint_folder("train", recipe, seed, digest(settings, file_digest(source / "tokens.npy")))
    model = build_model(shape, vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=number("train", seed) % 2**32)
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    curve = train_model(
        model,
        data,
        settings.optimizer,
        seed=int(seed),
        precision=settings.precision,
        micro_batch=settings.micro_batch,
        sharding=settings.sharding,
        phases=settings.phases,
        watch=Watch(settings.spike_deviations, settings.skip_spikes, log.spike),
        checkpoints=Checkpoints(run, settings.checkpoint_steps),
        progress=log,
    )
    save_model(model, out / "model")
    if not is_main():
        return None
    save_chat(chat, out / "model", context_tokens=shape.context_tokens)
    write_rows(out / "curve.parquet", polars.DataFrame([{"tokens": step.tokens, "loss_nats": step.loss_nats} for step in curve]))
    numbers = train_metrics(curve, epoch_tokens=data.tokens_NT.size) | {"parameters": count_parameters(shape, chat.size)}
    write_json(f"metrics/train/{recipe}/{seed}.json", {"train": {recipe: {seed: numbers}}})
    drop_checkpoints(run)
    say(f"train: last loss {numbers['loss_nats']:.3f} nats after {numbers['tokens']:,} tokens ({numbers['epochs']:.1f} epochs) -> {out}")


def _begin(settings, data, chat, shape, *, recipe, seed):
    """Say what the run will take, and give it its log."""
    (_, length), (processes, here), precision = data.tokens_NT.shape, process_counts(), pick_precision(settings.precision)
    about = {"sequence": length, "processes": processes, "precision": precision, "room_bytes": room_bytes(here)}
    say(
        f"train: {count_parameters(shape, chat.size):,} parameters on {data.tokens_NT.size:,} packed tokens of {recipe}, seed {seed}, "
        f"{settings.optimizer.tokens:,} tokens in all"
    )
    say(f"train: {run_words(settings.optimizer, shape, chat.size, sequence=length)}; memory: {memory_words(settings, shape, chat.size, **about)}")
    flops, live = train_flops(shape, chat.size, length), Path("runs/live/train") / recipe / seed
    return TrainingLog(f"train@{recipe}-{seed}", settings.optimizer, flops_token=flops, precision=precision, processes=processes, live=live)


if __name__ == "__main__":
    main()
