"""What the four generation stages share: the prompt of their step, whom they ask, and their files."""

from dataclasses import dataclass

import polars

from espalier.generate import Sampling, measure
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.ledger import Spent, note_step, off_line, total
from espalier.log import say
from espalier.prompts import Prompt
from espalier.teachers.ask import Asker

READS = ("gen.temperature", "gen.top_p", "gen.max_tokens", "gen.chunk_rows", "teacher.engine", "server", "vllm", "ray")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one recipe. steps: all that the recipe has; prompt: None where this one is none of them."""

    name: str
    recipe: str
    steps: tuple[str, ...]
    prompt: Prompt | None
    sampling: Sampling
    ask: Asker


def open_step(name: str, recipe: str, params) -> Step:
    """A step as the plan and the params want it."""
    prompts = read_json(f"data/plan/{recipe}/prompts.json")
    prompt = Prompt.from_json(prompts[name]) if name in prompts else None
    return Step(name, recipe, tuple(prompts), prompt, Sampling(params.gen, params.seed), Asker(f"{name}@{recipe}", params))


def read_step(step: str, recipe: str) -> polars.DataFrame:
    """The rows that the step before left."""
    return read_rows(f"data/{step}/{recipe}/rows.parquet")


def write_step(step: Step, rows: polars.DataFrame) -> None:
    """Write a step's rows and its metrics, and say how it went."""
    name, recipe = step.name, step.recipe
    write_rows(f"data/{name}/{recipe}/rows.parquet", rows)
    asked, numbers = total(step.ask.calls), measure(rows)
    # By step, unlike spent_tokens, which add up from step to step; equal requests count once, those answered by the cache as if they had been asked.
    write_json(f"metrics/{name}/{recipe}.json", {name: {recipe: numbers | {"read_tokens": asked.prompt_tokens}}})
    if step.prompt is None:
        say(f"{name}: {recipe} has no such step, its {rows.height:,} rows pass")
        return
    told = f"{asked.requests:,} requests, {asked.found:,} from the cache"
    say(f"{name}: {rows.height:,} rows of {recipe}, {numbers['ok_share']:.1%} whole, {told} -> data/{name}/{recipe}")
    note_step(Spent(name, recipe, step.ask.engine, step.ask.fingerprint, rows.height, asked))
    if name == "answer" and (line := off_line(recipe, step.steps)):
        say(line)
