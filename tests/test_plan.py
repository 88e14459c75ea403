import json
from collections import Counter
from itertools import product

import polars as pl
import pytest

from espalier.plan import Ask, Tables, plan_metrics, plan_rows
from espalier.settings import Recipe
from espalier.taxonomy import tabulate
from espalier.world.demonstrations import seed_tree

LEAVES, SEEDS = tabulate(seed_tree(seed=0))
LEAVES = LEAVES.with_columns(pl.lit("").alias("requirements"))
LISTS = {"style": ("question", "command", "short"), "size": ("short", "long")}
TEACHER, TAXONOMY = (Recipe(leaves, (), (), {}) for leaves in ("teacher", "taxonomy"))
COLUMNS = [
    "id", "root_id", "parent_id", "call", "turn", "recipe", "index", "leaf", "branch", "task", "topic", "requirements", "verifier", "checks", "example",
    "examples", "document", "pool", "source", "attributes",
]  # fmt: skip


def planned(recipe=TAXONOMY, rows=200, *, name="lab", leaves=LEAVES, seeds=SEEDS, lists=LISTS, seed=1, inputs=(), per_call=1, documents=()):
    return plan_rows(name, recipe, Tables(leaves, seeds, documents), lists, Ask(frozenset(inputs), per_call), rows=rows, seed=seed)


@pytest.mark.parametrize("recipe", [TEACHER, TAXONOMY], ids=["teacher", "taxonomy"])
def test_the_first_rows_of_a_longer_plan_are_those_of_a_shorter_one(recipe):
    short, long = planned(recipe, 100), planned(recipe, 200)
    assert long.filter(pl.col("index") < 100).rows() == short.rows()
    assert (short.height, sorted(long["index"])) == (100, list(range(200)))


@pytest.mark.parametrize("rows", [1, 54, 200, 541])
def test_a_taxonomy_recipe_gives_every_leaf_its_equal_share(rows):
    counts = Counter(planned(rows=rows)["leaf"])
    shares = [counts.get(leaf, 0) for leaf in LEAVES["leaf"]]
    assert (sum(shares), max(shares) - min(shares)) == (rows, int(rows % 54 > 0))


def test_a_row_says_what_its_leaf_is():
    known = {leaf: (branch, task) for leaf, branch, task in LEAVES.select("leaf", "branch", "task").iter_rows()}
    for row in planned().iter_rows(named=True):
        assert (row["branch"], row["task"]) == known[row["leaf"]]
        seeds = SEEDS.filter(leaf=row["leaf"]).select("context", "query").rows()
        assert (row["document"], row["example"]) in {(context, f"{context} {query}".strip()) for context, query in seeds}
        assert (row["document"] != "") == (row["branch"] == "knowledge")


def test_different_seed_examples_of_a_leaf_come_up():
    rows = planned(rows=54 * 20).filter(leaf="compositional_skills/digits/ends")
    assert set(rows["example"]) == set(SEEDS.filter(leaf="compositional_skills/digits/ends")["query"])  # 5 in 20 draws


def test_a_recipe_whose_teacher_picks_the_leaf_asks_for_none():
    rows = planned(TEACHER, 50)
    assert rows.select("leaf", "branch", "task", "example", "document").unique().rows() == [("", "", "", "", "")]


@pytest.mark.parametrize("recipe", [TEACHER, TAXONOMY], ids=["teacher", "taxonomy"])
def test_ids_are_unique_and_rows_are_sorted_by_them(recipe):
    rows = planned(recipe, 300)
    assert rows["id"].n_unique() == 300
    assert rows["id"].to_list() == sorted(rows["id"]) == rows["root_id"].to_list()
    assert (set(rows["parent_id"]), set(rows["recipe"]), rows.columns) == ({""}, {"lab"}, COLUMNS)
    assert set(map(len, rows["id"])) == {32}


def test_another_seed_and_another_recipe_share_no_row_with_it():
    rows = set(planned(rows=300)["id"])
    assert rows & set(planned(rows=300, seed=2)["id"]) == set()
    assert rows & set(planned(rows=300, name="other")["id"]) == set()
    assert rows == set(planned(rows=300)["id"])


def test_a_leaf_more_leaves_the_rows_of_the_others_as_they_are():
    few, more = planned(leaves=LEAVES.head(10), rows=100), planned(leaves=LEAVES.head(11), rows=110)
    added = LEAVES["leaf"][10]
    assert more.filter(leaf=added).height == 10
    assert more.filter(pl.col("leaf") != added).drop("index").rows() == few.drop("index").rows()


def test_attributes_are_canonical_json_of_values_from_the_lists():
    for text in planned()["attributes"]:
        value = json.loads(text)
        assert text == json.dumps(value, sort_keys=True)
        assert list(value) == ["size", "style"]
        assert value["size"] in LISTS["size"]
        assert value["style"] in LISTS["style"]


def test_attributes_beyond_ascii_stay_readable():
    assert planned(TEACHER, 1, lists={"size": ("größer",)})["attributes"].to_list() == ['{"size": "größer"}']


def test_six_rows_of_a_leaf_meet_all_six_combinations():
    rows = planned(rows=54 * 6)
    every = {json.dumps({"size": size, "style": style}) for size, style in product(LISTS["size"], LISTS["style"])}
    assert {leaf: set(some["attributes"]) for (leaf,), some in rows.group_by("leaf")} == dict.fromkeys(LEAVES["leaf"], every)


def test_leaves_begin_their_walks_at_different_places():
    first = planned(rows=54).select("leaf", "attributes")
    assert first["attributes"].n_unique() == 6  # 54 leaves on 6 combinations: the chance to miss one is 6 x (5/6)^54 < 1e-3


def test_six_rows_without_a_leaf_meet_all_six_combinations_too():
    assert planned(TEACHER, 6)["attributes"].n_unique() == 6


def test_a_plan_without_lists_has_empty_attributes():
    assert planned(lists={})["attributes"].unique().to_list() == ["{}"]


def test_the_metrics_count_rows_leaves_and_combinations():
    assert plan_metrics(planned(rows=100)) == {"rows": 100, "leaves": 54, "combinations": 6}
    assert plan_metrics(planned(TEACHER, 100, lists={})) == {"rows": 100, "leaves": 0, "combinations": 1}


@pytest.mark.parametrize("recipe", [TEACHER, TAXONOMY], ids=["teacher", "taxonomy"])
def test_rows_that_share_a_call_share_all_that_it_asks(recipe):
    rows = planned(recipe, 54 * 6, per_call=3, inputs=("examples", "pool", "source"), documents=[f"passage {i}" for i in range(7)])
    asked = rows.group_by("call").agg(pl.col("example", "examples", "pool", "source", "attributes").n_unique(), pl.col("turn").sort())
    assert set(asked.select("example", "examples", "pool", "source", "attributes").rows()) == {(1, 1, 1, 1, 1)}
    assert asked["turn"].to_list() == [[0, 1, 2]] * (54 * 2)
    assert rows["source"].n_unique() == 7
