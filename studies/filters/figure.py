"""The study's figure (figure.svg) and table (table.md), from the tables of `compare` and the metrics of `choose` and `mix`."""

from pathlib import Path

from espalier.io import read_json, read_rows, write_text
from espalier.log import say
from espalier.report import result_figure
from espalier.report.study import LeafShare, Result, Study
from espalier.report.words import difference_words, mean_words, range_words
from espalier.stage import stage


@stage("figure", reads=("study", "compare.confidence"))
def main(params):
    """Draw the study."""
    table, coverage = (read_rows(f"data/compare/{name}.parquet") for name in ("table", "coverage"))
    found = Study(
        title="Filters",
        commit="",
        baseline=params.study.baseline,
        confidence=params.compare.confidence,
        results=tuple(Result(**row) for row in table.to_dicts()),
        coverage=tuple(LeafShare(**row) for row in coverage.select("recipe", "leaf", "share").to_dicts()),
        effective_leaves={arm: _metric("mix", arm)["effective_leaves"] for arm in params.study.recipes},
    )
    write_text(Path("figure.svg"), result_figure(found))
    write_text(Path("table.md"), "\n".join(_lines(found)) + "\n")
    say("figure: figure.svg and table.md")


def _lines(study: Study) -> list[str]:
    """A row for each arm, the best on top: what it kept, and its students beside those of random selection."""
    columns = ("arm", "right in the mix", "effective leaves", "right answers, every leaf equal", "against random", "verdict", "natural weights", "verdict")
    macro, natural = ({row.recipe: row for row in study.results if (row.outcome, row.weighting) == ("accuracy", one)} for one in ("macro", "natural"))
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for arm in sorted(macro, key=lambda one: -macro[one].mean):
        mix = _metric("mix", arm)
        kept = [f"`{arm}`", f"{mix['right_share']:.1%}", f"{mix['effective_leaves']:.1f}", f"{mean_words(macro[arm].mean, 'accuracy')} %"]
        lines.append(f"| {' | '.join([*kept, *_against(macro[arm]), *_against(natural[arm])])} |")
    return lines


def _against(row: Result) -> list[str]:
    if row.difference is None:
        return ["", "baseline"]
    return [f"{difference_words(row)} ({range_words(row.low, row.high, row.outcome)})", row.verdict]


def _metric(one: str, arm: str) -> dict[str, float]:
    return read_json(Path("metrics") / one / f"{arm}.json")[one][arm]


if __name__ == "__main__":
    main()
