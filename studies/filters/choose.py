"""What one arm keeps of the pool, as the stage `filter` would leave it: data/filter/<arm>/kept.parquet and dropped.parquet."""

from dataclasses import replace
from pathlib import Path

import polars

from espalier.filter import filter_metrics, filter_rows
from espalier.io import read_rows, read_text, write_json, write_rows
from espalier.log import say
from espalier.params import load_yaml
from espalier.stage import stage

POOL, ARMS = Path("data/pool/rows.parquet"), Path("arms.yaml")


@stage("choose", items=("recipe",), reads=("seed", "filter"))
def main(params, recipe):
    """Choose an arm's rows."""
    settings = replace(params.filter, **load_yaml(read_text(ARMS), file=str(ARMS))[recipe])
    kept, dropped = filter_rows(read_rows(POOL), settings, seed=params.seed, thresholds=polars.DataFrame())
    out = Path("data/filter") / recipe
    write_rows(out / "kept.parquet", kept)
    write_rows(out / "dropped.parquet", dropped)
    write_json(f"metrics/filter/{recipe}.json", {"filter": {recipe: filter_metrics(kept, dropped, min_leaf_rows=settings.min_leaf_rows)}})
    say(f"choose: {kept.height:,} of {kept.height + dropped.height:,} rows of the pool for {recipe}")


if __name__ == "__main__":
    main()
