"""Sets every recipe beside the baseline, with intervals, its cost, and where sizes were trained k(loss); writes the tables of the report and of `dvc plots`."""

import io
from pathlib import Path

import polars

from espalier.compare import accuracy_by_leaf, accuracy_by_split, compare_arms, comparison_metrics
from espalier.costs import cost_metrics, cost_of, cost_table, cost_words
from espalier.io import read_json, read_rows, write_json, write_rows, write_text
from espalier.log import say
from espalier.plot_tables import leaf_shares, loss_curves
from espalier.ranges import STEPS
from espalier.stage import stage
from espalier.worth import compare_worth, learning_curves, lowest, worth_metrics, worth_words

OUT = Path("data/compare")


@stage("compare", reads=("seed", "study", "teacher.skew", "compare", "train.sizes"))
def main(params):
    """Compare the recipes of the study."""
    study, settings = params.study, params.compare
    arms = [(recipe, seed) for recipe in study.recipes for seed in study.seeds]
    leaves = read_rows("data/taxonomy/leaves.parquet")
    items = {(recipe, seed): read_rows(f"data/evaluate/{recipe}/{seed}/items.parquet") for recipe, seed in arms}
    options = {"baseline": study.baseline, "skew": params.teacher.skew, "draws": settings.draws, "confidence": settings.confidence, "seed": params.seed}
    table = compare_arms(items, leaves, **options)
    mixes = {recipe: read_rows(f"data/mix/{recipe}/rows.parquet") for recipe in study.recipes}
    costs = cost_table([_cost(recipe, mixes[recipe], study.seeds) for recipe in study.recipes], baseline=study.baseline)
    by_size = {arm: read_rows(f"data/evaluate/{arm[0]}/{arm[1]}/sizes.parquet") for arm in arms} if params.train.sizes else {}
    worth = compare_worth(by_size, leaves, **options)
    tables = {
        "table": table,
        "leaves": accuracy_by_leaf(items, leaves),
        "splits": accuracy_by_split(items),
        "coverage": leaf_shares(mixes, leaves),
        "curves": loss_curves({arm: read_rows(f"data/train/{arm[0]}/{arm[1]}/curve.parquet") for arm in arms}),
        "costs": costs,
        "sizes": learning_curves(by_size, leaves, skew=params.teacher.skew),
        "worth": worth,
    }
    for name, rows in tables.items():
        write_rows(OUT / f"{name}.parquet", rows)
    for name in ("leaves", "coverage", "curves"):  # dvc plots reads csv
        write_text(OUT / f"{name}.csv", _csv(tables[name]))
    numbers = comparison_metrics(table)
    for added in (cost_metrics(costs, baseline=study.baseline), worth_metrics(worth)):
        for recipe, more in added.items():
            numbers[recipe] |= more
    write_json("metrics/compare.json", {"compare": numbers})
    for recipe in study.recipes:
        if recipe != study.baseline:
            _tell(recipe, study.baseline, table, costs, worth if by_size else None)


def _cost(recipe, mix, seeds):
    """What the stages counted; rows that are not the recipe's own have no generation steps here (studies/filters), and an endpoint tells no parameters."""
    students = [read_json(f"metrics/train/{recipe}/{seed}.json")["train"][recipe][str(seed)] for seed in seeds]
    files = [Path(f"metrics/{step}/{recipe}.json") for step in STEPS]
    steps = [read_json(file)[step][recipe] for step, file in zip(STEPS, files, strict=True)] if any(file.is_file() for file in files) else []
    teacher = Path("metrics/teacher.json")
    parameters = read_json(teacher)["teacher"].get("parameters") if teacher.is_file() else None
    return cost_of(recipe, tokens=int(mix["tokens"].sum()), students=students, steps=steps, teacher_parameters=parameters)


def _tell(recipe, baseline, table, costs, worth):
    """What was found of a recipe, never without at which cost. worth: None where no sizes were trained."""
    for row in table.filter(outcome="accuracy", recipe=recipe).iter_rows(named=True):
        say(
            f"compare: {recipe} against {baseline}, {row['weighting']} accuracy: {row['difference']:+.1%} "
            f"({row['low']:+.1%} .. {row['high']:+.1%}), {row['verdict']}"
        )
    say(f"compare: {recipe} against {baseline}, cost: {cost_words(costs.row(by_predicate=polars.col('recipe') == recipe, named=True))}")
    for weighting in ("macro", "natural") if worth is not None else ():
        say(f"compare: {recipe} against {baseline}, {weighting}: {worth_words(lowest(worth, recipe, weighting), baseline)}")


def _csv(rows: polars.DataFrame) -> str:
    buffer = io.StringIO()
    rows.write_csv(buffer, float_precision=5)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
