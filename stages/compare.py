"""Sets every recipe beside the baseline, with intervals; writes the tables of the report and of `dvc plots`."""

import io
from pathlib import Path

import polars

from espalier.compare import accuracy_by_leaf, accuracy_by_split, compare_arms, comparison_metrics
from espalier.io import read_rows, write_json, write_rows, write_text
from espalier.log import say
from espalier.plot_tables import leaf_shares, loss_curves
from espalier.stage import stage

OUT = Path("data/compare")


@stage("compare", reads=("seed", "study", "teacher.skew", "compare"))
def main(params):
    """Compare the recipes of the study."""
    study, settings = params.study, params.compare
    arms = [(recipe, seed) for recipe in study.recipes for seed in study.seeds]
    leaves = read_rows("data/taxonomy/leaves.parquet")
    items = {(recipe, seed): read_rows(f"data/evaluate/{recipe}/{seed}/items.parquet") for recipe, seed in arms}
    table = compare_arms(
        items, leaves, baseline=study.baseline, skew=params.teacher.skew, draws=settings.draws, confidence=settings.confidence, seed=params.seed
    )
    tables = {
        "table": table,
        "leaves": accuracy_by_leaf(items, leaves),
        "splits": accuracy_by_split(items),
        "coverage": leaf_shares({recipe: read_rows(f"data/mix/{recipe}/rows.parquet") for recipe in study.recipes}, leaves),
        "curves": loss_curves({arm: read_rows(f"data/train/{arm[0]}/{arm[1]}/curve.parquet") for arm in arms}),
    }
    for name, rows in tables.items():
        write_rows(OUT / f"{name}.parquet", rows)
    for name in ("leaves", "coverage", "curves"):  # dvc plots reads csv
        write_text(OUT / f"{name}.csv", _csv(tables[name]))
    write_json("metrics/compare.json", {"compare": comparison_metrics(table)})
    for row in table.filter((polars.col("outcome") == "accuracy") & (polars.col("recipe") != study.baseline)).iter_rows(named=True):
        say(
            f"compare: {row['recipe']} against {study.baseline}, {row['weighting']} accuracy: {row['difference']:+.1%} "
            f"({row['low']:+.1%} .. {row['high']:+.1%}), {row['verdict']}"
        )


def _csv(rows: polars.DataFrame) -> str:
    buffer = io.StringIO()
    rows.write_csv(buffer, float_precision=5)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
