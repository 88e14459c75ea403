"""Drops samples that leak the exam or a benchmark: by problem key, exact text, or n-gram coverage; lists those that people should look at.

Last, because evolution brings leaks back. Where too many leak it fails after it has written everything, so that the leaks can be looked at.
"""

from espalier.benchmarks import exam_items, read_benchmarks
from espalier.decontaminate import check_leaks, decontaminate_metrics, find_leaks, split_leaks
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage
from espalier.suspects import list_suspects


@stage("decontaminate", items=("recipe",), reads=("decontaminate",))
def main(params, recipe):
    """Decontaminate a recipe's rows against the exam and the benchmarks."""
    out, settings = f"data/decontaminate/{recipe}", params.decontaminate
    benchmarks = read_benchmarks(settings.benchmarks)
    items = exam_items(read_rows("data/exam/items.parquet")).vstack(benchmarks)
    rows = read_rows(f"data/dedup/{recipe}/kept.parquet")
    n = benchmarks["benchmark"].n_unique()
    say(f"decontaminate: {rows.height:,} rows of {recipe} against {items.height:,} items of the exam and {n} benchmarks -> {out}")
    leaks = find_leaks(rows, items, settings=settings)
    kept, dropped = split_leaks(rows, leaks)
    listed = list_suspects(kept, items, settings=settings)
    for name, frame in (("kept", kept), ("dropped", dropped), ("listed", listed)):
        write_rows(f"{out}/{name}.parquet", frame)
    metrics = decontaminate_metrics(kept, dropped, items, leaks=leaks, listed=listed, settings=settings)
    write_json(f"metrics/decontaminate/{recipe}.json", {"decontaminate": {recipe: metrics}})
    check_leaks(rows, leaks, settings=settings, where=out)
    say(f"decontaminate: {kept.height:,} rows of {recipe} kept, {dropped.height:,} dropped, {listed['id'].n_unique():,} listed -> {out}")


if __name__ == "__main__":
    main()
