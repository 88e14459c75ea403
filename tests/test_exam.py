import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import polars as pl
import pytest

from espalier.errors import EspalierError
from espalier.exam import reference_texts, set_exam
from espalier.io import write_rows
from espalier.settings import Exam
from espalier.taxonomy import tabulate
from espalier.world.demonstrations import seed_tree
from espalier.world.grammar import HELD_OUT_WORDING, LEAF_OF, parse, verify

LEAVES, SEEDS = tabulate(seed_tree(seed=0))
SIZES = Exam(key_items=6, template_items=3, difficulty_items=2, reference_texts=1, held_out_examples=0)
ITEMS, GOLD = set_exam(LEAVES, SEEDS, SIZES, seed=1)
NUMBERS = LEAVES.filter(leaf="foundational_skills/number/next")  # 90 problems at level 1: 10 .. 99


def texts(items):
    return [f"{context} {query}" for context, query in items.select("context", "query").iter_rows()]


@contextmanager
def at_most(seconds):
    """An endless loop is a failure instead of a hung run."""

    def stop(*_):
        raise TimeoutError(f"longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_every_leaf_has_its_items_in_every_split():
    counts = Counter(ITEMS.select("leaf", "split").iter_rows())
    assert counts == {(leaf, split): n for leaf in LEAF_OF for split, n in (("key", 6), ("template", 3), ("difficulty", 2))}
    assert ITEMS.columns == ["item", "split", "leaf", "branch", "template", "level", "context", "query", "problem_key"]


def test_an_item_says_what_its_text_poses():
    for row, problem in zip(ITEMS.iter_rows(named=True), map(parse, texts(ITEMS)), strict=True):
        assert (row["leaf"], row["branch"], row["problem_key"], row["level"]) == (problem.leaf.name, problem.leaf.branch, problem.key, problem.level)
        assert row["template"] == f"{problem.opening or 'plain'}/{problem.wording}"


def test_the_template_split_alone_has_the_held_out_wording_and_the_difficulty_split_alone_the_held_out_level():
    found = {(split, parse(text).wording == HELD_OUT_WORDING, parse(text).level) for split, text in zip(ITEMS["split"], texts(ITEMS), strict=True)}
    assert found == {("key", False, 1), ("key", False, 2), ("key", False, 3), ("template", True, 1), ("template", True, 2), ("template", True, 3),
                     ("difficulty", False, 4)}  # fmt: skip
    levels = Counter(ITEMS.filter(split="key").select("leaf", "level").iter_rows())
    assert set(levels.values()) == {2}  # 6 items on 3 levels


def test_every_gold_answer_is_right_and_stands_in_a_file_of_its_own():
    assert GOLD["item"].to_list() == ITEMS["item"].to_list() == sorted(ITEMS["item"])
    assert {verify(text, answer).verdict for text, answer in zip(texts(ITEMS), GOLD["answer"], strict=True)} == {"right"}
    assert (GOLD.columns, set(ITEMS.columns) & set(GOLD.columns)) == (["item", "answer"], {"item"})


def test_no_problem_comes_twice():
    assert ITEMS["problem_key"].n_unique() == ITEMS["item"].n_unique() == ITEMS.height == 54 * 11


def test_no_problem_comes_twice_where_a_leaf_has_few():
    items, _ = set_exam(NUMBERS, SEEDS, replace(SIZES, key_items=200), seed=1)  # 67 of the 90 at level 1
    assert items["problem_key"].n_unique() == items.height == 205


def test_no_item_repeats_a_problem_of_the_seed_examples():
    known = {parse(f"{context} {query}").key for context, query in SEEDS.select("context", "query").iter_rows()}
    assert known & set(ITEMS["problem_key"]) == set()
    as_seeds = ITEMS.select("leaf", "context", "query")  # what this seed would ask if nothing hindered it
    others, _ = set_exam(LEAVES, pl.concat([SEEDS.select("leaf", "context", "query"), as_seeds]), SIZES, seed=1)
    assert (others.height, set(others["problem_key"]) & set(ITEMS["problem_key"])) == (ITEMS.height, set())


def test_seed_examples_of_another_world_hinder_nothing():
    foreign = pl.DataFrame({"leaf": ["x"], "context": ["Who was it?"], "query": ["Nobody knows."]})
    items, _ = set_exam(NUMBERS, foreign, SIZES, seed=1)
    assert items.height == 11


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        for kind, frame in zip(("items", "gold"), set_exam(LEAVES.head(5), SEEDS, SIZES, seed=1), strict=True):
            write_rows(tmp_path / f"{name}.{kind}", frame)
    for kind in ("items", "gold"):
        assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()


def test_another_seed_gives_other_ids_and_mostly_other_problems():
    other, _ = set_exam(LEAVES, SEEDS, SIZES, seed=2)
    assert set(other["item"]) & set(ITEMS["item"]) == set()
    assert len(set(other["problem_key"]) & set(ITEMS["problem_key"])) < 0.1 * ITEMS.height
    one, two = (set_exam(NUMBERS, SEEDS, replace(SIZES, key_items=200), seed=seed)[0] for seed in (1, 2))
    assert len(set(one["problem_key"]) & set(two["problem_key"])) > 40  # at least 67 + 67 - 90 of level 1, and yet:
    assert set(one["item"]) & set(two["item"]) == set()


def test_the_items_of_a_leaf_do_not_hang_on_the_other_leaves():
    alone, _ = set_exam(NUMBERS, SEEDS, SIZES, seed=1)
    assert alone.rows() == ITEMS.filter(leaf="foundational_skills/number/next").rows()


def test_a_leaf_keeps_its_own_name_and_is_asked_by_its_verifier():
    leaves = NUMBERS.with_columns(pl.lit("foundational_skills/mine").alias("leaf"))
    items, gold = set_exam(leaves, SEEDS, SIZES, seed=1)
    assert set(items["leaf"]) == {"foundational_skills/mine"}
    assert {verify(text, answer).leaf for text, answer in zip(texts(items), gold["answer"], strict=True)} == {"foundational_skills/number/next"}


def test_a_split_of_no_items_is_left_out():
    items, _ = set_exam(NUMBERS, SEEDS, replace(SIZES, template_items=0, difficulty_items=0), seed=1)
    assert (items.height, set(items["split"])) == (6, {"key"})


def test_more_items_than_a_leaf_has_problems_are_refused_instead_of_sought_for_ever():
    with at_most(1.0), pytest.raises(EspalierError, match=r"exam\.key_items"):
        set_exam(NUMBERS, SEEDS, replace(SIZES, key_items=300), seed=1)  # 100 at level 1, which has 90


def test_reference_texts_are_right_and_none_is_an_item_of_the_exam():
    free = reference_texts(NUMBERS, ITEMS.clear(), n=200, skew=1.0, seed=3)
    found = reference_texts(NUMBERS, free.head(30), n=200, skew=1.0, seed=3)
    assert set(found["problem_key"]) & set(free.head(30)["problem_key"]) == set()
    assert (found.height, found.columns) == (200, ["context", "query", "answer", "problem_key"])
    assert {verify(text, answer).verdict for text, answer in zip(texts(found), found["answer"], strict=True)} == {"right"}
    assert found["problem_key"].to_list() == [parse(text).key for text in texts(found)]
    levels = Counter(parse(text).level for text in texts(found))
    assert (max(levels.values()) - min(levels.values()), sorted(levels)) == (1, [1, 2, 3])


def test_reference_texts_come_at_natural_frequencies_and_follow_their_seed():
    found = reference_texts(LEAVES, ITEMS, n=2000, skew=1.0, seed=3)
    first = LEAVES.filter(rank=1)["leaf"].item()
    share = 1 / sum(1 / rank for rank in range(1, 55))
    asked = sum(key.startswith(f"{first}|") for key in found["problem_key"])
    assert abs(asked / 2000 - share) < 4 * (share * (1 - share) / 2000) ** 0.5  # four standard deviations
    assert found.equals(reference_texts(LEAVES, ITEMS, n=2000, skew=1.0, seed=3))
    assert not found.equals(reference_texts(LEAVES, ITEMS, n=2000, skew=1.0, seed=4))
