"""The comparison of arms: tables with hand-computed numbers, verdicts, and what is refused at the border."""

import math

import polars as pl
import pytest

from espalier import compare
from espalier.errors import CorruptInput, ParamsError

LEAVES = pl.DataFrame(
    {
        "leaf": ["foundational/a", "foundational/b", "knowledge/c"], "branch": ["foundational", "foundational", "knowledge"],
        "topic": ["t", "t", "u"], "task": ["a", "b", "c"], "rank": [1, 2, 4],
    }
)
SETTINGS = {"baseline": "direct", "skew": 1.0, "draws": 2000, "confidence": 0.95, "seed": 42}


def answers(right, *, loss=1.0):
    """Two items of the split `key` in each of three leaves, in order, and one item of the split `template`, always right."""
    leaves = ["foundational/a", "foundational/a", "foundational/b", "foundational/b", "knowledge/c", "knowledge/c", "knowledge/c"]
    n = len(leaves)
    return pl.DataFrame(
        {
            "item": [f"item{i}" for i in range(n)], "split": ["key"] * 6 + ["template"], "leaf": leaves,
            "branch": [leaf.split("/")[0] for leaf in leaves], "template": ["x"] * n, "level": [1] * n,
            "right": [bool(r) for r in right] + [True], "gold_loss": [float(loss)] * n, "gold_tokens": [1] * n, "reply": ["9"] * n,
        }
    )


def study():
    return {
        ("lab", 1): answers([1, 1, 1, 1, 1, 0], loss=0.5), ("lab", 2): answers([1, 1, 1, 0, 1, 1], loss=0.6),
        ("direct", 1): answers([1, 1, 0, 0, 0, 0], loss=1.0), ("direct", 2): answers([1, 0, 0, 0, 0, 0], loss=1.2),
    }


def row(table, recipe, outcome, weighting):
    return table.row(
        by_predicate=(pl.col("recipe") == recipe) & (pl.col("outcome") == outcome) & (pl.col("weighting") == weighting), named=True
    )


def many_leaves(gain, *, recipes=("direct", "lab"), seeds=(1, 2, 3), n=40):
    """Arms over n leaves whose loss differs by `gain` (by recipe) on average; leaf i and seed s add a small known wobble."""
    leaves = pl.DataFrame({"leaf": [f"k/{i:02}" for i in range(n)], "branch": ["k"] * n, "rank": list(range(1, n + 1))})
    items = {}
    for r, recipe in enumerate(recipes):
        for s in seeds:
            loss = [2.0 + gain.get(recipe, 0.0) + 0.05 * math.sin(i * (r + 1)) + 0.01 * math.cos(7 * s + r) for i in range(n)]
            items[recipe, s] = pl.DataFrame(
                {
                    "item": [f"i{i:02}" for i in range(n)], "split": ["key"] * n, "leaf": leaves["leaf"], "branch": ["k"] * n,
                    "right": [i % 2 == 0 for i in range(n)], "gold_loss": loss,
                }
            )
    return items, leaves


def test_macro_accuracy_is_the_mean_of_leaf_accuracies_over_the_seeds():
    table = compare.compare_arms(study(), LEAVES, **SETTINGS)
    # lab: leaf a (1 + 1) / 2, leaf b (1 + .5) / 2, leaf c (.5 + 1) / 2; direct: a (1 + .5) / 2, b and c 0
    assert row(table, "lab", "accuracy", "macro")["mean"] == pytest.approx((1 + 0.75 + 0.75) / 3)
    assert row(table, "direct", "accuracy", "macro")["mean"] == pytest.approx(0.75 / 3)
    assert row(table, "lab", "accuracy", "macro")["difference"] == pytest.approx((2.5 - 0.75) / 3)


def test_natural_accuracy_weighs_a_leaf_by_one_over_its_rank():
    # ranks 1, 2, 4 -> weights 4/7, 2/7, 1/7
    table = compare.compare_arms(study(), LEAVES, **SETTINGS)
    assert row(table, "lab", "accuracy", "natural")["mean"] == pytest.approx((4 * 1 + 2 * 0.75 + 1 * 0.75) / 7)
    assert row(table, "direct", "accuracy", "natural")["mean"] == pytest.approx(4 * 0.75 / 7)


def test_the_interval_of_a_mean_accuracy_stays_between_0_and_1():
    table = compare.compare_arms(study(), LEAVES, **SETTINGS).filter(outcome="accuracy")
    assert table["mean_high"].max() == 1.0
    assert table["mean_low"].min() == 0.0


def test_loss_is_compared_too_and_a_lower_one_is_better():
    items, leaves = many_leaves({"lab": -0.3})
    table = compare.compare_arms(items, leaves, **SETTINGS)
    found = row(table, "lab", "gold_loss", "macro")
    assert found["difference"] == pytest.approx(-0.3, abs=0.02)
    assert found["low"] < found["difference"] < found["high"] < 0
    assert found["verdict"] == "better"
    assert row(table, "lab", "accuracy", "macro")["verdict"] == "within noise"


def test_a_higher_loss_is_worse_and_a_tiny_one_is_within_noise():
    items, leaves = many_leaves({"lab": 0.3, "multistage": 0.001}, recipes=("direct", "lab", "multistage"))
    table = compare.compare_arms(items, leaves, **SETTINGS)
    assert row(table, "lab", "gold_loss", "macro")["verdict"] == "worse"
    assert row(table, "multistage", "gold_loss", "macro")["verdict"] == "within noise"


def test_holm_multiplies_the_smallest_p_by_the_number_of_arms_other_than_the_baseline():
    items, leaves = many_leaves({"lab": -0.02, "multistage": 0.0}, recipes=("direct", "lab", "multistage"))
    table = compare.compare_arms(items, leaves, **SETTINGS)
    small, large = sorted((row(table, r, "gold_loss", "macro") for r in ("lab", "multistage")), key=lambda found: found["p"])
    assert small["p_holm"] == pytest.approx(min(1, 2 * small["p"]))
    assert large["p_holm"] == pytest.approx(max(small["p_holm"], large["p"]))


def test_the_baseline_row_comes_first_and_claims_nothing():
    table = compare.compare_arms(study(), LEAVES, **SETTINGS)
    assert table["recipe"].to_list() == ["direct", "lab"] * 4
    first = table.row(0, named=True)
    assert (first["verdict"], first["difference"], first["p_holm"], first["mdd"]) == ("baseline", None, None, None)


def test_one_seed_is_no_claim_whatever_the_interval():
    items, leaves = many_leaves({"lab": -0.3}, seeds=(1,))
    found = row(compare.compare_arms(items, leaves, **SETTINGS), "lab", "gold_loss", "macro")
    assert (found["n_seeds"], found["verdict"]) == (1, "one seed")
    assert found["p_holm"] < 0.001


def test_an_arm_that_lost_a_seed_is_still_compared():
    items, leaves = many_leaves({"lab": -0.3})
    del items["lab", 3]
    found = row(compare.compare_arms(items, leaves, **SETTINGS), "lab", "gold_loss", "macro")
    assert (found["n_seeds"], found["verdict"]) == (2, "better")


def test_the_order_of_rows_and_of_arms_changes_no_number():
    shuffled = {key: frame.sample(fraction=1.0, shuffle=True, seed=3) for key, frame in reversed(study().items())}
    assert compare.compare_arms(shuffled, LEAVES, **SETTINGS).sort("recipe", "outcome", "weighting").equals(
        compare.compare_arms(study(), LEAVES, **SETTINGS).sort("recipe", "outcome", "weighting")
    )


def test_another_seed_moves_the_interval_and_not_the_difference():
    one = row(compare.compare_arms(study(), LEAVES, **SETTINGS), "lab", "accuracy", "macro")
    other = row(compare.compare_arms(study(), LEAVES, **SETTINGS | {"seed": 43}), "lab", "accuracy", "macro")
    assert one["difference"] == other["difference"]
    assert one["low"] != other["low"]


def test_accuracy_by_leaf_pools_seeds_and_leaves_out_other_splits():
    by_leaf = compare.accuracy_by_leaf(study(), LEAVES)
    assert by_leaf.columns == ["recipe", "leaf", "branch", "rank", "accuracy", "gold_loss", "n_items"]
    assert by_leaf.filter(recipe="lab").select("leaf", "rank", "accuracy", "n_items").rows() == [
        ("foundational/a", 1, 1.0, 2), ("foundational/b", 2, 0.75, 2), ("knowledge/c", 4, 0.75, 2),
    ]


def test_accuracy_by_split_keeps_the_splits_apart():
    by_split = compare.accuracy_by_split(study())
    assert by_split.select("recipe", "split", "accuracy", "n_items", "n_leaves").rows() == [
        ("direct", "key", 0.25, 6, 3), ("direct", "template", 1.0, 1, 1),
        ("lab", "key", pytest.approx(2.5 / 3), 6, 3), ("lab", "template", 1.0, 1, 1),
    ]


def test_the_metrics_are_5_numbers_for_the_baseline_and_12_for_each_other_recipe():
    table = compare.compare_arms(study(), LEAVES, **SETTINGS)
    metrics = compare.comparison_metrics(table)
    assert sorted(metrics["direct"]) == [
        "accuracy_macro", "accuracy_macro_high", "accuracy_macro_low", "accuracy_natural", "gold_loss_nats_macro",
    ]
    assert len(metrics["lab"]) == 12
    found = row(table, "lab", "accuracy", "macro")
    assert metrics["lab"]["accuracy_difference_macro_low"] == found["low"]
    assert metrics["lab"]["accuracy_p_holm_macro"] == found["p_holm"]
    assert metrics["lab"]["gold_loss_nats_macro"] == pytest.approx(0.55)
    assert all(math.isfinite(number) for numbers in metrics.values() for number in numbers.values())


def broken(change):
    items = study()
    items["lab", 2] = change(items["lab", 2])
    return items


@pytest.mark.parametrize(
    ("items", "words"),
    [
        (broken(lambda frame: frame.head(6)), ("data/evaluate/lab/2/items.parquet", "1 items", "'item6'", "dvc repro evaluate@lab-2")),
        (broken(lambda frame: frame.with_columns(leaf=pl.lit("knowledge/c"))), ("4 items", "4 are others")),
        (broken(lambda frame: pl.concat([frame, frame.head(1)])), ("'item0' occurs more than once",)),
        (broken(lambda frame: frame.with_columns(gold_loss=pl.lit(math.nan))), ("7 of 7 values of 'gold_loss'", "learning_rate")),
        (broken(lambda frame: frame.with_columns(right=pl.lit(None, dtype=pl.Boolean))), ("7 of 7 values of 'right'",)),
        (broken(lambda frame: frame.drop("branch")), ("found no column branch",)),
    ],
)
def test_arms_that_did_not_answer_the_same_exam_are_refused_with_the_file_and_the_cure(items, words):
    with pytest.raises(CorruptInput) as refusal:
        compare.compare_arms(items, LEAVES, **SETTINGS)
    for word in words:
        assert word in str(refusal.value)


def test_a_baseline_that_is_no_arm_is_a_mistake_in_the_params():
    with pytest.raises(ParamsError, match=r"the baseline is 'direkt' and the arms are direct, lab; add it to study\.recipes"):
        compare.compare_arms(study(), LEAVES, **SETTINGS | {"baseline": "direkt"})
    with pytest.raises(ParamsError, match="no recipe at all"):
        compare.compare_arms({}, LEAVES, **SETTINGS)


def test_a_leaf_of_the_exam_that_the_taxonomy_lacks_is_refused():
    with pytest.raises(CorruptInput, match=r"1 leaves of the exam are absent \(one is 'knowledge/c'\).*dvc repro exam"):
        compare.compare_arms(study(), LEAVES.head(2), **SETTINGS)


def test_an_exam_of_one_leaf_has_no_interval_over_leaves():
    items = {key: frame.filter(leaf="foundational/a") for key, frame in study().items()}
    with pytest.raises(CorruptInput, match="1 leaf in split 'key'"):
        compare.compare_arms(items, LEAVES, **SETTINGS)
