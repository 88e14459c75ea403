"""`espalier estimate`: what the generation of each recipe will take, from a trial of its first rows with the run's own teacher; --check: how far that was off.

The trial goes through the completion cache, so a later `dvc repro` asks for nothing of it again, with the last-bit caveat of `espalier preview`. Time is fitted
on what was asked anew. Hours are those of asking and of loading the model once a step; the start of a stage (seconds) and the other stages are not in them.
"""

from collections.abc import Sequence

import click

from espalier.commands.first_rows import FirstRows, chosen, run_first
from espalier.errors import InputMissing
from espalier.estimate import Batches, cost_of, fit, point, seconds_of, speed_of_run, sum_of, total_of
from espalier.io import read_text
from espalier.ledger import Asked, Prediction, Range, Speed, last_steps, measured, ratio, read_prediction, total, write_prediction
from espalier.lineage import requests_of
from espalier.log import say
from espalier.params import FILE, parse_params
from espalier.ranges import STEPS
from espalier.round_trip import back_request
from espalier.settings import Params
from espalier.teachers.ask import Asker
from espalier.teachers.base import Completion

HEAD = ("recipe", "rows", "requests", "prompt tokens", "generated tokens", "hours", "kWh", "money")
CHECK_HEAD = ("recipe", "rows", "predicted", "ratio", "tokens", "predicted", "ratio", "hours", "predicted", "ratio")


@click.command()
@click.option("-n", "rows", default=200, show_default=True, type=click.IntRange(16), help="Rows of each recipe that are tried.")
@click.option("--recipe", help="One recipe; without it all of study.recipes.")
@click.option("--check", is_flag=True, help="Try nothing; compare the last estimate with the last run.")
def estimate(rows: int, recipe: str | None, check: bool) -> None:
    """Predict tokens, hours, energy and money of the generation."""
    params = parse_params(read_text(FILE))
    names = chosen(params, recipe)
    if check:
        _print_table([CHECK_HEAD, *(_check_cells(name, list(params.recipes[name].steps)) for name in names)])
        return
    ask = Asker("estimate", params, again="the same command")
    predictions = [_predict(name, params, rows, ask) for name in names]
    for prediction in predictions:
        write_prediction(prediction)
    every = [sum_of(predictions)] if len(predictions) > 1 else []
    _print_table([HEAD, *(_cells(one) for one in [*predictions, *every])])


def _predict(recipe: str, params: Params, rows: int, ask: Asker) -> Prediction:
    """Try the recipe's first rows: few to warm up, a quarter, all; and reckon."""
    rows = min(rows, params.plan.rows)
    trials: list[list[Asked]] = []
    for size in (max(rows // 16, 1), max(rows // 4, 1), rows):
        before = len(ask.calls)
        first = run_first(recipe, params, size, ask)
        trials.append(ask.calls[before:])
    batches = Batches(params.gen.chunk_rows, ask.batch or params.gen.chunk_rows)
    speed = _speed(recipe, params, trials, batches, ask)
    by_row = _completions(first)
    factor, confidence = params.plan.rows / rows, params.compare.confidence
    prompt_tokens, tokens = (
        total_of([sum(getattr(one, name) for one in row) for row in by_row], params.plan.rows, confidence=confidence) for name in ("prompt_tokens", "tokens")
    )
    requests = [call.requests * factor for call in trials[-1]]
    hours = seconds_of(speed, requests, tokens.value, batches) / 3600 if speed else None
    kwh, money = cost_of(hours, prompt_tokens.value, tokens.value, params.estimate) if hours is not None else (None, None)
    return Prediction(
        recipe, params.teacher.engine, ask.fingerprint, params.plan.rows, rows, sum(requests), prompt_tokens, tokens, speed, hours, kwh, money
    )


def _speed(recipe: str, params: Params, trials: Sequence[Sequence[Asked]], batches: Batches, ask: Asker) -> Speed | None:
    """The engine's speed by the trials; where they came from the cache, by the last run or the last estimate with this teacher."""
    _, small, large = (point(trial, batches) for trial in trials)
    if small.tokens or large.tokens:
        load_s = total(ask.calls).load_s
        speed = Speed(load_s, *fit(small, large), "the trial")
        fresh = sum(call.requests - call.found for trial in trials[1:] for call in trial)
        say(f"estimate: {recipe}: {fresh:,} requests anew, {load_s:.1f} s to load, {speed.round_s:.3g} s a batch, {speed.token_s:.3g} s a token")
        return speed
    teacher, spent, before = (params.teacher.engine, ask.fingerprint), last_steps(recipe, list(params.recipes[recipe].steps)), read_prediction(recipe)
    speed = speed_of_run(spent) if spent and (spent[0].engine, spent[0].teacher) == teacher else None
    if speed is None and before and before.speed and (before.engine, before.teacher) == teacher:
        speed = Speed(before.speed.load_s, before.speed.round_s, before.speed.token_s, "an earlier estimate")
    said = f"its speed is that of {speed.source}" if speed else "and no speed of an earlier run is known: try more rows with -n"
    say(f"estimate: {recipe}: the whole trial came from the cache, {said}")
    return speed


def _completions(first: FirstRows) -> list[list[Completion]]:
    """For each row the completions that were asked for it; one that several rows share counts for the first of them."""
    left, by_row = dict(first.heard), []
    for states in first.states():
        steps = zip(("plan", *STEPS), STEPS, strict=False)
        asked = [(step, states[before], states[step], first.prompts.get(step)) for before, step in steps]
        requests = [request for one in asked for request in requests_of(*one, first.operations, first.sampling)]
        requests += [back_request(states["answer"], first.round_trip, first.sampling)] if first.round_trip else []
        by_row.append([reply for request in requests if (reply := left.pop(request, None))])
    return by_row


def _check_cells(recipe: str, steps: Sequence[str]) -> Sequence[str]:
    predicted, spent = read_prediction(recipe), last_steps(recipe, steps)
    if predicted is None:
        raise InputMissing(f"runs/estimate/{recipe}.json: no such file; make it with `espalier estimate --recipe {recipe}`")
    if not spent:
        raise InputMissing(f"runs/generation.jsonl: holds no whole run of {recipe}; make one with `dvc repro answer@{recipe}`")
    found = measured(spent)
    pairs = ((found.rows, predicted.rows), (found.tokens, predicted.tokens.value), (found.hours, predicted.hours))
    return [recipe, *(cell for one, other in pairs for cell in (_number(one), _number(other), ratio(one, other)))]


def _cells(one: Prediction) -> Sequence[str]:
    counts = [_number(one.rows), _number(one.requests), _range(one.prompt_tokens), _range(one.tokens)]
    return [one.recipe, *counts, *(_number(value) for value in (one.hours, one.kwh, one.money))]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _range(one: Range) -> str:
    return f"{one.value:,.0f} ({one.low:,.0f} .. {one.high:,.0f})"


def _print_table(lines: Sequence[Sequence[str]]) -> None:
    wide = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        click.echo("  ".join([f"{first:{wide[0]}}", *(f"{cell:>{width}}" for cell, width in zip(others, wide[1:], strict=True))]))
