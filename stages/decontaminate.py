"""Drops samples that leak the exam: by problem key, exact text, or n-gram coverage. Last, because evolution brings leaks back."""

from espalier.decontaminate import decontaminate_metrics, decontaminate_rows
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage


@stage("decontaminate", items=("recipe",), reads=("decontaminate",))
def main(params, recipe):
    """Decontaminate a recipe's rows against the exam."""
    out, settings = f"data/decontaminate/{recipe}", params.decontaminate
    items = read_rows("data/exam/items.parquet")
    kept, dropped = decontaminate_rows(read_rows(f"data/dedup/{recipe}/kept.parquet"), items, settings=settings)
    write_rows(f"{out}/kept.parquet", kept)
    write_rows(f"{out}/dropped.parquet", dropped)
    write_json(f"metrics/decontaminate/{recipe}.json", {"decontaminate": {recipe: decontaminate_metrics(kept, dropped, items, settings=settings)}})
    say(f"decontaminate: {kept.height:,} rows of {recipe} kept, {dropped.height:,} dropped -> {out}")


if __name__ == "__main__":
    main()
