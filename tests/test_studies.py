"""The studies keep up with the pipeline that they are made of."""

import pytest
from ruamel.yaml import YAML

from espalier.params import load_yaml, parse_params
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
