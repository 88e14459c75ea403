"""The house keeps its promises: floors, no import cycle, sizes, and a dvc.yaml that says what the stages really read."""

import ast
import json
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from espalier.cli import COMMANDS
from tests.closure import QUIET, ROOT, closure, imported

PIPELINE = YAML(typ="safe").load(ROOT / "dvc.yaml")
PARAMS = YAML(typ="safe").load(ROOT / "params.yaml")
STAGES = sorted(PIPELINE["stages"])
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "stages").rglob("*.py"))

# A module imports only from lower floors, or from its own floor without a cycle.
FLOORS = (
    {"errors", "params", "ranges", "settings", "engine_settings", "io", "seeds", "heap", "log", "progress", "stage", "interrupt", "launch", "ledger", "train_checks"},
    {"text", "stats", "attention", "student_t", "multiplier", "old_qna", "qna", "taxonomy", "prompts", "replies", "gates", "attributes", "documents", "novelty", "nearest", "profiles", "sizes", "hardware", "auc", "clustered", "verdicts", "wordhash", "minhash", "overlap", "pairs", "phrases", "records", "shapes", "containment", "paraphrase", "numbers", "benchmarks", "canaries", "task_files", "schedule", "order", "spikes", "forecast"},
    {"world", "verifiers", "teachers", "scorers", "dedup", "tokens", "diversity", "coverage", "wording", "vendi", "model", "nested", "muon", "fused", "parallel", "checkpoints", "samples", "decontaminate", "mix", "plan", "filter", "score", "quotas", "audit", "spill", "dedup_ray", "suspects", "speed", "live"},
    {"intake", "curate", "exam", "teacher", "generate", "evolve", "general", "worlds", "train", "evaluate", "compare", "costs", "worth", "plot_tables", "report", "gather", "lineage", "estimate", "round_trip", "harness", "training_log"},
    {"cli", "commands"},
)


def floor_of(file: Path) -> int:
    word = file.relative_to(ROOT / "src/espalier").parts[0].removesuffix(".py")
    found = [floor for floor, words in enumerate(FLOORS) if word in words]
    assert len(found) == 1, f"{file} stands on {len(found)} floors; name it in FLOORS"
    return found[0]


@pytest.mark.parametrize("file", [file for file in SOURCES if "espalier" in file.parts and file.name != "__init__.py"], ids=lambda file: file.name)
def test_a_module_imports_only_from_its_floor_and_below(file):
    above = [path for path in imported(file) if not path.endswith("__init__.py") and floor_of(ROOT / path) > floor_of(file)]
    assert above == []


def test_no_module_imports_itself_through_others():
    graph = {str(file.relative_to(ROOT)): imported(file) for file in SOURCES}
    done: set[str] = set()

    def visit(path: str, way: tuple[str, ...]) -> None:
        assert path not in way, f"import cycle: {' -> '.join((*way, path))}"
        if path not in done:
            for other in sorted(graph.get(path, ())):
                if not other.endswith("__init__.py"):
                    visit(other, (*way, path))
            done.add(path)

    for path in sorted(graph):
        visit(path, ())


@pytest.mark.parametrize("name", sorted(QUIET))
def test_quiet_modules_import_no_heavy_library_at_start(name):
    tree = ast.parse((ROOT / name).read_text())
    roots = {alias.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module.split(".")[0] for node in tree.body if isinstance(node, ast.ImportFrom) and node.module}
    assert roots & {"torch", "polars", "transformers", "datasketch", "accelerate", "scipy"} == set()


@pytest.mark.parametrize("stage", STAGES)
def test_declared_code_is_the_import_closure(stage):
    declared = {dep for dep in PIPELINE["stages"][stage]["deps"] if dep.startswith(("src/", "stages/"))}
    assert declared == closure(stage), "run `make deps`"


@pytest.mark.parametrize("stage", STAGES)
def test_declared_params_are_those_that_the_stage_may_read(stage):
    command = __import__(f"stages.{stage}", fromlist=["main"]).main
    declared = {re.sub(r"\$\{item\.(\w+)\}", r"{\1}", param) for param in PIPELINE["stages"][stage]["params"]}
    assert declared == set(command.reads)
    assert tuple(PIPELINE["stages"][stage].get("matrix", {})) == command.items


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_names_a_stage_everywhere(stage):
    entry = PIPELINE["stages"][stage]
    assert entry["cmd"].split()[:3] == ["python", "-m", f"stages.{stage}"]
    assert entry["desc"].endswith(".")
    assert (ROOT / f"stages/{stage}.py").is_file()
    outs = list(entry.get("outs", ()))
    assert all(out.split("/")[1].split("$")[0].rstrip("/") == stage for out in outs)
    for metric in entry.get("metrics", ()):
        assert next(iter(metric)).startswith((f"metrics/{stage}/", f"metrics/{stage}.json"))


def test_every_section_of_params_is_read_by_a_stage_or_by_the_command_of_its_name():
    read = {param.split(".")[0].split("$")[0] for stage in PIPELINE["stages"].values() for param in stage["params"]}
    rest = set(PARAMS) - read
    assert rest == {name for name in rest if name in COMMANDS and f"params.{name}" in (ROOT / f"src/espalier/commands/{name}.py").read_text()}


def test_every_value_of_params_has_a_comment_or_stands_in_a_list():
    lines = (ROOT / "params.yaml").read_text().splitlines()
    first_seen: set[str] = set()
    for line in lines:
        name = line.split(":")[0].strip()
        bare = ":" in line and "#" not in line and not line.strip().startswith(("-", "#"))
        if bare and name not in first_seen and not _is_recipe_part(name):
            assert line.rstrip().endswith(":"), f"no comment on: {line}"
        first_seen.add(name)


def _is_recipe_part(name: str) -> bool:
    return name in {"context", "query", "evolve", "answer"}


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_files_and_functions_stay_small(file):
    text = file.read_text()
    assert len(text.splitlines()) <= 250
    long = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60]
    assert long == []


@pytest.mark.parametrize("file", [file for file in SOURCES if file.name != "__init__.py"], ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_module_says_what_it_is(file):
    assert len(ast.get_docstring(ast.parse(file.read_text())) or "") > 30


def test_no_stage_is_named_like_a_module_of_the_standard_library():
    import sys

    assert set(STAGES) & set(sys.stdlib_module_names) == set()


def test_the_readme_says_what_the_metrics_and_the_pipeline_say():
    from docs.readme import render

    text = (ROOT / "README.md").read_text()
    assert render(text) == text, "run `make docs`"


def test_the_figure_of_the_readme_shows_the_differences_of_the_metrics():
    arms = json.loads((ROOT / "metrics/compare.json").read_text())["compare"]
    differences = [numbers[name] for numbers in arms.values() for name in ("accuracy_difference_macro", "accuracy_difference_natural") if name in numbers]
    shown = re.findall(r">([+−]?\d+\.\d)<", (ROOT / "docs/result.svg").read_text())
    assert sorted(shown) == sorted(f"{100 * difference:+.1f}".replace("-", "−") for difference in differences), "run `make docs`"


def test_no_file_in_git_names_a_folder_of_somebodys_machine():
    places = re.compile(r"(?<![\w.])/(?:ho[m]e|ro[o]t|wo[r]k|Us[e]rs)/\w")
    named = [str(file.relative_to(ROOT)) for file in [*SOURCES, *(ROOT / "tests").glob("*.py"), *ROOT.glob("*.md"), *ROOT.glob("*.yaml")] if places.search(file.read_text())]
    assert named == []
