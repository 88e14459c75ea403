"""The audit: hand-computed AUCs and intervals, simulated truths, thresholds that keep their promise, and who may see a verdict."""

import ast
import math

import numpy as np
import polars as pl
import pytest

from espalier.auc import auc, auc_interval, clustered_auc, mean_auc
from espalier.audit import LEAF_SCHEMA, SCORER_SCHEMA, THRESHOLD_SCHEMA, audit_metrics, audit_rows, least_strict, verified
from espalier.clustered import clustered_shares, sums_of, total, wilson
from espalier.ranges import SCORER_NAMES
from espalier.scorers.table import SCORERS
from tests.audit_coverage import TRUE_AUC, TRUE_LEAF_AUC, coverage, leaf_coverage, promises, study, table, true_precision
from tests.closure import ROOT


def rows(*changes):
    one = {"id": "", "status": "ok", "verdict": "right", "delivered_leaf": "a", "vote_share": 1.0}
    return pl.DataFrame([one | {"id": f"r{i}"} | change for i, change in enumerate(changes)])


def judged(verdict, leaf, *votes):
    return [{"verdict": verdict, "delivered_leaf": leaf, "vote_share": vote} for vote in votes]


def audited(frame, *, target_precision=0.9):
    return audit_rows(frame, target_precision=target_precision, confidence=0.95)


def pooled(is_right, scores, leaf_index):
    return clustered_auc(np.array(scores, float), np.array(is_right, bool), leaf_index=np.array(leaf_index), confidence=0.95)


def test_the_auc_counts_a_tie_as_half_a_pair():
    # rights 3 2 1, wrongs 2 0: pairs won 3>2, 3>0, 2>0, 1>0 = 4, tied 2=2, lost 1<2; (4 + 1/2) / 6
    assert auc(np.array([3.0, 2.0, 1.0, 2.0, 0.0]), np.array([1, 1, 1, 0, 0], bool)) == pytest.approx(0.75)
    assert auc(np.array([1.0, 1.0, 1.0]), np.array([1, 0, 0], bool)) == 0.5
    assert auc(np.array([1.0, 2.0]), np.array([True, True])) is None


def test_the_auc_is_the_mann_whitney_statistic_with_midranks():
    rng = np.random.default_rng(3)
    scores, is_right = rng.integers(0, 4, 200).astype(float), rng.random(200) < 0.6
    # U = R - m (m + 1) / 2 with R the sum of the midranks of the m rights
    midranks = np.array([(scores < one).sum() + ((scores == one).sum() + 1) / 2 for one in scores])
    m, n = is_right.sum(), (~is_right).sum()
    assert auc(scores, is_right) == pytest.approx((midranks[is_right].sum() - m * (m + 1) / 2) / (m * n))


def test_an_end_of_the_interval_of_one_leaf_lies_where_newcombe_puts_it():
    low, high = auc_interval(0.8, rights=20, wrongs=10, confidence=0.95)
    for end in (low, high):  # (0.8 - A)**2 = 1.96**2 A (1 - A) (1 + 14 (1 - A) / (2 - A) + 14 A / (1 + A)) / 200; n = 30 / 2 - 1
        variance = end * (1 - end) * (1 + 14 * (1 - end) / (2 - end) + 14 * end / (1 + end)) / 200
        assert abs(0.8 - end) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    assert low < 0.8 < high


def test_a_perfect_leaf_of_few_rows_is_not_called_certain():
    low, high = auc_interval(1.0, rights=5, wrongs=5, confidence=0.95)
    assert high == 1.0
    # (1 - A)**2 = 1.96**2 A (1 - A) (1 + 4 (1 - A) / (2 - A) + 4 A / (1 + A)) / 25
    assert 1 - low == pytest.approx(1.959964**2 * low * (1 + 4 * (1 - low) / (2 - low) + 4 * low / (1 + low)) / 25, rel=1e-5)
    assert auc_interval(0.0, rights=5, wrongs=5, confidence=0.95) == pytest.approx((0.0, 1 - low))


def test_the_pooled_auc_compares_rows_of_different_leaves_too():
    # leaf 0: right 5, wrong 4; leaf 1: right 2, wrong 1. Within: both won. Across: 5>1 won, 2<4 lost. 3 of 4.
    found = pooled([1, 0, 1, 0], [5, 4, 2, 1], [0, 0, 1, 1])
    assert found.value == 0.75
    assert mean_auc(np.array([1.0, 1.0]), confidence=0.95).value == 1.0


def test_a_score_that_only_knows_which_leaf_is_hard_tells_nothing_within_the_leaves():
    leaf = np.repeat(np.arange(40), 50)
    rng = np.random.default_rng(0)
    is_right = rng.random(leaf.size) < np.linspace(0.1, 0.9, 40)[leaf]
    frame = table(leaf.astype(float), is_right, leaf)
    row = audited(frame).scorers.row(0, named=True)
    assert row["auc_low"] > 0.7
    assert (row["leaf_auc"], row["leaf_auc_low"], row["leaf_auc_high"]) == (0.5, 0.5, 0.5)


def test_the_interval_of_the_pooled_auc_is_that_of_a_bootstrap_over_leaves():
    scores, is_right, leaf = study(np.random.default_rng(5), leaves=54, rows=40, skew=0.0)
    found, rng = clustered_auc(scores, is_right, leaf_index=leaf, confidence=0.95), np.random.default_rng(6)
    places = [np.flatnonzero(leaf == one) for one in range(54)]
    drawn = [auc(scores[take], is_right[take]) for _ in range(400) if len(take := np.concatenate([places[i] for i in rng.integers(0, 54, 54)]))]
    assert found.high - found.low == pytest.approx(np.diff(np.quantile(drawn, [0.025, 0.975]))[0], rel=0.12)  # 400 draws and t: a tenth


def test_leaves_without_a_single_pair_in_disorder_still_leave_doubt():
    found = pooled([1, 0] * 6, [9, 1] * 6, np.repeat(np.arange(6), 2))
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(auc_interval(1.0, rights=6, wrongs=6, confidence=0.95)[0])


def test_one_leaf_or_one_kind_has_no_pooled_auc():
    assert pooled([1, 0], [1, 0], [0, 0]) is None
    assert pooled([1, 1], [1, 0], [0, 1]) is None
    assert mean_auc(np.array([0.8]), confidence=0.95) is None


def test_the_mean_auc_has_students_interval():
    # 0.6 0.7 0.8: mean 0.7, standard deviation 0.1, error 0.1 / sqrt(3), t with 2 degrees of freedom 4.303
    found = mean_auc(np.array([0.6, 0.7, 0.8]), confidence=0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7 - 4.303 * 0.1 / math.sqrt(3), 0.7 + 4.303 * 0.1 / math.sqrt(3)), abs=1e-4)


def test_a_scorer_of_known_auc_is_recovered_within_its_interval():
    found = audited(table(*study(np.random.default_rng(11), leaves=54, rows=100, skew=0.0))).scorers.row(0, named=True)
    assert found["auc_low"] < TRUE_AUC < found["auc_high"]
    assert found["leaf_auc_low"] < TRUE_LEAF_AUC < found["leaf_auc_high"]
    assert (round(TRUE_AUC, 3), round(TRUE_LEAF_AUC, 3)) == (0.801, 0.846)  # PHI(1.5 / sqrt(1.65 + 1.49)), PHI(1.5 / sqrt(2.16))
    assert found["auc_high"] - found["auc_low"] < 0.08


def test_the_intervals_hold_the_truth_93_to_97_percent_of_the_time_on_clustered_rows():
    for share in coverage(400, leaves=54, rows=30):
        assert 0.93 <= share <= 0.97
    assert 0.93 <= leaf_coverage(500, rights=30, wrongs=10, gain=1.0) <= 0.98  # Newcombe's is a little wide


def test_an_interval_over_rows_would_hold_it_less_than_90_percent_of_the_time():
    rng, held = np.random.default_rng(1), 0
    for _ in range(200):
        scores, is_right, _ = study(rng, leaves=54, rows=30, skew=0.0)
        low, high = auc_interval(auc(scores, is_right), rights=int(is_right.sum()), wrongs=int((~is_right).sum()), confidence=0.95)
        held += low <= TRUE_AUC <= high
    assert held / 200 < 0.90


def test_a_threshold_by_the_lower_end_keeps_its_promise_and_one_by_the_estimate_breaks_it_half_of_the_time():
    found = promises(100)
    assert found["estimate"][0] > 0.4
    assert found["lower end"][0] < 0.1
    assert found["lower end"][2] < 0.1  # it is nearly always found


def test_wilsons_interval_is_the_printed_one():
    # 8 of 10: (0.8 + 1.96**2 / 20 -+ 1.96 sqrt(0.016 + 1.96**2 / 400)) / (1 + 1.96**2 / 10)
    found = wilson(np.array([8.0]), np.array([10.0]), confidence=0.95)
    assert (found.value[0], found.low[0], found.high[0]) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_a_clustered_share_is_as_wide_as_its_leaves_differ():
    def width(hits, trials):
        found = clustered_shares(total(sums_of(np.array(hits, float), np.array(trials, float))), confidence=0.95)
        assert found.value == pytest.approx(0.5)
        return float(found.high - found.low)

    assert width([10, 0] * 10, [10] * 20) > 2 * width([5, 5] * 10, [10] * 20)
    # 10 of 10 and 0 of 10: variance 20 / 19 * 20 * (5 / 200)**2, so 0.25 / 0.013158 = 19 rows are worth; t with 19 degrees of freedom is 2.093
    square = 2.093**2 / 19
    assert width([10, 0] * 10, [10] * 20) == pytest.approx(2 * 2.093 / (1 + square) * math.sqrt(0.25 / 19 + square / 76), abs=1e-3)


def test_all_right_counts_every_leaf_as_one_row_and_a_single_leaf_proves_nothing():
    many = clustered_shares(total(sums_of(np.full(10, 50.0), np.full(10, 50.0))), confidence=0.95)
    square = 2.262**2 / 10  # t with 9 degrees of freedom; Wilson of 10 of 10: 1 / (1 + t**2 / 10)
    assert (float(many.value), float(many.high)) == (1.0, 1.0)
    assert float(many.low) == pytest.approx(1 / (1 + square), abs=1e-3)
    alone = clustered_shares(total(sums_of(np.array([50.0]), np.array([50.0]))), confidence=0.95)
    assert (float(alone.low), float(alone.high)) == (0.0, 1.0)


def test_sums_without_a_leaf_are_the_sums_of_the_others():
    hits, trials = np.array([3.0, 5.0, 2.0]), np.array([4.0, 9.0, 2.0])
    each = sums_of(hits, trials)
    left = clustered_shares(total(each).without(each), confidence=0.95)
    others = clustered_shares(total(sums_of(hits[1:], trials[1:])), confidence=0.95)
    assert (left.value[0], left.low[0], left.high[0]) == pytest.approx((float(others.value), float(others.low), float(others.high)))


def test_the_least_strict_cut_that_reaches_the_target_is_taken():
    cuts = np.array([1.0, 2.0, 3.0])
    assert least_strict(cuts, np.array([0.5, 0.9, 0.95]), target_precision=0.9) == 2.0
    assert np.isnan(least_strict(cuts, np.array([0.5, 0.6, 0.7]), target_precision=0.9))
    assert least_strict(cuts, np.array([[0.9, 0.9, 0.9], [0.1, 0.1, 0.9]]), target_precision=0.9).tolist() == [1.0, 3.0]


def test_precision_and_recall_are_those_of_the_cut_and_silence_lowers_recall():
    frame = rows(*(one for leaf in "abcdefghij" for one in [*judged("right", leaf, 1.0, 1.0, 1.0, None), *judged("wrong", leaf, 0.5, 0.5)]))
    found = audited(frame, target_precision=0.6)
    row = found.scorers.row(0, named=True)
    # everything: 30 of 50 right, lower end below 0.6; votes of 1: all right
    assert (row["rows"], row["right"], row["threshold"], row["precision"], row["recall"]) == (50, 30, 1.0, 1.0, 0.75)
    leaf = found.leaves.row(0, named=True)
    assert (leaf["leaf"], leaf["rows"], leaf["right"], leaf["auc"], leaf["precision"], leaf["recall"]) == ("a", 5, 3, 1.0, 1.0, 0.75)
    assert leaf["precision_low"] == pytest.approx(3 / (3 + 1.959964**2))  # Wilson of 3 of 3


def test_where_no_threshold_reaches_the_target_it_is_null_and_the_nearest_cut_is_shown():
    frame = rows(*(one for leaf in "abcdef" for one in [*judged("right", leaf, 1.0, 1.0, 1.0, 0.5), *judged("wrong", leaf, 1.0, 0.5, 0.5, 0.5)]))
    row = audited(frame).scorers.row(0, named=True)
    assert (row["threshold"], row["carried_precision"], row["cut"], row["precision"]) == (None, None, 1.0, 0.75)
    assert audited(frame).thresholds["threshold"].to_list() == [None] * 6


def test_a_leaf_of_one_kind_has_no_auc_but_a_precision():
    frame = rows(*judged("right", "a", 1.0, 0.9), *judged("right", "b", 1.0), *judged("wrong", "b", 0.2))
    by_leaf = {row["leaf"]: row for row in audited(frame, target_precision=0.1).leaves.to_dicts()}
    assert (by_leaf["a"]["auc"], by_leaf["a"]["auc_low"], by_leaf["b"]["auc"]) == (None, None, 1.0)
    assert (by_leaf["a"]["precision"], audited(frame).scorers["leaves_both"].item()) == (1.0, 1)


def test_a_leaf_without_a_verifier_gets_the_threshold_marked_as_carried():
    known = [one for leaf in "abcdefghijklmnop" for one in [*judged("right", leaf, *[1.0] * 8), *judged("wrong", leaf, 0.5, 0.5)]]
    frame = rows(*known, *judged("unknown", "essay", 0.5, 1.0), *judged("unparseable", "", 0.5))
    found = audited(frame, target_precision=0.75).thresholds  # lower end of all rows 0.73, of the votes of 1 in 16 leaves 16 / (16 + 2.13**2) = 0.78
    assert found.filter(pl.col("source") == "own")["leaf"].to_list() == list("abcdefghijklmnop")
    assert found.filter(pl.col("source") == "carried").select("leaf", "threshold").rows() == [("", 1.0), ("essay", 1.0)]


def test_the_carried_precision_judges_each_leaf_by_the_threshold_of_the_others():
    # Leaf z has high scores and is wrong throughout. With it, keeping 1.0 and up is right in 60 of 66 rows; the others alone keep everything they have.
    good = [one for leaf in "abcdefghijkl" for one in judged("right", leaf, *[1.0] * 5)]
    found = audited(rows(*good, *judged("wrong", "z", *[1.0] * 6)), target_precision=0.5).scorers.row(0, named=True)
    assert found["carried_precision"] == pytest.approx(60 / 66)
    spoilt = audited(rows(*good, *judged("wrong", "z", *[2.0] * 6)), target_precision=0.5).scorers.row(0, named=True)
    assert spoilt["carried_precision"] == pytest.approx(60 / 66)


def test_the_carried_precision_is_near_the_true_one():
    scores, is_right, leaf = study(np.random.default_rng(4), leaves=54, rows=60, skew=0.0)
    row = audited(table(scores, is_right, leaf), target_precision=0.85).scorers.row(0, named=True)
    assert row["carried_precision_low"] < true_precision(row["threshold"]) < row["carried_precision_high"]
    assert true_precision(row["threshold"]) > 0.85


def test_only_finished_rows_of_a_leaf_called_right_or_wrong_are_judged_by():
    frame = rows({}, {"verdict": "wrong"}, {"verdict": "unknown"}, {"verdict": "unparseable"}, {"status": "truncated"}, {"delivered_leaf": ""})
    assert verified(frame)["id"].to_list() == ["r0", "r1"]


def test_every_scorer_that_speaks_is_audited_and_the_verifier_is_not():
    frame = rows(*judged("right", "a", 1.0), *judged("wrong", "b", 0.5)).with_columns(
        answer_loss=pl.Series([0.5, 2.0]), answer_entropy=pl.Series([None, None], dtype=pl.Float64), broken_rules=pl.Series([[], ["gopher:short"]]),
    )  # fmt: skip
    found = audited(frame, target_precision=0.1)
    assert found.scorers["scorer"].to_list() == ["vote", "loss", "heuristics"]
    assert found.scorers["auc"].to_list() == [1.0, 1.0, 1.0]  # low loss and few broken rules are good
    assert tuple(SCORERS) == SCORER_NAMES


def test_no_verified_rows_give_empty_tables_and_zeros():
    frame = rows({"verdict": "unknown"}, {"verdict": "unparseable"})
    found = audited(frame)
    assert (found.scorers.schema, found.leaves.schema, found.thresholds.schema) == (SCORER_SCHEMA, LEAF_SCHEMA, THRESHOLD_SCHEMA)
    assert (found.scorers.height, found.leaves.height, found.thresholds.height) == (0, 0, 0)
    assert audit_metrics(frame, found) == {"rows_verified": 0, "leaves_verified": 0, "leaves_both": 0, "right_share": 0.0, "scorers_at_target": 0}


def test_the_metrics_are_5_to_12_numbers():
    frame = rows(*judged("right", "a", 1.0, 1.0), *judged("wrong", "a", 0.5), *judged("right", "b", 1.0))
    columns = ("logprob_z", "answer_loss_z", "ifd_z", "ifd", "nearest_similarity", "learned")
    frame = frame.with_columns(*(pl.Series(name, [0.1, 0.2, 0.3, 0.4]) for name in columns), broken_rules=pl.Series([[], [], ["c4:brace"], []]))
    numbers = audit_metrics(frame, audited(frame))
    assert (numbers["rows_verified"], numbers["leaves_verified"], numbers["leaves_both"], numbers["right_share"]) == (4, 2, 1, 0.75)
    assert numbers["auc_vote"] == 1.0
    assert len(numbers) == 12
    assert {type(one) for one in numbers.values()} <= {int, float}


def test_the_same_rows_give_the_same_audit_whatever_their_order():
    frame = table(*study(np.random.default_rng(8), leaves=10, rows=20, skew=0.5))
    one, other = audited(frame), audited(frame.sample(fraction=1.0, shuffle=True, seed=1))
    assert one.scorers.equals(other.scorers)
    assert one.leaves.equals(other.leaves)
    assert one.thresholds.equals(other.thresholds)


def test_no_scorer_opens_the_truth_but_the_verifier_of_the_table():
    named = {}
    for file in sorted((ROOT / "src/espalier/scorers").glob("*.py")):
        words = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
        named[file.name] = words & {"verdict", "solution", "problem_key"}
    assert {name: words for name, words in named.items() if words} == {"table.py": {"verdict"}}
