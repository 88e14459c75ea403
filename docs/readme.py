"""Writes the generated parts of README.md from dvc.yaml and metrics/, and its figure from the report of the last run: `make docs`.

With --check it only says whether the text is stale. A part stands between `<!-- name -->` and `<!-- /name -->`.
"""

import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from espalier.stats import verdict

ROOT = Path(__file__).resolve().parent.parent


def result_table(root: Path = ROOT) -> str:
    """The arms of the study with intervals and verdicts, from metrics/compare.json."""
    arms = json.loads((root / "metrics/compare.json").read_text())["compare"]
    level = 1 - YAML(typ="safe").load(root / "params.yaml")["compare"]["confidence"]
    baseline = next(name for name, numbers in arms.items() if "accuracy_difference_macro" not in numbers)
    lines = [
        f"| recipe | right answers, every leaf equal | against `{baseline}`, every leaf equal | verdict | against `{baseline}`, natural weights |",
        "|---|---|---|---|---|",
    ]
    for name in sorted(arms, key=lambda name: -arms[name]["accuracy_macro"]):
        against = ["", "baseline", ""] if name == baseline else _against(arms[name], level)
        lines.append(f"| {' | '.join([f'`{name}`', _interval(arms[name], 'accuracy_macro', '', unit='%'), *against])} |")
    return "\n".join(lines)


def stage_table(root: Path = ROOT) -> str:
    """What each stage does, from dvc.yaml."""
    rows = [f"| `{name}` | {_runs_per(stage)} | {stage['desc']} |" for name, stage in _stages(root).items()]
    return "\n".join(["| stage | runs per | what it does |", "|---|---|---|", *rows])


def graph(root: Path = ROOT) -> str:
    """The stages and what flows between them, as a Mermaid graph."""
    stages = _stages(root)
    edges = [
        f"  {maker} --> {name}"
        for name, stage in stages.items()
        for maker in stages
        if maker != name and any(_made_by(dep, maker) for dep in stage["deps"])
    ]
    return "\n".join(["```mermaid", "graph LR", *edges, "```"])


PARTS: dict[str, Callable[[Path], str]] = {"result": result_table, "stages": stage_table, "graph": graph}


def render(text: str, root: Path = ROOT) -> str:
    """`text` with its generated parts made anew."""
    for name, make in PARTS.items():
        body = make(root)
        text = re.sub(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text, flags=re.S)
    return text


def _against(numbers: dict[str, float], level: float) -> list[str]:
    macro, natural = (_interval(numbers, f"accuracy_difference_{one}", "+", unit="points") for one in ("macro", "natural"))
    return [macro, verdict(numbers["accuracy_difference_macro"], numbers["accuracy_p_holm_macro"], higher_is_better=True, level=level), natural]


def _interval(numbers: dict[str, float], name: str, sign: str, *, unit: str) -> str:
    mean, low, high = (100 * numbers[one] for one in (name, f"{name}_low", f"{name}_high"))
    return f"{mean:{sign}.1f} {unit} ({low:{sign}.1f} .. {high:{sign}.1f})"


def _stages(root: Path) -> dict[str, dict]:
    return YAML(typ="safe").load(root / "dvc.yaml")["stages"]


def _runs_per(stage: dict) -> str:
    return " x ".join(stage.get("matrix", {})) or "study"


def _made_by(dep: str, maker: str) -> bool:
    return any(dep == place or dep.startswith((f"{place}/", f"{place}.")) for place in (f"data/{maker}", f"models/{maker}", f"metrics/{maker}"))


if __name__ == "__main__":
    file = ROOT / "README.md"
    old, new = file.read_text(), render(file.read_text())
    if "--check" in sys.argv:
        sys.exit(0 if old == new else "README.md is stale; run `make docs`")
    file.write_text(new)
    if (figure := ROOT / "data/report/result.svg").is_file():
        shutil.copy(figure, ROOT / "docs/result.svg")
