"""Writes one offline HTML page and one figure on the study; it only reads what the stages left."""

import subprocess
from pathlib import Path

from espalier.gather import DROPPING, gather_study
from espalier.io import read_json, read_rows, write_text
from espalier.log import say
from espalier.report import render_report, result_figure
from espalier.stage import stage

OUT = Path("data/report")
TABLES = ("table", "leaves", "splits", "coverage", "curves", "costs", "sizes", "worth")


@stage(
    "report",
    reads=("world", "study", "report", "compare.confidence", "gen.temperature", "plan.rows", "mix.budget_tokens", "filter.kind", "train.optimizer.tokens"),
)
def main(params):
    """Write the report of the study."""
    study = params.study
    shown = {
        "rows asked for, a recipe": params.plan.rows,
        "temperature": params.gen.temperature,
        "filter": params.filter.kind,
        "training text, tokens": params.mix.budget_tokens,
        "training, tokens": params.train.optimizer.tokens,
        "seeds": len(study.seeds),
    }
    dropped = {(recipe, one): read_rows(f"data/{one}/{recipe}/dropped.parquet") for recipe in study.recipes for one in DROPPING}
    page = gather_study(
        world=params.world,
        baseline=study.baseline,
        confidence=params.compare.confidence,
        commit=_commit(),
        params=shown,
        tables={name: read_rows(f"data/compare/{name}.parquet") for name in TABLES},
        mixes={recipe: read_rows(f"data/mix/{recipe}/rows.parquet") for recipe in study.recipes},
        audits={recipe: read_rows(f"data/audit/{recipe}/scorers.parquet") for recipe in study.recipes},
        dropped=dropped,
        metrics={(recipe, one): _metrics(one, recipe) for recipe in study.recipes for one in ("answer", "score", "mix", "diversity", *DROPPING)},
        samples=params.report.samples,
    )
    write_text(OUT / "index.html", render_report(page))
    write_text(OUT / "result.svg", result_figure(page))
    say(f"report: {OUT}/index.html, to be opened in a browser")


def _metrics(one: str, recipe: str) -> dict[str, float]:
    return read_json(f"metrics/{one}/{recipe}.json")[one][recipe]


def _commit() -> str:
    """The short name of the commit that the report is made at, for readers; empty outside git."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()


if __name__ == "__main__":
    main()
