"""The studies keep up with the pipeline that they are made of."""

import importlib
import shutil

import polars as pl
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from espalier.io import read_rows, write_rows
from espalier.params import load_yaml, parse_params
from espalier.seeds import share
from espalier.settings import Filter
from studies.write_params import study_params
from tests.closure import ROOT

STUDIES = sorted(file.parent for file in (ROOT / "studies").glob("*/study.yaml"))
FILTERS = ROOT / "studies/filters"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_the_params_of_a_study_are_the_pipelines_with_its_changes(study):
    assert (study / "params.yaml").read_text() == study_params(study), "run `make studies`"


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_study_runs_the_pipelines_own_stages_with_the_params_that_they_declare(study):
    ours, theirs = (YAML(typ="safe").load(folder / "dvc.yaml")["stages"] for folder in (ROOT, study))
    shared = [name for name, stage in theirs.items() if f"-m stages.{name} " in f"{stage['cmd']} "]
    assert {"mix", "tokens", "train", "evaluate", "compare"} <= set(shared)
    for name in shared:
        assert set(theirs[name]["params"]) == set(ours[name]["params"]), name
        assert theirs[name]["cmd"].removeprefix("env PYTHONPATH=../.. ") == ours[name]["cmd"], name
        assert theirs[name].get("matrix") == ours[name].get("matrix"), name


def test_every_arm_of_the_filter_study_is_a_setting_of_the_filter_and_random_is_the_baseline():
    arms = load_yaml((FILTERS / "arms.yaml").read_text(), file="arms.yaml")
    params = parse_params((FILTERS / "params.yaml").read_text())
    assert tuple(arms) == params.study.recipes
    assert params.study.baseline == "random" == arms["random"]["kind"]
    assert len(params.study.seeds) >= 3
    assert {name for arm in arms.values() for name in arm} <= set(Filter.__dataclass_fields__)


def scored(n):
    """Rows of four leaves as `score` leaves them: every fifth answer is wrong and says so in its words, and the scores of a right one are a little better."""
    made = []
    for i in range(n):
        right, noise = i % 5 != 0, share(1, "study", f"r{i}")
        made.append(
            {"id": f"r{i:04}", "recipe": "lab", "status": "ok", "verdict": "right" if right else "wrong", "delivered_leaf": f"leaf {i % 4}", "leaf": f"leaf {i % 4}"}
            | {"context": "", "query": f"what is {i} ?", "answer": f"it is {i}" if right else f"who knows {i}", "words": 3, "repeat_share": 0.0, "echo_share": 0.0}
            | {"vote_share": 0.5 * right + 0.5 * noise, "answer_loss": noise - right, "answer_loss_z": noise - right, "ifd": 0.5, "ifd_z": noise, "logprob_mean": -noise}
            | {"broken_rules": [] if right else ["reply:refusal"], "neighbour_cluster": i % 7, "learned": None}
        )  # fmt: skip
    return pl.DataFrame(made, schema_overrides={"broken_rules": pl.List(pl.String), "learned": pl.Float64})


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """What each arm keeps of 500 rows, by the study's own stages, and the pool."""
    folder = tmp_path_factory.mktemp("clone")
    write_rows(folder / "data/score/lab/rows.parquet", scored(500))
    (folder / "studies/filters").mkdir(parents=True)
    for name in ("arms.yaml", "params.yaml"):
        shutil.copy(FILTERS / name, folder / "studies/filters" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder / "studies/filters")
        for name, arguments in [("pool", []), *(("choose", [arm]) for arm in parse_params((FILTERS / "params.yaml").read_text()).study.recipes)]:
            result = CliRunner().invoke(importlib.import_module(f"studies.filters.{name}").main, arguments)
            assert result.exit_code == 0, result.output
    here = folder / "studies/filters/data"
    return read_rows(here / "pool/rows.parquet"), {file.parent.name: read_rows(file) for file in (here / "filter").glob("*/kept.parquet")}


def test_the_arms_of_the_filter_study_choose_from_one_pool_and_each_keeps_its_share(chosen):
    pool, kept = chosen
    assert pool["learned"].null_count() == 0
    assert {arm for arm, rows in kept.items() if rows.height == 200} == set(kept) - {"random"}  # 40 % of 500, exactly but for the draw
    assert 150 < kept["random"].height < 250
    assert len({tuple(rows["id"]) for rows in kept.values()}) >= 7


def test_an_arm_that_sees_the_fault_keeps_right_rows_alone_and_random_keeps_the_pools_share(chosen):
    _, kept = chosen
    right = {arm: float((rows["verdict"] == "right").mean()) for arm, rows in kept.items()}
    assert [right[arm] for arm in ("verifier", "heuristics", "learned", "loss")] == [1.0] * 4
    assert 0.7 < right["random"] < 0.9
    assert kept["loss_leaf"].group_by("delivered_leaf").len()["len"].to_list() == [50] * 4  # 40 % of 125 rows of each leaf
