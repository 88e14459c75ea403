"""Writes one row for each sample that a recipe is asked for, and the prompts that the recipe uses."""

from pathlib import Path

from espalier.attributes import choose
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.log import say
from espalier.plan import Tables, ask_of, plan_metrics, plan_rows
from espalier.prompts import Prompt
from espalier.stage import stage


@stage("plan", items=("recipe",), reads=("seed", "plan", "gen.round_trip", "recipes.{recipe}"))
def main(params, recipe):
    """Plan a recipe's rows: leaf, attributes, seed examples."""
    settings, out = params.recipes[recipe], Path("data/plan") / recipe
    lists = {name: tuple(values) for name, values in read_json("data/taxonomy/attributes.json").items()}
    attributes = choose(lists, settings.attributes, where=f"params.yaml: recipes.{recipe}")
    known = read_json("data/taxonomy/prompts.json")
    prompts = {step: known[prompt] for step, prompt in settings.steps.items()}
    documents = read_rows("data/taxonomy/documents.parquet")["text"].to_list()
    tables = Tables(read_rows("data/taxonomy/leaves.parquet"), read_rows("data/taxonomy/seeds.parquet"), documents)
    ask = ask_of([Prompt.from_json(prompt) for prompt in prompts.values()])
    rows = plan_rows(recipe, settings, tables, attributes, ask, rows=params.plan.rows, seed=params.seed)
    write_rows(out / "rows.parquet", rows)
    write_json(out / "prompts.json", prompts)
    write_json(out / "round_trip.json", known[params.gen.round_trip] if params.gen.round_trip else {})
    write_json(f"metrics/plan/{recipe}.json", {"plan": {recipe: plan_metrics(rows)}})
    say(f"plan: {rows.height:,} rows for {recipe}, {', '.join(settings.steps)} -> {out}")


if __name__ == "__main__":
    main()
