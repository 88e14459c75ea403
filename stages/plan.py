"""Writes one row for each sample that a recipe is asked for, and the prompts that the recipe uses."""

from pathlib import Path

from espalier.attributes import choose
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.log import say
from espalier.plan import plan_metrics, plan_rows
from espalier.stage import stage


@stage("plan", items=("recipe",), reads=("seed", "plan", "recipes.{recipe}"))
def main(params, recipe):
    """Plan a recipe's rows: leaf, attributes, seed examples."""
    settings, out = params.recipes[recipe], Path("data/plan") / recipe
    leaves, seeds = read_rows("data/taxonomy/leaves.parquet"), read_rows("data/taxonomy/seeds.parquet")
    lists = {name: tuple(values) for name, values in read_json("data/taxonomy/attributes.json").items()}
    attributes = choose(lists, settings.attributes, where=f"params.yaml: recipes.{recipe}")
    prompts = read_json("data/taxonomy/prompts.json")
    rows = plan_rows(recipe, settings, leaves, seeds, attributes, rows=params.plan.rows, seed=params.seed)
    write_rows(out / "rows.parquet", rows)
    write_json(out / "prompts.json", {step: prompts[prompt] for step, prompt in settings.steps.items()})
    write_json(f"metrics/plan/{recipe}.json", {"plan": {recipe: plan_metrics(rows)}})
    say(f"plan: {rows.height:,} rows for {recipe}, {', '.join(settings.steps)} -> {out}")


if __name__ == "__main__":
    main()
