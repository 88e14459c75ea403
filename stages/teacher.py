"""Trains the built-in teacher on the world's seed examples, or pins an outside model or endpoint so that a changed one reruns generation."""

from pathlib import Path

import polars

from espalier.checkpoints import checkpoint_folder, drop_checkpoints
from espalier.forecast import run_words
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.log import say
from espalier.model import save_model
from espalier.prompts import Prompt
from espalier.ranges import STEPS
from espalier.seeds import digest
from espalier.sizes import count_parameters, shape_of, train_flops
from espalier.stage import stage
from espalier.teacher import build_teacher, corpus_metrics
from espalier.teachers.key import read_key
from espalier.teachers.pin import fingerprint, pin_served, pin_teacher
from espalier.teachers.server import ask_served
from espalier.teachers.weights import count_stored_parameters
from espalier.tokens import load_chat, save_chat
from espalier.train import Checkpoints, pick_precision
from espalier.training_log import TrainingLog

MODEL, OUT = Path("models/teacher"), Path("data/teacher")


@stage("teacher", reads=("seed", "teacher", "server", "recipes"))
def main(params):
    """Make the teacher that all recipes ask."""
    settings, server = params.teacher, params.server
    if settings.engine == "server":
        served = ask_served(server, key=read_key(server.key_variable))
        pinned = pin_served(settings.path, served)
        load_chat(Path(pinned["path"]), extend=True)  # what mix and tokens will read
        _pin(pinned, f"{server.model} behind {len(server.urls)} URL(s)", {"context_tokens": served.get("max_model_len", 0)})
        return
    if settings.path != "built-in":
        pinned = pin_teacher(settings.path)
        _pin(pinned, settings.path, {"bytes": pinned["bytes"], "parameters": count_stored_parameters(Path(pinned["path"]))})
        return
    built = _train(params)
    save_model(built.model, MODEL)
    save_chat(built.chat, MODEL, context_tokens=settings.model.context_tokens)
    write_rows(OUT / "curve.parquet", polars.DataFrame([{"tokens": step.tokens, "loss_nats": step.loss_nats} for step in built.curve]))
    last = [step.loss_nats for step in built.curve[-50:]]
    numbers = {"parameters": count_parameters(shape_of(settings.model), built.chat.size), "loss_nats": sum(last) / len(last)}
    write_json("metrics/teacher.json", {"teacher": numbers | corpus_metrics(built)})
    say(f"teacher: {numbers['parameters']:,} parameters, last loss {numbers['loss_nats']:.3f} nats, fingerprint {fingerprint(MODEL)} -> {MODEL}")


def _pin(pinned, what, numbers):
    write_json(MODEL / "pin.json", pinned)
    write_rows(OUT / "curve.parquet", polars.DataFrame(schema={"tokens": polars.Int64, "loss_nats": polars.Float64}))
    write_json("metrics/teacher.json", {"teacher": numbers})
    say(f"teacher: {what} is pinned with fingerprint {pinned['fingerprint']} -> {MODEL}")


def _train(params):
    leaves = read_rows("data/taxonomy/leaves.parquet")
    items, seeds = read_rows("data/exam/items.parquet"), read_rows("data/exam/reference.parquet")
    prompts = {name: Prompt.from_json(value) for name, value in read_json("data/taxonomy/prompts.json").items()}
    recipes = [[prompts[recipe.steps[step]] for step in STEPS if step in recipe.steps] for recipe in params.recipes.values()]
    held_out = frozenset(items["problem_key"]) | frozenset(seeds["problem_key"])
    settings = params.teacher
    run = checkpoint_folder("teacher", digest(params.seed, settings, recipes, sorted(held_out)))

    def log(vocabulary):
        shape, length = shape_of(settings.model), settings.model.context_tokens
        say(f"teacher: {count_parameters(shape, vocabulary):,} parameters, {run_words(settings.optimizer, shape, vocabulary, sequence=length)}")
        flops, precision = train_flops(shape, vocabulary, length), pick_precision("auto")
        return TrainingLog("teacher", settings.optimizer, flops_token=flops, precision=precision, processes=1, live=Path("runs/live/teacher"))

    ranks = dict(leaves.select("verifier", "rank").iter_rows())
    built = build_teacher(recipes, ranks, held_out, settings, seed=params.seed, checkpoints=Checkpoints(run, 500), log=log)
    drop_checkpoints(run)
    return built


if __name__ == "__main__":
    main()
