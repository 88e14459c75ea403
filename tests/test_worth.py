"""k(loss) of recipes: learning curves by hand, what is a bound, and the stage compare with and without sizes."""

import math

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

import stages.compare
from espalier.costs import NAMES
from espalier.errors import CorruptInput
from espalier.io import read_json, read_rows, write_json, write_rows
from espalier.worth import POINTS, compare_worth, learning_curves, lowest, worth_metrics, worth_words
from tests.worlds import tiny_params, with_params, with_seeds

SHARES = (0.125, 0.25, 0.5, 1.0)
LEAVES = pl.DataFrame({"leaf": [f"k/{i}" for i in range(6)], "branch": ["k"] * 6, "rank": [1, 2, 3, 4, 5, 6]})
OPTIONS = {"baseline": "direct", "skew": 1.0, "draws": 200, "confidence": 0.95, "seed": 42}


def law(tokens):
    """5 nats at 1000 tokens and 1 less for every doubling."""
    return 5.0 - math.log2(tokens / 1000)


def student(*, worth=1.0, noise=0.0, budget=16_000, rank_gain=0.0):
    """Losses of a student at every size, two items a leaf, one `noise` above and one below; leaf i is i / 10 harder, and `rank_gain` x i easier for this recipe."""
    rows = []
    for share in SHARES:
        tokens = round(share * budget)
        for i, leaf in enumerate(LEAVES["leaf"]):
            for j in (0, 1):
                rows.append((share, tokens, f"i{i}{j}", leaf, law(worth * tokens) + i / 10 - rank_gain * i + noise + (0.5 - j) / 4))
    return pl.DataFrame(rows, schema=["share", "text_tokens", "item", "leaf", "gold_loss"], orient="row")


def study(**arms):
    """Two seeds a recipe, whose losses lie 0.01 above and below."""
    return {(recipe, seed): student(noise=noise, **made) for recipe, made in arms.items() for seed, noise in ((1, 0.01), (2, -0.01))}


def test_the_curves_are_the_mean_losses_of_the_leaves_by_size_in_both_weightings():
    table = learning_curves(study(direct={}), LEAVES, skew=1.0)
    assert table.select("recipe", "seed", "share", "text_tokens").rows() == [
        ("direct", seed, share, tokens) for seed in (1, 2) for share, tokens in zip(SHARES, (2000, 4000, 8000, 16_000), strict=True)
    ]
    first = table.row(0, named=True)
    assert first["loss_macro_nats"] == pytest.approx(4.0 + 0.25 + 0.01)  # 5 - log2(2); leaves are 0, .1 .. .5 harder
    weights = 1 / np.arange(1, 7)
    assert first["loss_natural_nats"] == pytest.approx(4.01 + float(np.arange(6) / 10 @ weights / weights.sum()))


def test_text_worth_1_9_times_as_much_has_k_1_9_at_every_loss_and_in_both_weightings():
    worth = compare_worth(study(direct={}, lab={"worth": 1.9}), LEAVES, **OPTIONS)
    assert worth["recipe"].unique().to_list() == ["lab"]
    assert worth.group_by("weighting").len().sort("weighting").rows() == [("macro", POINTS), ("natural", POINTS)]
    assert worth["k"].to_list() == pytest.approx([1.9] * 2 * POINTS)
    assert not worth["is_bound"].any()
    last = lowest(worth, "lab", "macro")
    assert (last["loss_nats"], last["text_tokens"]) == pytest.approx((5 - math.log2(1.9 * 16) + 0.25, 16_000))
    assert last["low"] <= 1.9 <= last["high"]


def test_text_worth_eight_times_as_much_is_only_known_to_be_worth_more_than_twice_at_its_lowest_loss():
    worth = compare_worth(study(direct={}, lab={"worth": 8.0}), LEAVES, **OPTIONS)
    last = lowest(worth, "lab", "macro")
    assert (last["k"], last["is_bound"], last["high"]) == (pytest.approx(2.0), True, math.inf)
    first = worth.filter(weighting="macro").row(0, named=True)
    assert (first["k"], first["is_bound"]) == (pytest.approx(8.0), False)


def test_the_weightings_may_disagree():
    """A recipe that is 0.4 nats better on the rarest leaf and not on the commonest is worth more when every leaf counts alike."""
    worth = compare_worth(study(direct={}, lab={"rank_gain": 0.08}), LEAVES, **OPTIONS)
    macro, natural = (lowest(worth, "lab", weighting)["k"] for weighting in ("macro", "natural"))
    assert macro == pytest.approx(2 ** (0.08 * 2.5))
    weights = 1 / np.arange(1, 7)
    assert natural == pytest.approx(2 ** float(0.08 * np.arange(6) @ weights / weights.sum()))
    assert macro > natural > 1


def test_a_shorter_mix_is_counted_by_its_tokens():
    """The same text cut at half the tokens: the curve is the same, so k is 1."""
    worth = compare_worth(study(direct={}, lab={"budget": 8_000}), LEAVES, **OPTIONS)
    assert worth["k"].to_list() == pytest.approx([1.0] * 2 * POINTS)
    assert lowest(worth, "lab", "macro")["text_tokens"] == pytest.approx(8_000)


def test_a_recipe_that_reaches_no_loss_of_the_baseline_has_no_k_and_no_metric():
    worth = compare_worth(study(direct={}, lab={"worth": 1 / 64}), LEAVES, **OPTIONS)
    assert worth.height == 0
    assert lowest(worth, "lab", "macro") is None
    assert worth_metrics(worth) == {}


def test_of_one_seed_it_is_said_that_the_noise_of_training_is_missing():
    two, one = study(direct={}, lab={"worth": 1.5}), {arm: frame for arm, frame in study(direct={}, lab={"worth": 1.5}).items() if arm[1] == 1}
    words = [worth_words(lowest(compare_worth(arms, LEAVES, **OPTIONS), "lab", "macro"), "direct") for arms in (two, one)]
    assert [" (one seed: without the noise of training)" in one for one in words] == [False, True]


def test_the_metrics_are_k_at_the_lowest_loss_and_leave_out_an_end_that_is_not_there():
    metrics = worth_metrics(compare_worth(study(direct={}, lab={"worth": 1.5}, wide={"worth": 8.0}), LEAVES, **OPTIONS))
    assert {recipe: sorted(numbers) for recipe, numbers in metrics.items()} == {
        "lab": ["k_macro", "k_macro_high", "k_macro_is_bound", "k_macro_loss_nats", "k_macro_low"],
        "wide": ["k_macro", "k_macro_is_bound", "k_macro_loss_nats", "k_macro_low"],
    }
    assert (metrics["lab"]["k_macro_is_bound"], metrics["wide"]["k_macro_is_bound"]) == (0, 1)
    assert metrics["lab"]["k_macro"] == pytest.approx(1.5, rel=0.02)


def test_the_same_seed_gives_the_same_intervals_and_a_recipe_more_changes_none():
    arms = study(direct={}, lab={"worth": 2.0})
    worth = compare_worth(arms, LEAVES, **OPTIONS)
    assert worth.equals(compare_worth(arms, LEAVES, **OPTIONS))
    assert worth.equals(compare_worth(arms | study(wide={"worth": 3.0}), LEAVES, **OPTIONS).filter(recipe="lab"))
    assert not worth.equals(compare_worth(arms, LEAVES, **OPTIONS | {"seed": 43}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.head(11), "found 11 losses of 11 items and sizes, wanted 48, the same for every student; run `dvc repro evaluate@lab-2`"),
        (lambda frame: pl.concat([frame, frame.head(1)]), "found 49 losses of 48 items and sizes, wanted 48"),
        (lambda frame: frame.with_columns(gold_loss=pl.lit(math.nan)), "48 losses are not finite numbers"),
    ],
)
def test_students_that_were_not_asked_the_same_are_refused_with_the_file_and_the_cure(change, words):
    arms = study(direct={}, lab={})
    arms["lab", 2] = change(arms["lab", 2])
    for function in (lambda: learning_curves(arms, LEAVES, skew=1.0), lambda: compare_worth(arms, LEAVES, **OPTIONS)):
        with pytest.raises(CorruptInput) as refusal:
            function()
        assert str(refusal.value).startswith("data/evaluate/lab/2/sizes.parquet: ")
        assert words in str(refusal.value)


# the stage


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What the stages before compare leave, for two recipes and two seeds; lab has cost twice the generation."""
    monkeypatch.chdir(tmp_path)
    text = with_seeds(with_params(tiny_params(), {"train.sizes": "[0.125, 0.25, 0.5]"}), 2)
    for name in ("conditional", "multistage"):
        text = text.replace(f"  - {name}\n", "", 1)
    (tmp_path / "params.yaml").write_text(text)
    write_rows("data/taxonomy/leaves.parquet", LEAVES)
    write_json("metrics/teacher.json", {"teacher": {"parameters": 1000}})
    for recipe, worth, read in (("direct", 1.0, 100), ("lab", 1.5, 300)):
        write_rows(f"data/mix/{recipe}/rows.parquet", pl.DataFrame({"delivered_leaf": LEAVES["leaf"], "tokens": [100] * 6}))
        for place, step in enumerate(("context", "query", "evolve", "answer")):
            write_json(f"metrics/{step}/{recipe}.json", {step: {recipe: {"read_tokens": read, "spent_tokens": 100 * place}}})
        for seed, noise in ((1, 0.01), (2, -0.01)):
            sizes = student(worth=worth, noise=noise)
            write_rows(f"data/evaluate/{recipe}/{seed}/sizes.parquet", sizes)
            whole = sizes.filter(share=1.0).with_columns(
                pl.lit("key").alias("split"), pl.lit("k").alias("branch"), (pl.int_range(pl.len()) % 2 == 0).alias("right")
            )
            write_rows(f"data/evaluate/{recipe}/{seed}/items.parquet", whole)
            write_rows(f"data/train/{recipe}/{seed}/curve.parquet", pl.DataFrame({"tokens": [10, 20], "loss_nats": [2.0, 1.0]}))
            write_json(f"metrics/train/{recipe}/{seed}.json", {"train": {recipe: {str(seed): {"flops": 1_000_000}}}})
    return tmp_path


def compare():
    result = CliRunner().invoke(stages.compare.main, [])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_stage_tells_the_three_costs_together_and_k_in_both_weightings(folder):
    said = compare()
    # direct: 2 x 1000 x (4 x 100 + 300) = 1.4e6; lab: 2 x 1000 x (4 x 300 + 300) = 3e6; each with 1e6 of training: 4 / 2.4
    cost = "equal tokens of text (1.000 x), equal training FLOPs (1.000 x), NOT equal total FLOPs (1.667 x)"
    assert f"compare: lab against direct, cost: {cost}" in said
    assert "compare: lab against direct, macro: worth 1.50 x the text of direct (" in said
    assert "compare: lab against direct, natural: worth 1.50 x the text of direct (" in said
    numbers = read_json("metrics/compare.json")["compare"]
    assert {name: numbers["lab"][f"{name}_ratio"] for name in NAMES} == {"tokens": 1.0, "train_flops": 1.0, "total_flops": pytest.approx(4 / 2.4)}
    assert [numbers["lab"][f"equal_{name}"] for name in NAMES] == [1, 1, 0]
    assert numbers["lab"]["k_macro"] == pytest.approx(1.5, rel=0.02)
    assert {"accuracy_macro", "accuracy_p_holm_macro"} <= set(numbers["lab"])
    assert read_rows("data/compare/sizes.parquet").height == 2 * 2 * 4
    assert read_rows("data/compare/worth.parquet").height == 2 * POINTS


def test_without_sizes_the_stage_looks_for_no_losses_by_size_and_its_tables_of_them_are_empty(folder):
    (folder / "params.yaml").write_text(with_params((folder / "params.yaml").read_text(), {"train.sizes": "[]"}))
    for file in folder.glob("data/evaluate/*/*/sizes.parquet"):
        file.unlink()
    said = compare()
    assert "worth" not in said
    assert [read_rows(f"data/compare/{name}.parquet").height for name in ("sizes", "worth", "costs")] == [0, 0, 2]
    assert [name for name in read_json("metrics/compare.json")["compare"]["lab"] if name.startswith("k_")] == []


def test_rows_that_are_not_a_recipes_own_leave_its_total_cost_unknown(folder):
    for step in ("context", "query", "evolve", "answer"):
        (folder / f"metrics/{step}/lab.json").unlink()
    assert "equal training FLOPs (1.000 x), total FLOPs not known" in compare()
    assert "total_flops_ratio" not in read_json("metrics/compare.json")["compare"]["lab"]


def test_generation_that_was_counted_in_part_is_missing_input_and_no_cost(folder):
    (folder / "metrics/evolve/lab.json").unlink()
    result = CliRunner().invoke(stages.compare.main, [])
    assert result.exit_code == 3
    assert "metrics/evolve/lab.json: no such file; make it with `dvc repro evolve" in result.output
