"""Examines one student item by item, measures its bits per byte on reference text, and asks it the tasks of `evaluate.tasks`.

Students of nested parts of its text are measured by the gold answers' losses alone.
"""

from pathlib import Path

import polars

from espalier.evaluate import bits_per_byte, exam_metrics, examine, gold_losses, reference_losses
from espalier.io import read_rows, write_json, write_rows
from espalier.log import say
from espalier.stage import stage
from espalier.stats import weights_by_rank
from espalier.teachers.hf import HfTeacher
from stages._tasks import opened_tasks
from stages._world import read_world


@stage("evaluate", items=("recipe", "seed"), reads=("world", "evaluate", "teacher.skew", "train.sizes"))
def main(params, recipe, seed):
    """Examine a student."""
    settings, exam, out = params.evaluate, Path("data/exam"), Path("data/evaluate") / recipe / seed
    folder = Path("data/train") / recipe / seed / "model"
    with opened_tasks(settings) as ask_tasks:
        student = HfTeacher(folder, batch=settings.batch_items)
        items, gold = read_rows(exam / "items.parquet"), read_rows(exam / "gold.parquet")
        results = examine(student, items, gold, max_tokens=settings.max_tokens, grade=read_world(params).grade)
        losses = reference_losses(student, read_rows(exam / "reference.parquet"))
        task_numbers, task_items = ask_tasks(folder)
    leaves = read_rows("data/taxonomy/leaves.parquet")
    weights = dict(zip(leaves["leaf"], weights_by_rank(leaves["rank"].to_list(), params.teacher.skew), strict=True))
    numbers = exam_metrics(results, weights, bits=bits_per_byte(losses)) | task_numbers
    sizes = _losses_by_size(recipe, seed, results, settings.batch_items) if params.train.sizes else None
    for name, rows in (("items", results), ("reference", losses), ("tasks", task_items), ("sizes", sizes)):
        if rows is not None:
            write_rows(out / f"{name}.parquet", rows)
    write_json(f"metrics/evaluate/{recipe}/{seed}.json", {"evaluate": {recipe: {seed: numbers}}})
    say(f"evaluate: {recipe}, seed {seed}: {numbers['accuracy_macro']:.1%} right, gold loss {numbers['gold_loss_macro_nats']:.3f} nats")


def _losses_by_size(recipe, seed, results, batch):
    """share, text_tokens, item, leaf, gold_loss on the split `key`, of the students of every size, that of the whole text too."""
    exam, trained = Path("data/exam"), Path("data/train") / recipe / seed
    items, gold = read_rows(exam / "items.parquet"), read_rows(exam / "gold.parquet")
    found = []
    for share, tokens in read_rows(trained / "sizes.parquet").select("share", "text_tokens").iter_rows():
        if share < 1:
            losses = gold_losses(HfTeacher(trained / "sizes" / f"{share:g}" / "model", batch=batch), items, gold, split="key")
        else:
            losses = results.filter(polars.col("split") == "key").select("item", "leaf", "gold_loss")
        say(f"evaluate: {recipe}, seed {seed}, {share:g} of the text ({tokens:,} tokens): gold loss {losses['gold_loss'].mean():.3f} nats an item")
        found.append(losses.select(polars.lit(share).alias("share"), polars.lit(tokens).alias("text_tokens"), "item", "leaf", "gold_loss"))
    return polars.concat(found)


if __name__ == "__main__":
    main()
