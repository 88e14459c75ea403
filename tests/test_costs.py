"""What a recipe cost, by hand, and when two recipes are at equal cost."""

import polars as pl
import pytest

from espalier.costs import NAMES, Cost, cost_metrics, cost_of, cost_table, cost_words
from espalier.errors import CorruptInput
from espalier.io import read_json, read_rows
from espalier.teachers.weights import count_stored_parameters
from tests.test_lineage import STEPS, reply, stages, start
from tests.worlds import Scripted, tiny_model

STUDENTS = [{"flops": 3e12, "loss_nats": 1.0}, {"flops": 1e12, "loss_nats": 1.0}]
ASKED = [{"read_tokens": 100, "spent_tokens": 10}, {"read_tokens": 0, "spent_tokens": 10}, {"read_tokens": 400, "spent_tokens": 50}]


def test_a_recipe_costs_its_text_the_mean_training_of_a_student_and_two_flops_a_parameter_for_every_token_of_the_teacher():
    cost = cost_of("lab", tokens=700, students=STUDENTS, steps=ASKED, teacher_parameters=1e9)
    # read 100 + 0 + 400; written 50 in all, not 10 + 10 + 50; 2 x 1e9 x (500 + 50) = 1.1e12; with (3e12 + 1e12) / 2
    assert cost == Cost("lab", 700, 2e12, 500, 50, 1.1e12, 3.1e12)


@pytest.mark.parametrize(("steps", "parameters"), [([], 1e9), (ASKED, None)])
def test_generation_by_an_unknown_teacher_or_of_rows_that_are_not_the_recipes_own_costs_nobody_knows_what(steps, parameters):
    cost = cost_of("lab", tokens=700, students=STUDENTS, steps=steps, teacher_parameters=parameters)
    assert (cost.train_flops, cost.generation_flops, cost.total_flops) == (2e12, None, None)


def costs(**changes):
    return [Cost("lab", *({"tokens": 100.0, "train_flops": 50.0, "read": 5.0, "written": 1.0, "generation": 30.0, "total": 80.0} | changes).values()),
            Cost("direct", 100.0, 50.0, 1.0, 1.0, 10.0, 60.0)]  # fmt: skip


def row(table, recipe):
    return table.row(by_predicate=pl.col("recipe") == recipe, named=True)


def test_one_equality_can_hold_without_the_next():
    lab = row(cost_table(costs(tokens=101.9, train_flops=51.5), baseline="direct"), "lab")
    assert [lab[f"{name}_ratio"] for name in NAMES] == pytest.approx([1.019, 1.03, 80 / 60])
    assert [lab[f"equal_{name}"] for name in NAMES] == [True, False, False]
    assert cost_words(lab) == "equal tokens of text (1.019 x), NOT equal training FLOPs (1.030 x), NOT equal total FLOPs (1.333 x)"


def test_the_baseline_equals_itself_in_everything():
    direct = row(cost_table(costs(), baseline="direct"), "direct")
    assert [(direct[f"{name}_ratio"], direct[f"equal_{name}"]) for name in NAMES] == [(1.0, True)] * 3


@pytest.mark.parametrize(("tokens", "is_equal"), [(102, True), (102.1, False), (100 / 1.02, True), (98, False), (0.0, False)])
def test_costs_within_2_percent_are_equal_whichever_is_the_larger(tokens, is_equal):
    assert row(cost_table(costs(tokens=tokens), baseline="direct"), "lab")["equal_tokens"] is is_equal


def test_what_is_not_known_is_said_and_is_no_metric():
    table = cost_table(costs(generation=None, total=None), baseline="direct")
    assert (row(table, "lab")["total_flops_ratio"], row(table, "lab")["equal_total_flops"]) == (None, None)
    assert cost_words(row(table, "lab")).endswith(", total FLOPs not known")
    assert cost_metrics(table, baseline="direct") == {"lab": {"tokens_ratio": 1.0, "train_flops_ratio": 1.0, "equal_tokens": 1, "equal_train_flops": 1}}


def test_the_metrics_hold_three_ratios_and_three_flags_for_every_recipe_but_the_baseline():
    metrics = cost_metrics(cost_table(costs(), baseline="direct"), baseline="direct")
    assert metrics == {
        "lab": {"tokens_ratio": 1.0, "train_flops_ratio": 1.0, "total_flops_ratio": 80 / 60, "equal_tokens": 1, "equal_train_flops": 1, "equal_total_flops": 0}
    }


def test_a_generation_step_counts_what_its_teacher_read_once_for_equal_requests_and_again_from_the_cache(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    stages(["plan"], "multistage", None)
    teacher, before = Scripted(reply), 0
    for step in STEPS:
        stages([step], "multistage", teacher)
        different = len(set(teacher.asked[before:]))
        numbers = read_json(f"metrics/{step}/multistage.json")[step]["multistage"]
        assert numbers["read_tokens"] == 5 * different > 0  # what spoken() says that a prompt has
        before = len(teacher.asked)
    assert numbers["spent_tokens"] == read_rows("data/answer/multistage/rows.parquet")["spent_tokens"].sum()
    stages(["answer"], "multistage", teacher)
    assert len(teacher.asked) == before  # all of it came from the cache
    assert read_json("metrics/answer/multistage.json")["answer"]["multistage"] == numbers


def test_a_recipe_without_a_step_reads_nothing_in_it(tmp_path, monkeypatch):
    start(tmp_path, monkeypatch)
    stages(["plan", "context"], "direct", Scripted(reply))
    assert read_json("metrics/context/direct.json")["context"]["direct"]["read_tokens"] == 0


def test_the_parameters_of_a_folder_are_those_of_the_model_in_it_tied_weights_once(tmp_path):
    from espalier.model import load_model

    folder = tiny_model(tmp_path / "model", words="a b c".split())
    assert count_stored_parameters(folder) == load_model(folder).num_parameters()
    assert count_stored_parameters(tmp_path) == 0
    (folder / "model-2.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0torn")
    with pytest.raises(CorruptInput, match=r"model-2\.safetensors: not a safetensors file \(.*fetch the model again"):
        count_stored_parameters(folder)
