"""Measures coverage and wording of a recipe's mix, on a fixed number of words."""

from espalier.diversity import diversity_metrics
from espalier.io import read_json, read_rows, write_json
from espalier.log import say
from espalier.stage import stage


@stage("diversity", items=("recipe",), reads=("seed", "diversity"))
def main(params, recipe):
    """Measure the diversity of a recipe's training set."""
    leaves = read_rows("data/taxonomy/leaves.parquet")["leaf"].to_list()
    rows = read_rows(f"data/mix/{recipe}/rows.parquet")
    attributes = read_json("data/taxonomy/attributes.json")
    numbers = diversity_metrics(rows, leaves=leaves, attributes=attributes, settings=params.diversity, seed=params.seed)
    write_json(f"metrics/diversity/{recipe}.json", {"diversity": {recipe: numbers}})
    say(f"diversity: {recipe} has {numbers['effective_leaves']:.1f} effective leaves of {len(leaves)}, on {numbers['words']:,} words")


if __name__ == "__main__":
    main()
