"""Chooses rows by their scores; keeps the dropped rows with their reasons, and the keep rate of every leaf."""

from espalier.filter import filter_metrics, filter_rows, keep_rates, starved_words
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage


@stage("filter", items=("recipe",), reads=("seed", "filter"))
def main(params, recipe):
    """Choose a recipe's rows by their scores."""
    out = f"data/filter/{recipe}"
    thresholds = read_rows(f"data/audit/{recipe}/thresholds.parquet")
    kept, dropped = filter_rows(read_rows(f"data/score/{recipe}/rows.parquet"), params.filter, seed=params.seed, thresholds=thresholds)
    rates = keep_rates(kept, dropped)
    numbers = filter_metrics(kept, dropped, min_leaf_rows=params.filter.min_leaf_rows)
    write_rows(f"{out}/kept.parquet", kept)
    write_rows(f"{out}/dropped.parquet", dropped)
    write_rows(f"{out}/leaves.parquet", rates)
    write_json(f"metrics/filter/{recipe}.json", {"filter": {recipe: numbers}})
    if starved := starved_words(rates, min_leaf_rows=params.filter.min_leaf_rows):
        say(f"filter: {recipe}: {starved}; raise filter.min_leaf_rows or loosen the filter to keep them")
    topped_up = f" ({numbers['rows_topped_up']:,} of them topped up)" if numbers["rows_topped_up"] else ""
    say(f"filter: {kept.height:,} rows of {recipe} kept{topped_up}, {dropped.height:,} dropped -> {out}")


if __name__ == "__main__":
    main()
