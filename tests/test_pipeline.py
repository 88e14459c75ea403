"""The real thing at tiny sizes: `dvc repro` of the whole graph in a temporary clone, and what reruns after which change."""

import contextlib
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.closure import QUIET, ROOT, closure
from tests.worlds import tiny_params, with_params, with_seeds

pytestmark = pytest.mark.slow
RECIPES = ("direct", "conditional", "multistage", "lab")
POOLED = {"gen.round_rows", "gen.max_overlap"}  # of query: read for a prompt that shows a pool, which none of the built-in world does
SECOND = {"gen.second_temperature"}  # of answer: read where second answers are asked
# Folders for the user's: benchmarks are looked for and none is there; tasks are looked for where evaluate.tasks names some.
FOR_THE_USER = {"data/seeds/benchmarks", "data/seeds/tasks", "data/seeds/task_data"}
STAGES = 3 + 13 * 4 + 2 * 4 + 2  # one seed: taxonomy exam teacher, 13 per recipe, train and evaluate, compare report + diversity in the 13


def shell(clone: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command in the clone, with this interpreter's programs first on PATH."""
    found = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1", **variables}
    found.pop("PYTHONPATH", None)
    return subprocess.run(command, cwd=clone, env=found, text=True, capture_output=True, check=False)


def ran(output: str) -> set[str]:
    """The stages that dvc ran."""
    return set(re.findall(r"Running stage '([^']+)'", output))


def stage_words(names: set[str]) -> set[str]:
    return {name.split("@")[0] for name in names}


def change(clone: Path, **changes: str) -> None:
    file = clone / "params.yaml"
    file.write_text(with_params(file.read_text(), {name.replace("__", "."): value for name, value in changes.items()}))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """A copy of the repository as git would clone it, with tiny sizes and one seed, after one whole run with recording on."""
    folder = tmp_path_factory.mktemp("study") / "clone"
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, tracked):
        if (ROOT / name).is_file() and not name.startswith("metrics/") and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "params.yaml").write_text(with_seeds(tiny_params(), 1))
    for command in (["git", "init", "-q"], ["git", "add", "-A"], ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
        assert shell(folder, *command).returncode == 0
    done = shell(folder, "dvc", "repro", ESPALIER_RECORD=str(folder.parent / "record.jsonl"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(ran(done.stdout)) == STAGES
    return folder


@pytest.fixture(scope="module")
def record(clone):
    """What every stage read in the whole run, by stage label."""
    lines = [json.loads(line) for line in (clone.parent / "record.jsonl").read_text().splitlines()]
    assert len(lines) == STAGES
    return lines


def test_every_stage_reads_exactly_its_declared_params(clone, record):
    pipeline = YAML(typ="safe").load(clone / "dvc.yaml")
    for line in record:
        item = line["label"].partition("@")[2].split("-")[0]
        declared = {re.sub(r"\$\{item\.\w+\}", item, param) for param in pipeline["stages"][line["stage"]]["params"]}
        unread = declared - set(line["params"])
        if line["stage"] in ("context", "evolve") and line["stage"] not in _steps(clone, item):
            continue  # a recipe without the step passes its rows on and asks nobody
        assert unread - POOLED - SECOND == set(), line["label"]


def test_no_stage_opens_an_undeclared_file_and_none_declares_one_it_never_opens(clone, record):
    pipeline = YAML(typ="safe").load(clone / "dvc.yaml")
    for line in record:
        parts = dict(zip(("recipe", "seed"), line["label"].partition("@")[2].split("-"), strict=False))
        deps = [_filled(dep, parts, clone) for dep in pipeline["stages"][line["stage"]]["deps"]]
        data = [dep for dep in deps if not dep.startswith(("src/", "stages/"))]
        outs = [_filled(out, parts, clone) for out in pipeline["stages"][line["stage"]].get("outs", ())]
        opened = [file for file in line["files"] if file.startswith(("data/", "metrics/", "models/"))]
        undeclared = [file for file in opened if not any(file == place or file.startswith(f"{place}/") for place in (*data, *outs))]
        assert undeclared == [], line["label"]
        if line["stage"] in ("context", "evolve") and line["stage"] not in _steps(clone, parts["recipe"]):
            data.remove("models/teacher")  # nobody is asked
        unopened = [place for place in data if place not in FOR_THE_USER and not any(file == place or file.startswith(f"{place}/") for file in opened)]
        assert unopened == [], line["label"]


def test_every_module_that_a_stage_imported_is_declared(record):
    for line in record:
        files = {f"src/{module.replace('.', '/')}.py" for module in line["modules"]} - QUIET
        loaded = {file for file in files if (ROOT / file).is_file()}
        assert loaded - closure(line["stage"]) == set(), line["label"]


def test_a_second_run_has_nothing_to_do(clone):
    done = shell(clone, "dvc", "repro")
    assert ran(done.stdout) == set()
    assert "up to date" in done.stdout


def test_sizes_rerun_the_training_and_what_follows_and_leave_the_student_of_the_whole_text_as_it_was(clone):
    model, page = clone / "data/train/lab/1/model/model.safetensors", clone / "data/report/index.html"
    alone = model.read_bytes()
    assert "Not measured: with train.sizes" in page.read_text()
    change(clone, train__sizes="[0.25, 0.5]")
    done = shell(clone, "dvc", "repro")
    assert stage_words(ran(done.stdout)) == {"train", "evaluate", "compare", "report"}, done.stderr[-2000:]
    assert model.read_bytes() == alone
    assert "reached with tokens of text" in page.read_text()
    assert all(f"compare: {recipe} against direct, macro: worth " in done.stderr for recipe in RECIPES[1:])


def test_an_edit_of_the_report_reruns_the_report_alone(clone):
    page = clone / "src/espalier/report/page.py"
    page.write_text(page.read_text() + "\n# a change\n")
    assert ran(shell(clone, "dvc", "repro").stdout) == {"report"}


def test_the_metrics_diff_names_stage_recipe_and_number_in_each_row(clone):
    shell(clone, "git", "add", "-A")
    shell(clone, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "the study")
    done = shell(clone, "dvc", "exp", "run", "-S", "gen.temperature=0.9", "evaluate@lab-1")
    assert done.returncode == 0, done.stderr[-2000:]
    words = stage_words(ran(done.stdout))
    assert words >= {"context", "query", "evolve", "answer", "score", "filter", "dedup", "mix", "tokens", "train", "evaluate"}
    assert words & {"taxonomy", "exam", "teacher", "plan"} == set()
    rows = shell(clone, "dvc", "metrics", "diff", "--no-path").stdout.splitlines()
    assert any(re.match(r"evaluate\.lab\.1\.gold_loss_macro_nats +[\d.]+ +[\d.]+ +-?[\d.]+", row) for row in rows), rows


@pytest.mark.parametrize("how", ["--temp", "--queue"])
def test_experiments_in_a_workspace_of_their_own_share_the_cache(clone, how):
    cache = clone / ".espalier/cache.sqlite"
    before = keys(cache)
    temperature = {"--temp": "0.8", "--queue": "0.6"}[how]
    done = shell(clone, "dvc", "exp", "run", how, "-S", f"gen.temperature={temperature}", "query@lab")
    if how == "--queue":
        done = shell(clone, "dvc", "exp", "run", "--run-all")
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(keys(cache) - before) == 40 + 120  # contexts of the knowledge rows, and queries
    assert before - keys(cache) == set()


def test_a_threshold_reruns_the_filter_and_what_follows(clone):
    change(clone, filter__max_words="6")
    words = stage_words(ran(shell(clone, "dvc", "repro", "evaluate@lab-1").stdout))
    assert words & {"taxonomy", "exam", "teacher", "plan", "context", "query", "evolve", "answer", "score", "audit"} == set()
    assert words >= {"filter", "dedup"}


def test_an_answer_stage_killed_half_way_goes_on_to_the_same_bytes(clone, tmp_path):
    change(clone, gen__chunk_rows="4")
    rows, calm, killed = clone / "data/answer/lab/rows.parquet", tmp_path / "calm.sqlite", tmp_path / "killed.sqlite"
    command = (sys.executable, "-m", "stages.answer", "lab")
    rows.chmod(0o644)
    assert shell(clone, *command, ESPALIER_CACHE=str(calm)).returncode == 0
    undisturbed = rows.read_bytes()
    rows.unlink()
    process = subprocess.Popen(command, cwd=clone, env={**os.environ, "ESPALIER_CACHE": str(killed)}, stderr=subprocess.DEVNULL)
    while process.poll() is None and finished(killed) < 12:
        time.sleep(0.002)
    process.kill()
    process.wait()
    before = finished(killed)
    assert 0 < before < finished(calm)
    assert not rows.exists()
    assert shell(clone, *command, ESPALIER_CACHE=str(killed)).returncode == 0
    assert rows.read_bytes() == undisturbed
    assert keys(killed) == keys(calm)


def finished(cache: Path) -> int:
    return len(keys(cache))


def keys(cache: Path) -> set[str]:
    """The requests that a cache knows; none while it is being made."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as connection:
            return {key for (key,) in connection.execute("select key from completions")}
    except sqlite3.OperationalError:
        return set()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("gen.temperature", "hot", 'params.yaml: gen.temperature is "hot"; it must be a number'),
        ("mix.budget_tokens", "0", "params.yaml: mix.budget_tokens is 0; it must lie in 1"),
        ("teacher.path", "no/such/model", "params.yaml: teacher.path is no/such/model, which holds no model"),
    ],
)
def test_a_bad_value_ends_a_stage_at_once_with_one_line(clone, tmp_path, name, value, message):
    for part in ("params.yaml", "stages", "src"):
        source = clone / part
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / part)
    (tmp_path / "params.yaml").write_text(with_params((tmp_path / "params.yaml").read_text(), {name: value}))
    done = shell(tmp_path, sys.executable, "-m", "stages.teacher")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode in (2, 3)


def test_a_recipe_that_cannot_fill_its_budget_says_what_to_do(clone):
    change(clone, mix__budget_tokens="900000")
    done = shell(clone, sys.executable, "-m", "stages.mix", "lab")
    change(clone, mix__budget_tokens="700")
    assert re.search(r"recipe lab has [\d,]+ tokens after filtering, mix.budget_tokens wants 900,000; raise plan.rows", done.stderr)
    assert done.returncode == 1


def test_a_corrupt_table_is_named_with_the_command_that_makes_it(clone):
    table = clone / "data/score/lab/rows.parquet"
    good = table.read_bytes()
    table.chmod(0o644)
    table.write_bytes(good[:100])
    done = shell(clone, sys.executable, "-m", "stages.filter", "lab")
    table.write_bytes(good)
    assert "data/score/lab/rows.parquet: not a readable parquet file" in done.stderr
    assert "dvc repro score@lab" in done.stderr


def test_the_report_is_one_offline_page(clone):
    page = (clone / "data/report/index.html").read_text()
    assert "within noise" in page or "better" in page
    assert not re.search(r"(src|href)=.https?://", page)


def _filled(place: str, parts: dict[str, str], clone: Path) -> str:
    """A place of dvc.yaml with its items and params filled in."""
    params = YAML(typ="safe").load(clone / "params.yaml")
    for name in re.findall(r"\$\{([\w.]+)\}", place):
        section, _, key = name.partition(".")
        place = place.replace(f"${{{name}}}", parts[key] if section == "item" else params[section][key])
    return place


def _steps(clone: Path, recipe: str) -> dict[str, str]:
    return YAML(typ="safe").load(clone / "params.yaml")["recipes"][recipe]["steps"]


def test_a_student_is_the_next_teacher_with_one_param(clone):
    """Generation 2, last for it changes every row after it."""
    shutil.copytree(clone / "data/train/lab/1/model", clone / "models/generation-1")
    before = json.loads((clone / "metrics/teacher.json").read_text())["teacher"]
    change(clone, teacher__path="models/generation-1")
    done = shell(clone, "dvc", "repro", "score@lab")
    assert done.returncode == 0, done.stderr[-3000:]
    assert stage_words(ran(done.stdout)) == {"teacher", "context", "query", "evolve", "answer", "score"}
    after = json.loads((clone / "metrics/teacher.json").read_text())["teacher"]
    student = json.loads((clone / "metrics/train/lab/1.json").read_text())["train"]["lab"]["1"]
    assert after["parameters"] == student["parameters"] != before["parameters"]
    steps = json.loads((clone / "metrics/answer/lab.json").read_text())["answer"]["lab"]
    assert steps["read_tokens"] > 0
