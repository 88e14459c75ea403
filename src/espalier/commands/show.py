"""`espalier show ID`: everything that is known of one row, from its plan to the mix or to the stage that dropped it. Reads data/ and writes nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from espalier.errors import InputMissing, ParamsError
from espalier.generate import Sampling, start_rows
from espalier.io import read_json, read_rows, read_text
from espalier.lineage import drop_words, find_id, row_lines, score_lines, step_lines, steps_of, vote_line
from espalier.params import FILE, did_you_mean, parse_params
from espalier.prompts import Prompt
from espalier.ranges import STEPS
from espalier.settings import Params

DATA = Path("data")
DROPPING = ("filter", "dedup", "decontaminate")


@click.command()
@click.argument("row_id", metavar="ID")
def show(row_id: str) -> None:
    """Show the whole way of one row. ID: its id or its parent's, or the first 6 characters or more."""
    params = parse_params(read_text(FILE))
    known = _known()
    recipe, root = known[find_id(row_id, known)]
    if recipe not in params.recipes:
        raise ParamsError(f"{FILE}: recipes does not declare {recipe}, which data/plan holds; {did_you_mean(recipe, params.recipes)}")
    rows, absent = _steps(recipe, root)
    for line in _made(recipe, rows, params):
        click.echo(line)
    try:
        if absent:
            raise absent
        for line in _judged(recipe, root):
            click.echo(line)
    except InputMissing as error:  # a pipeline that is half way is no error: what there is has been shown
        click.echo(f"not further      {error}")


def _known() -> dict[str, tuple[str, str]]:
    """Recipe and root id of every id. Raises: InputMissing when nothing has been planned."""
    known = {}
    for file in sorted(DATA.glob("plan/*/rows.parquet")):
        recipe = file.parent.name
        known |= {root: (recipe, root) for root in read_rows(file)["id"]}
        if (evolved := _path("evolve", recipe)).is_file():
            known |= {child: (recipe, root) for child, root in read_rows(evolved).select("id", "root_id").iter_rows()}
    if not known:
        raise InputMissing(f"{DATA / 'plan'}: holds no rows; make them with `dvc repro plan`")
    return known


def _steps(recipe: str, root: str) -> tuple[dict[str, dict[str, Any]], InputMissing | None]:
    """The row as plan and steps left it, as far as there are files, and what is said of the first that is not there."""
    rows = {"plan": start_rows(read_rows(_path("plan", recipe)).filter(root_id=root)).row(0, named=True)}
    for step in STEPS:
        try:
            rows[step] = _row(_path(step, recipe), root)
        except InputMissing as error:
            return rows, error
    return rows, None


def _made(recipe: str, rows: dict[str, dict[str, Any]], params: Params) -> Iterator[str]:
    """How the row was made."""
    prompts = {step: Prompt.from_json(value) for step, value in read_json(DATA / "plan" / recipe / "prompts.json").items()}
    yield from row_lines(list(rows.values())[-1])
    for step in steps_of(rows, prompts, operations=params.recipes[recipe].operations, sampling=Sampling(params.gen, params.seed), heard={}):
        yield from step_lines(step, folder=params.taxonomy.prompts)
    if "answer" in rows and rows["answer"]["answers"]:
        yield vote_line(rows["answer"]["answers"])


def _judged(recipe: str, root: str) -> Iterator[str]:
    """Its scores, and where it ended. Raises: InputMissing where the files end."""
    yield from score_lines(_row(_path("score", recipe), root))
    for stage in DROPPING:
        dropped = read_rows(_path(stage, recipe, "dropped")).filter(root_id=root)
        if dropped.height:
            yield f"ended            {drop_words(stage, dropped.row(0, named=True))}"
            return
        _row(_path(stage, recipe, "kept"), root)
    mixed = read_rows(_path("mix", recipe)).filter(root_id=root)
    if mixed.height:
        yield f"ended            kept in the mix, {mixed['tokens'][0]} tokens"
    else:
        yield "ended            kept by every filter, but the mix was full before its turn"


def _row(path: Path, root: str) -> dict[str, Any]:
    found = read_rows(path).filter(root_id=root)
    if not found.height:
        stage, recipe = path.parts[1:3]
        raise InputMissing(f"{path}: does not hold the row, so it is of another run; make it anew with `dvc repro {stage}@{recipe}`")
    return found.row(0, named=True)


def _path(stage: str, recipe: str, name: str = "rows") -> Path:
    return DATA / stage / recipe / f"{name}.parquet"
