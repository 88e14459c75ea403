"""Writes the held-out exam with its gold answers in a file of their own, and reference text for bits per byte."""

from pathlib import Path

from espalier.exam import reference_texts, seed_reference, set_exam, set_seed_exam
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage

OUT = Path("data/exam")


@stage("exam", reads=("seed", "world", "exam", "teacher.skew"))
def main(params):
    """Set the exam: held out by problem key, by wording and by difficulty; in a world without a grammar the held-out seed examples."""
    settings, skew = params.exam, params.teacher.skew
    leaves, seeds = read_rows("data/taxonomy/leaves.parquet"), read_rows("data/taxonomy/seeds.parquet")
    if params.world == "builtin":
        items, gold = set_exam(leaves, seeds, settings, seed=params.seed)
        reference = reference_texts(leaves, items, n=settings.reference_texts, skew=skew, seed=params.seed)
    else:
        items, gold = set_seed_exam(leaves, seeds, seed=params.seed)
        reference = seed_reference(items, gold, n=settings.reference_texts)
    write_rows(OUT / "items.parquet", items)
    write_rows(OUT / "gold.parquet", gold)
    write_rows(OUT / "reference.parquet", reference)
    splits = dict(items.group_by("split").len().sort("split").rows())
    numbers = {f"{split}_items": n for split, n in splits.items()} | {"leaves": items["leaf"].n_unique(), "reference_texts": reference.height}
    write_json("metrics/exam.json", {"exam": numbers})
    say(f"exam: {items.height} items {splits} on {items['leaf'].n_unique()} leaves -> {OUT}")


if __name__ == "__main__":
    main()
