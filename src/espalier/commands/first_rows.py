"""The first rows of a plan through all four generation steps, as a run would ask them, and nothing written but the completion cache.

Needs data/taxonomy and models/teacher, and no plan: a recipe that study.recipes does not name yet can be tried too.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars

from espalier.attributes import choose
from espalier.errors import ParamsError
from espalier.evolve import evolve_queries
from espalier.generate import Ask, Sampling, start_rows, write_answers, write_contexts, write_queries
from espalier.io import read_json, read_rows
from espalier.params import FILE, did_you_mean
from espalier.plan import Tables, ask_of, plan_rows
from espalier.prompts import Prompt
from espalier.round_trip import ask_back, check_round_trip
from espalier.settings import Params
from espalier.teachers.base import Completion, Request
from espalier.worlds import open_world

TAXONOMY = Path("data/taxonomy")


@dataclass(frozen=True, slots=True)
class FirstRows:
    """What has become of them: the rows as plan and each step left them, and every completion by its request. round_trip: the prompt of the way back."""

    prompts: Mapping[str, Prompt]
    round_trip: Prompt | None
    operations: Sequence[str]
    sampling: Sampling
    tables: Mapping[str, polars.DataFrame]
    heard: Mapping[Request, Completion]

    def states(self) -> Iterator[dict[str, dict[str, Any]]]:
        """For each row, in the order of the plan, what it was after each step."""
        for states in zip(*(table.sort("index").iter_rows(named=True) for table in self.tables.values()), strict=True):
            yield dict(zip(self.tables, states, strict=True))


def chosen(params: Params, recipe: str | None) -> Sequence[str]:
    """The recipe of an option, or all of the study. Raises: ParamsError for one that is not declared."""
    if recipe is not None and recipe not in params.recipes:
        raise ParamsError(f'--recipe is "{recipe}", which {FILE} does not declare; {did_you_mean(recipe, params.recipes)}')
    return [recipe] if recipe else params.study.recipes


def run_first(recipe: str, params: Params, rows: int, ask: Ask) -> FirstRows:
    """Take the first `rows` rows of a recipe through its steps. Raises: InputMissing, ParamsError, and what `ask` raises."""
    heard: dict[Request, Completion] = {}

    def listen(requests: Sequence[Request]) -> list[Completion]:
        replies = ask(requests)
        heard.update(zip(requests, replies, strict=True))
        return replies

    prompts, operations, sampling = _prompts(params, recipe), params.recipes[recipe].operations, Sampling(params.gen, params.seed)
    round_trip = _round_trip(params)
    known = _read_tables()
    world = open_world(params.world, known.leaves, known.seeds)
    start = start_rows(_plan(params, recipe, known, prompts, rows))
    contexts = write_contexts(start, prompts.get("context"), sampling, listen)
    queries = write_queries(contexts, prompts["query"], sampling, listen, pose=partial(world.pose, seed=params.seed))
    evolved = evolve_queries(queries, prompts.get("evolve"), operations, sampling, listen, world=world)
    answers = ask_back(write_answers(evolved, prompts["answer"], sampling, listen), round_trip, sampling, listen)
    tables = {"plan": start, "context": contexts, "query": queries, "evolve": evolved, "answer": answers}
    return FirstRows(prompts, round_trip, operations, sampling, tables, heard)


def _read_tables() -> Tables:
    documents = read_rows(TAXONOMY / "documents.parquet")["text"].to_list()
    return Tables(read_rows(TAXONOMY / "leaves.parquet"), read_rows(TAXONOMY / "seeds.parquet"), documents)


def _plan(params: Params, recipe: str, known: Tables, prompts: Mapping[str, Prompt], rows: int) -> polars.DataFrame:
    """The first rows of the recipe's plan, as the stage plan writes them."""
    settings = params.recipes[recipe]
    lists = {name: tuple(values) for name, values in read_json(TAXONOMY / "attributes.json").items()}
    attributes = choose(lists, settings.attributes, where=f"{FILE}: recipes.{recipe}")
    return plan_rows(recipe, settings, known, attributes, ask_of(prompts.values()), rows=min(rows, params.plan.rows), seed=params.seed)


def _round_trip(params: Params) -> Prompt | None:
    """The prompt of gen.round_trip. Raises: ParamsError where it cannot serve."""
    if not params.gen.round_trip:
        return None
    known = {name: Prompt.from_json(value) for name, value in read_json(TAXONOMY / "prompts.json").items()}
    check_round_trip(params.gen.round_trip, known)
    return known[params.gen.round_trip]


def _prompts(params: Params, recipe: str) -> dict[str, Prompt]:
    """The recipe's prompts by step. Raises: ParamsError for one that data/taxonomy does not hold."""
    known, steps = read_json(TAXONOMY / "prompts.json"), params.recipes[recipe].steps
    for step, name in steps.items():
        if name not in known:
            raise ParamsError(
                f'{FILE}: recipes.{recipe}.steps.{step} is "{name}", which {TAXONOMY}/prompts.json does not hold; {did_you_mean(name, known)} '
                "(a new file gets there with `dvc repro taxonomy`)"
            )
    return {step: Prompt.from_json(known[name]) for step, name in steps.items()}
