"""Applies the thresholds; keeps the dropped rows with their reasons, and the keep rate of every leaf."""

from espalier.filter import filter_metrics, filter_rows, keep_rates
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage


@stage("filter", items=("recipe",), reads=("seed", "filter"))
def main(params, recipe):
    """Choose a recipe's rows by their scores."""
    out = f"data/filter/{recipe}"
    kept, dropped = filter_rows(read_rows(f"data/score/{recipe}/rows.parquet"), params.filter, seed=params.seed)
    write_rows(f"{out}/kept.parquet", kept)
    write_rows(f"{out}/dropped.parquet", dropped)
    write_rows(f"{out}/leaves.parquet", keep_rates(kept, dropped))
    write_json(f"metrics/filter/{recipe}.json", {"filter": {recipe: filter_metrics(kept, dropped)}})
    say(f"filter: {kept.height:,} rows of {recipe} kept, {dropped.height:,} dropped -> {out}")


if __name__ == "__main__":
    main()
