"""`espalier preview`: the first rows of a plan through all four generation steps, printed instead of written.

It asks what a run asks: the plan is prefix-stable, and a request hangs on the row, the step and the seed of params.yaml, and so do its random numbers (one
stream, by counter, for every request). What a preview has asked lies in the completion cache, and a later `dvc repro` finds it there.

What a preview does not promise is the last bit. A run asks `gen.chunk_rows` requests at a time, so that a resumed run puts the same rows into a batch as an
undisturbed one; a preview puts other rows together, and floating-point sums depend on the batch. Where two words are tied to within that rounding, a previewed
row may read differently than it would have without the preview. It is as good a draw, and from then on every run repeats it from the cache.

Needs data/taxonomy and models/teacher, and no plan: a recipe that study.recipes does not name yet can be looked at too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import click
import polars

from espalier.attributes import choose
from espalier.errors import ParamsError
from espalier.evolve import evolve_queries
from espalier.generate import Ask, Sampling, start_rows, write_answers, write_contexts, write_queries
from espalier.io import read_json, read_rows, read_text
from espalier.lineage import row_lines, step_lines, steps_of
from espalier.log import say
from espalier.params import FILE, did_you_mean, parse_params
from espalier.plan import Tables, ask_of, plan_rows
from espalier.prompts import Prompt
from espalier.settings import Params
from espalier.teachers.ask import Asker
from espalier.teachers.base import Completion, Request
from espalier.worlds import World, open_world

TAXONOMY = Path("data/taxonomy")


@click.command()
@click.option("-n", "rows", default=20, show_default=True, type=click.IntRange(1), help="Rows of each recipe.")
@click.option("--recipe", help="One recipe; without it all of study.recipes.")
def preview(rows: int, recipe: str | None) -> None:
    """Ask the run's teacher for the first rows, and print prompts and replies."""
    params = parse_params(read_text(FILE))
    if recipe is not None and recipe not in params.recipes:
        raise ParamsError(f'--recipe is "{recipe}", which {FILE} does not declare; {did_you_mean(recipe, params.recipes)}')
    ask = Asker("preview", params, again="the same command")
    for name in [recipe] if recipe else params.study.recipes:
        _preview(name, params, rows, ask)
    say(f"preview: {ask.asked:,} requests, {ask.found:,} from the cache")


def _preview(recipe: str, params: Params, rows: int, ask: Ask) -> None:
    """Ask and print the first rows of one recipe, in the order of the plan."""
    heard: dict[Request, Completion] = {}

    def listen(requests: Sequence[Request]) -> list[Completion]:
        replies = ask(requests)
        heard.update(zip(requests, replies, strict=True))
        return replies

    prompts, operations, sampling = _prompts(params, recipe), params.recipes[recipe].operations, Sampling(params.gen, params.seed)
    tables = _read_tables()
    world = open_world(params.world, tables.leaves, tables.seeds)
    made = _run_steps(_plan(params, recipe, tables, prompts, rows), prompts, operations, sampling, listen, world)
    for states in zip(*(table.sort("index").iter_rows(named=True) for table in made.values()), strict=True):
        lines = row_lines(states[-1])
        for step in steps_of(dict(zip(made, states, strict=True)), prompts, operations=operations, sampling=sampling, heard=heard):
            lines += step_lines(step, folder=params.taxonomy.prompts)
        click.echo("\n".join([*lines, ""]))


def _read_tables() -> Tables:
    documents = read_rows(TAXONOMY / "documents.parquet")["text"].to_list()
    return Tables(read_rows(TAXONOMY / "leaves.parquet"), read_rows(TAXONOMY / "seeds.parquet"), documents)


def _plan(params: Params, recipe: str, tables: Tables, prompts: Mapping[str, Prompt], rows: int) -> polars.DataFrame:
    """The first rows of the recipe's plan, as the stage plan writes them."""
    settings = params.recipes[recipe]
    lists = {name: tuple(values) for name, values in read_json(TAXONOMY / "attributes.json").items()}
    attributes = choose(lists, settings.attributes, where=f"{FILE}: recipes.{recipe}")
    return plan_rows(recipe, settings, tables, attributes, ask_of(prompts.values()), rows=min(rows, params.plan.rows), seed=params.seed)


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


def _run_steps(
    plan: polars.DataFrame, prompts: Mapping[str, Prompt], operations: Sequence[str], sampling: Sampling, ask: Ask, world: World
) -> dict[str, polars.DataFrame]:
    """The rows as each step leaves them."""
    start = start_rows(plan)
    contexts = write_contexts(start, prompts.get("context"), sampling, ask)
    queries = write_queries(contexts, prompts["query"], sampling, ask, pose=partial(world.pose, seed=sampling.seed))
    evolved = evolve_queries(queries, prompts.get("evolve"), operations, sampling, ask, world=world)
    answers = write_answers(evolved, prompts["answer"], sampling, ask)
    return {"plan": start, "context": contexts, "query": queries, "evolve": evolved, "answer": answers}
