"""Trains one student: a recipe's tokens, one seed; and one on each nested part of them that train.sizes names.

A killed run goes on from its last checkpoints.
"""

from dataclasses import replace
from pathlib import Path

import polars

from espalier.checkpoints import checkpoint_folder, drop_checkpoints
from espalier.forecast import memory_words, run_words
from espalier.io import file_digest, write_json, write_rows
from espalier.launch import is_launched, is_main, launch, process_counts
from espalier.log import say
from espalier.model import build_model, save_model
from espalier.nested import count_text_tokens, nested_parts
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
    settings, out = params.train, Path("data/train") / recipe / seed
    if settings.processes > 1 and not is_launched():
        return launch("stages.train", [recipe, seed], processes=settings.processes)
    data = load_packed(Path("data/tokens") / recipe, by_branch=bool(settings.phases))
    parts = dict(zip(settings.sizes, nested_parts(data, settings.sizes, seed=int(seed)), strict=True))
    run, numbers = _train(replace(settings, sizes=()), recipe, seed, data, out)
    runs, sizes = [run], [_size(1.0, data, numbers)]
    for share, part in parts.items():
        run, found = _train(_part_of(settings, share, len(part.tokens_NT) / len(data.tokens_NT)), recipe, seed, part, out / "sizes" / f"{share:g}")
        runs, sizes = [*runs, run], [*sizes, _size(share, part, found)]
    if not is_main():
        return None
    if parts:
        write_rows(out / "sizes.parquet", polars.DataFrame(sizes).sort("share"))
    write_json(f"metrics/train/{recipe}/{seed}.json", {"train": {recipe: {seed: numbers}}})
    for run in runs:  # not before: DVC empties the outs of a killed stage, and a student that was done is then made again from its last checkpoint
        drop_checkpoints(run)


def _part_of(settings, share, exact_share):
    """The settings for a part of the text: as many epochs as the whole has. exact_share: of the sequences, of which a part has a whole number."""
    tokens = max(round(exact_share * settings.optimizer.tokens), settings.optimizer.batch_tokens)
    return replace(settings, sizes=(share,), optimizer=replace(settings.optimizer, tokens=tokens))


def _size(share, data, numbers):
    """A row of sizes.parquet. text_tokens: of the documents; tokens: seen in training."""
    counts = {"share": share, "sequences": len(data.tokens_NT), "text_tokens": count_text_tokens(data)}
    return counts | {name: numbers[name] for name in ("tokens", "loss_nats")}


def _train(settings, recipe, seed, data, out):
    """Train one student; the folder of its checkpoints, and its numbers."""
    source, (n, length) = Path("data/tokens") / recipe, data.tokens_NT.shape
    chat, shape = load_chat(source), SIZES[settings.size]
    check_data(data, vocabulary=chat.size, context_tokens=shape.context_tokens)
    log = _begin(settings, data, chat, shape, out=out)
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
    flops = curve[-1].tokens * train_flops(shape, chat.size, length)
    numbers = train_metrics(curve, epoch_tokens=n * length) | {"parameters": count_parameters(shape, chat.size), "flops": flops}
    if is_main():
        save_chat(chat, out / "model", context_tokens=shape.context_tokens)
        write_rows(out / "curve.parquet", polars.DataFrame([{"tokens": step.tokens, "loss_nats": step.loss_nats} for step in curve]))
        say(f"train: last loss {numbers['loss_nats']:.3f} nats after {numbers['tokens']:,} tokens ({numbers['epochs']:.1f} epochs) -> {out}")
    return run, numbers


def _begin(settings, data, chat, shape, *, out):
    """Say what the run will take, and give it its log."""
    (n, length), (processes, here), precision = data.tokens_NT.shape, process_counts(), pick_precision(settings.precision)
    about = {"sequence": length, "processes": processes, "precision": precision, "room_bytes": room_bytes(here)}
    place, flops = out.relative_to("data/train"), train_flops(shape, chat.size, length)
    recipe, seed, *_ = place.parts
    say(
        f"train: {count_parameters(shape, chat.size):,} parameters on {n * length:,} packed tokens of {recipe}, seed {seed}, "
        f"{settings.optimizer.tokens:,} tokens in all"
    )
    say(f"train: {run_words(settings.optimizer, shape, chat.size, sequence=length)}; memory: {memory_words(settings, shape, chat.size, **about)}")
    log = {"flops_token": flops, "precision": precision, "processes": processes, "live": Path("runs/live/train") / place}
    return TrainingLog(f"train@{'-'.join(place.parts)}", settings.optimizer, **log)


if __name__ == "__main__":
    main()
