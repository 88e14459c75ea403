"""`espalier preview` beside the stages that it spares work, with a teacher from a script."""

import re
import shutil
from collections import Counter

import pytest

from espalier.io import read_rows
from tests.test_lineage import STEPS, reply, run, stages, start
from tests.worlds import Scripted


def preview(patch, teacher, *arguments):
    patch.setattr("espalier.teachers.ask.open_teacher", lambda engine, folder, **settings: teacher)
    code, out, err = run("preview", *arguments)
    assert code == 0, err
    return out, err


@pytest.mark.parametrize("recipe", ["lab", "multistage"])
def test_a_preview_wastes_nothing_and_changes_nothing(tmp_path, monkeypatch, recipe):
    start(tmp_path, monkeypatch)
    first, later, alone = Scripted(reply), Scripted(reply), Scripted(reply)
    preview(monkeypatch, first, "-n", 7, "--recipe", recipe)
    stages(["plan", *STEPS], recipe, later)
    after = (tmp_path / f"data/answer/{recipe}/rows.parquet").read_bytes()
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "other.sqlite"))
    stages(["plan", *STEPS], recipe, alone)
    assert (tmp_path / f"data/answer/{recipe}/rows.parquet").read_bytes() == after
    assert set(first.asked) & set(later.asked) == set()
    assert set(first.asked) | set(later.asked) == set(alone.asked)
    indices = dict(read_rows(f"data/answer/{recipe}/rows.parquet").select("root_id", "index").iter_rows())
    assert len(first.asked) < len(alone.asked) / 10
    assert len(indices) == 120


def test_a_preview_prints_prompts_and_replies_in_the_order_of_the_plan_and_a_second_one_asks_nobody(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    teacher = Scripted(reply)
    out, err = preview(monkeypatch, teacher, "-n", 3, "--recipe", "multistage")
    blocks = out.strip().split("\n\n")
    assert [re.search(r"multistage, row (\d+) of its plan", block)[1] for block in blocks] == ["0", "1", "2"]
    asked = {request.messages[0][1] for request in teacher.asked}
    assert set(re.findall(r"  user           (.*)", out)) == asked
    assert Counter(re.findall(r"\[(stop|length), \d+ tokens\]", out))["stop"] == len(teacher.asked)
    asked = [f"preview: {n} requests to hf, cache cache.sqlite" for n in (3, 3, 3, 9)]
    assert err.splitlines() == [*asked, "preview: 18 requests, 0 from the cache"]
    again, err = preview(monkeypatch, None, "-n", 3, "--recipe", "multistage")
    assert (again, err.splitlines()) == (out, [*asked, "preview: 18 requests, 18 from the cache"])


def test_a_preview_without_a_name_shows_every_recipe_of_the_study(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    out, _ = preview(monkeypatch, Scripted(reply), "-n", 2)
    assert re.findall(r"  recipe         (\w+), row (\d+)", out) == [(name, i) for name in ("direct", "conditional", "multistage", "lab") for i in "01"]
    assert "evolve           the recipe has no such step\n" in out
    assert "                 not asked, the prompt lets the branch foundational_skills pass\n" in out


def test_a_preview_names_what_is_missing(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    assert run("preview", "--recipe", "labb") == (2, "", 'espalier: --recipe is "labb", which params.yaml does not declare; did you mean "lab"?\n')
    assert run("preview", "-n", 0)[0] == 2
    params = (tmp_path / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(params.replace("query: query.lab", "query: query.labb"))
    assert run("preview", "--recipe", "lab")[::2] == (
        2,
        'espalier: params.yaml: recipes.lab.steps.query is "query.labb", which data/taxonomy/prompts.json does not hold; did you mean "query.lab"? '
        "(a new file gets there with `dvc repro taxonomy`)\n",
    )
    (tmp_path / "params.yaml").write_text(params)
    shutil.rmtree(tmp_path / "models")
    assert run("preview")[::2] == (3, "espalier: models/teacher: no such folder; make it with `dvc repro teacher`\n")
    (tmp_path / "data/taxonomy/leaves.parquet").unlink()
    assert run("preview")[::2] == (3, "espalier: data/taxonomy/leaves.parquet: no such file; make it with `dvc repro taxonomy`\n")


def test_a_preview_with_a_damaged_cache_is_one_line(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    (tmp_path / "cache.sqlite").write_bytes(b"no database, but long enough to be looked at as one " * 20)
    code, out, err = run("preview")
    assert (code, out, len(err.splitlines())) == (1, "", 1)
    assert err.endswith("move the file away and run again, its requests are asked anew\n")
