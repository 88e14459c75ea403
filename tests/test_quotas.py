"""What the quotas of the filter hold down and give back."""

import polars as pl
import pytest

from espalier.filter import filter_metrics, starved_words
from espalier.quotas import cap, top_up
from espalier.seeds import share
from tests.test_filter import kept_ids, reasons, rows, split, votes


def test_a_cluster_keeps_its_best_rows_and_rows_without_one_have_no_cap():
    frame = rows(*votes(0.2, 0.9, 0.5, neighbour_cluster=7), *votes(0.1, 0.1, 0.1))
    assert kept_ids(frame, max_cluster_rows=2) == ["r1", "r2", "r3", "r4", "r5"]
    assert reasons(frame, max_cluster_rows=1) == {"r0": "cluster_full", "r2": "cluster_full"}


def test_a_dropped_row_takes_no_place_in_its_cluster():
    frame = rows({"vote_share": 0.9, "words": 0, "neighbour_cluster": 7}, {"vote_share": 0.2, "neighbour_cluster": 7})
    assert reasons(frame, max_cluster_rows=1, min_words=1) == {"r0": "length:short"}


def test_a_leaf_keeps_at_most_its_best_rows_and_unparseable_rows_are_no_leaf():
    frame = rows(*votes(0.2, 0.9, 0.5), *votes(0.1, delivered_leaf="b"), *votes(0.1, 0.1, delivered_leaf=""))
    assert kept_ids(frame, max_leaf_rows=1) == ["r1", "r3", "r4", "r5"]
    assert reasons(frame, max_leaf_rows=1) == {"r0": "leaf_full", "r2": "leaf_full"}


def test_a_starved_leaf_gets_its_best_dropped_rows_back_and_they_are_flagged():
    frame = rows(*votes(0.9, 0.8, 0.3, 0.4, 0.2), *votes(0.3, delivered_leaf="b"))
    kept, dropped = split(frame, min_vote=0.5, min_leaf_rows=3)
    assert dict(kept.select("id", "topped_up").iter_rows()) == {"r0": False, "r1": False, "r3": True, "r5": True}
    assert dropped["id"].to_list() == ["r2", "r4"]
    metrics = filter_metrics(kept, dropped, min_leaf_rows=3)
    assert (metrics["rows_topped_up"], metrics["leaves_short"], metrics["leaves_lost"]) == (2, 1, 0)
    assert metrics["rows_kept"] + dropped.height == metrics["rows_in"] == 6


def test_of_equal_goodness_the_row_with_the_fewest_reasons_comes_back_first():
    frame = rows({"words": 0, "repeat_share": 0.9}, {"words": 0})
    assert kept_ids(frame, min_words=1, max_repeat=0.5, min_leaf_rows=1) == ["r1"]
    better = rows({"words": 0, "repeat_share": 0.9, "vote_share": 0.7}, {"words": 0})
    assert kept_ids(better, min_words=1, max_repeat=0.5, min_leaf_rows=1) == ["r0"]


def test_an_unfinished_row_and_one_verified_as_wrong_never_come_back():
    frame = rows({"status": "truncated"}, {"verdict": "wrong"}, {"verdict": "unparseable", "words": 0}, {"delivered_leaf": "b", "verdict": "wrong"})
    assert kept_ids(frame, require_verified=True, min_words=1, min_leaf_rows=5) == []
    assert kept_ids(frame, min_words=9, min_leaf_rows=5) == ["r1", "r2", "r3"]  # the verdict is not required


def test_a_row_comes_back_into_no_full_cluster():
    frame = rows(*votes(0.9, 0.8, neighbour_cluster=1), *votes(0.7, neighbour_cluster=2), *votes(0.6, 0.5, neighbour_cluster=3))
    kept, _ = split(frame, min_vote=0.85, max_cluster_rows=1, min_leaf_rows=5)
    assert kept["id"].to_list() == ["r0", "r2", "r3"]


def test_random_tops_up_at_random_whatever_the_scores_are():
    frame, other = rows(*votes(*[0.1] * 40)), rows(*votes(*[i / 40 for i in range(40)]))
    kept = kept_ids(frame, kind="random", keep_share=0.0, min_leaf_rows=10)
    assert kept == kept_ids(other, kind="random", keep_share=0.0, min_leaf_rows=10)
    assert len(kept) == 10
    assert set(kept) == set(sorted(frame["id"], key=lambda one: share(1, "filter", one))[:10])


def test_effective_leaves_grow_when_starved_leaves_are_filled():
    frame = rows(*votes(*[0.9] * 20), *votes(*[0.3] * 20, delivered_leaf="b"))
    bare, filled = (filter_metrics(*split(frame, min_vote=0.5, min_leaf_rows=n), min_leaf_rows=n) for n in (0, 20))
    assert (bare["effective_leaves_after"], bare["leaves_lost"]) == (1.0, 1)
    assert (filled["effective_leaves_after"], filled["leaves_lost"]) == (pytest.approx(2.0), 0)


def test_a_quota_of_nothing_changes_nothing():
    found = [["vote"], [], ["echo"]]
    assert cap(found, ["a", "a", "a"], rank=[0, 1, 2], most=0, reason="x") == found
    assert top_up(found, ["a", "a", "a"], [None] * 3, rank=[0, 1, 2], min_leaf_rows=0, max_cluster_rows=0) == (found, [False] * 3)


def test_the_starved_leaves_are_named_the_emptiest_first():
    rates = pl.DataFrame({"leaf": ["", "a", "b", "c"], "n_in": [5, 9, 8, 7], "n_kept": [0, 4, 0, 7]})
    assert starved_words(rates, min_leaf_rows=5) == "2 leaves have fewer than 5 rows: b 0 of 8, a 4 of 9"
    assert starved_words(rates, min_leaf_rows=0) == "1 leaf has no row left: b 0 of 8"
    assert starved_words(rates.filter(pl.col("leaf") == "c"), min_leaf_rows=7) == ""
    many = pl.DataFrame({"leaf": [f"l{i:02}" for i in range(13)], "n_in": [1] * 13, "n_kept": [0] * 13})
    assert starved_words(many, min_leaf_rows=0).endswith("l09 0 of 1, and 3 more")
