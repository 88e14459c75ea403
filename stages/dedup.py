"""Drops samples that say the same, exactly or nearly; the best-scored of a cluster stays."""

from espalier.dedup import dedup_metrics, dedup_rows
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage


@stage("dedup", items=("recipe",), reads=("dedup",))
def main(params, recipe):
    """Deduplicate a recipe's rows."""
    out = f"data/dedup/{recipe}"
    kept, dropped = dedup_rows(read_rows(f"data/filter/{recipe}/kept.parquet"), params.dedup)
    write_rows(f"{out}/kept.parquet", kept)
    write_rows(f"{out}/dropped.parquet", dropped)
    write_json(f"metrics/dedup/{recipe}.json", {"dedup": {recipe: dedup_metrics(kept, dropped, params.dedup)}})
    say(f"dedup: {kept.height:,} rows of {recipe} kept, {dropped.height:,} dropped -> {out}")


if __name__ == "__main__":
    main()
