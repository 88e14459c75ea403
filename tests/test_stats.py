"""The statistics: hand-computed cases, textbook values, and the rate at which true nulls are rejected."""

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from espalier import stats, student_t

LEAVES, ITEMS_PER_LEAF, SEEDS = 54, 8, 3
LEAF_INDEX = np.repeat(np.arange(LEAVES), ITEMS_PER_LEAF)


def difference(arm, baseline, leaf_index, weights, *, draws=20_000, seed=0):
    return stats.paired_difference(
        np.array(arm, float), np.array(baseline, float), leaf_index=np.array(leaf_index), leaf_weights=np.array(weights, float),
        draws=draws, confidence=0.95, rng=np.random.default_rng(seed),
    )


def null_arms(rng, *, n=2, leaf=0.8, seed=0.15, cell=0.3):
    """`n` arms of right/wrong outcomes with the same true accuracy: logits of leaf, item, training seed and (seed, leaf) cell."""
    shared = rng.normal(0, 1.2, LEAVES)[LEAF_INDEX] + rng.normal(0, 0.7, LEAF_INDEX.size)

    def arm():
        own = rng.normal(0, leaf, LEAVES) + rng.normal(0, seed, (SEEDS, 1)) + rng.normal(0, cell, (SEEDS, LEAVES))
        return (rng.random((SEEDS, LEAF_INDEX.size)) < 1 / (1 + np.exp(-shared - own[:, LEAF_INDEX]))).astype(float)

    return [arm() for _ in range(n)]


def rejected_share(skew, runs=1000, **noise):
    rng = np.random.default_rng(20)
    weights = stats.weights_by_rank(range(1, LEAVES + 1), skew)
    found = (difference(*null_arms(rng, **noise), LEAF_INDEX, weights, draws=200, seed=i) for i in range(runs))
    return np.mean([result.p < 0.05 for result in found])


def test_a_true_null_with_strong_leaves_and_noisy_seeds_is_rejected_3_to_7_percent_of_the_time():
    assert 0.03 <= rejected_share(0.0) <= 0.07
    assert 0.03 <= rejected_share(0.0, seed=0.4) <= 0.07


def test_the_natural_weighting_never_rejects_a_true_null_more_than_7_percent_of_the_time():
    assert 0.02 <= rejected_share(1.0, runs=500) <= 0.07


def test_a_bootstrap_over_items_rejects_the_same_null_more_than_10_percent_of_the_time():
    rng = np.random.default_rng(20)
    rejected = 0
    for _ in range(200):
        arm, baseline = null_arms(rng)
        by_item = arm.mean(axis=0) - baseline.mean(axis=0)
        drawn = by_item[rng.integers(0, by_item.size, (300, by_item.size))].mean(axis=1)
        low, high = np.quantile(drawn, [0.025, 0.975])
        rejected += low > 0 or high < 0
    assert rejected / 200 > 0.10


def test_of_three_arms_that_are_no_better_holm_lets_one_through_at_most_7_percent_of_the_time_and_bare_p_values_twice_as_often():
    """Family-wise: the share of 1,000 studies in which any of three arms is called different from the baseline that they share (5.7 % of 4,000)."""
    rng, weights, bare, adjusted = np.random.default_rng(21), np.ones(LEAVES), 0, 0
    for i in range(1000):
        baseline, *arms = null_arms(rng, n=4)
        p_values = [difference(arm, baseline, LEAF_INDEX, weights, draws=200, seed=i).p for arm in arms]
        bare += min(p_values) < 0.05
        adjusted += min(stats.holm(p_values)) < 0.05
    assert 0.03 <= adjusted / 1000 <= 0.07
    assert bare / 1000 > 0.10


def test_leaves_count_alike_however_many_items_they_have():
    # leaf 0: items 1, 1, 1 against 0 -> +1; leaf 1: 0 against 1 -> -1. By item the sum would be (3 - 1) / 4 = 0.5.
    found = difference([[1, 1, 1, 0]], [[0, 0, 0, 1]], [0, 0, 0, 1], [1, 1])
    assert found.difference == 0.0


def test_the_natural_weighting_counts_leaves_by_their_weight():
    # (2 * 1 + 1 * -1) / 3
    found = difference([[1, 0]], [[0, 1]], [0, 1], [2, 1])
    assert found.difference == pytest.approx(1 / 3)


def test_with_one_seed_the_interval_is_the_paired_t_interval_over_leaves():
    arm, baseline = [0.9, 0.5, 0.7, 0.4, 0.8, 0.6], [0.6, 0.5, 0.3, 0.3, 0.6, 0.5]
    found = difference([arm], [baseline], range(6), np.ones(6), draws=200_000)
    # Leaf differences .3 0 .4 .1 .2 .1: mean 1.1/6, sum of squares .31, variance (.31 - 6 * (1.1/6)**2) / 5 = .0216667
    error = math.sqrt(0.0216667 / 6)
    assert found.difference == pytest.approx(1.1 / 6)
    assert found.standard_error == pytest.approx(error, rel=0.01)
    assert found.degrees_of_freedom == pytest.approx(5)
    assert found.low == pytest.approx(1.1 / 6 - 2.571 * error, rel=0.01)  # t(5) at 97.5 % is 2.571
    assert found.p == pytest.approx(scipy_stats.ttest_rel(arm, baseline).pvalue, rel=0.05)
    assert found.effect == pytest.approx((1.1 / 6) / math.sqrt(0.0216667), rel=0.001)


def test_with_noise_among_seeds_alone_the_interval_is_the_welch_interval_over_seeds():
    arm, baseline = [0.50, 0.56, 0.62], [0.40, 0.44, 0.42]
    found = difference(np.repeat(np.c_[arm], 8, axis=1), np.repeat(np.c_[baseline], 8, axis=1), range(8), np.ones(8), draws=200_000)
    welch = scipy_stats.ttest_ind(arm, baseline, equal_var=False)
    assert found.difference == pytest.approx(0.14)
    # .06**2 / 3 + .02**2 / 3 = .0013333; three seeds drawn naively would show two thirds of it.
    assert found.standard_error == pytest.approx(math.sqrt(0.0013333), rel=0.01)
    assert found.degrees_of_freedom == pytest.approx(welch.df, rel=0.02)
    assert found.p == pytest.approx(welch.pvalue, rel=0.03)


def test_p_is_below_5_percent_exactly_when_the_95_percent_interval_leaves_out_0():
    rng = np.random.default_rng(4)
    for shift in np.linspace(0.0, 0.3, 40):
        arm, baseline = rng.normal(shift, 0.2, (3, 10)), rng.normal(0, 0.2, (3, 10))
        found = difference(arm, baseline, range(10), np.ones(10), draws=500)
        assert (found.p < 0.05) == (found.low > 0 or found.high < 0), found


def test_arms_may_have_different_numbers_of_seeds():
    found = difference([[1, 0, 1], [1, 1, 1]], [[0, 0, 0]], [0, 1, 2], np.ones(3))
    assert (found.n_seeds, found.n_leaves) == (1, 3)
    assert found.difference == pytest.approx(2.5 / 3)


def test_identical_arms_differ_by_nothing_with_p_1():
    found = difference([[1, 0], [0, 1]], [[1, 0], [0, 1]], [0, 1], [1, 1])
    assert (found.difference, found.effect) == (0.0, 0.0)
    assert found.p == 1.0


def test_leaves_that_all_gain_alike_give_an_infinite_effect_and_an_interval_of_no_width():
    found = difference([[0.6, 0.8], [0.6, 0.8]], [[0.5, 0.7], [0.5, 0.7]], [0, 1], [1, 1])
    assert found.effect == math.inf
    assert found.high - found.low == pytest.approx(0, abs=1e-12)


def test_the_same_generator_gives_the_same_interval_and_another_one_a_different_one():
    arm, baseline = null_arms(np.random.default_rng(1))
    weights = np.ones(LEAVES)
    assert difference(arm, baseline, LEAF_INDEX, weights, seed=1) == difference(arm, baseline, LEAF_INDEX, weights, seed=1)
    assert difference(arm, baseline, LEAF_INDEX, weights, seed=1).low != difference(arm, baseline, LEAF_INDEX, weights, seed=2).low


def test_the_mean_interval_of_one_arm_is_the_t_interval_over_its_leaves():
    found = stats.mean_interval(
        np.array([[0.2, 0.4, 0.6, 0.8]]), leaf_index=np.arange(4), leaf_weights=np.ones(4), draws=200_000, confidence=0.95,
        rng=np.random.default_rng(0),
    )
    # variance (.09 + .01 + .01 + .09) / 3 = .0666667; t(3) at 97.5 % is 3.182
    assert found.mean == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5 + 3.182 * math.sqrt(0.0666667 / 4), rel=0.01)


@pytest.mark.parametrize(
    ("arm", "leaf_index", "weights", "words"),
    [
        ([[1.0, math.nan]], [0, 1], [1, 1], "1 outcomes are not finite"),
        ([[1.0, 0.0]], [0, 0], [1, 1], "1 leaves with items for 2 weights"),
        ([[1.0, 0.0]], [0, 0], [1], "2 leaves or more"),
        ([[1.0, 0.0]], [0, 1, 2], [1, 1, 1], "shape (1, 2) for (3,) items"),
        ([[1.0, 0.0]], [0, 1], [1, -1], "above 0"),
    ],
)
def test_input_that_has_no_answer_is_refused(arm, leaf_index, weights, words):
    with pytest.raises(ValueError) as refusal:
        difference(arm, arm, leaf_index, weights)
    assert words in str(refusal.value)


def test_holm_gives_the_adjusted_values_of_the_textbook_example():
    # Five p-values: 5 * .001, 4 * .01, 3 * .02, 2 * .04 (= .08), and .05 rises to .08.
    assert stats.holm([0.01, 0.02, 0.001, 0.05, 0.04]) == pytest.approx([0.04, 0.06, 0.005, 0.08, 0.08])
    assert stats.holm([0.6, 0.9]) == [1.0, 1.0]
    assert stats.holm([]) == []


def test_the_minimal_detectable_difference_is_2_8_standard_errors_for_many_leaves():
    # Bloom 1995, table 1: 80 % power, two-sided 5 %: 1.960 + 0.842 = 2.802 for the normal distribution
    assert stats.minimal_detectable_difference(0.1, 1000, confidence=0.95) == pytest.approx(0.2802, rel=0.003)
    # t(4): 2.776 + 0.941 = 3.717
    assert stats.minimal_detectable_difference(0.1, 4, confidence=0.95) == pytest.approx(0.3717, rel=0.001)


def test_a_true_difference_as_large_as_the_minimal_detectable_one_is_found_four_times_in_five():
    """300 studies: the difference is the mean of what 300 other studies of the same noise say they could find; 80 % +- 3 standard errors of 2.3 points."""
    rng, weights = np.random.default_rng(22), np.ones(LEAVES)

    def found(gain, seed):
        arm, baseline = (rng.normal(mean, 0.2, LEAVES) + rng.normal(0, 0.05, (SEEDS, 1)) + rng.normal(0, 0.1, (SEEDS, LEAVES)) for mean in (gain, 0.0))
        return difference(arm, baseline, range(LEAVES), weights, draws=200, seed=seed)

    noise = [found(0.0, i) for i in range(300)]
    gain = float(np.mean([stats.minimal_detectable_difference(one.standard_error, one.degrees_of_freedom, confidence=0.95) for one in noise]))
    assert 0.73 <= np.mean([found(gain, i).p < 0.05 for i in range(300)]) <= 0.87


@pytest.mark.parametrize(
    ("gain", "p", "higher_is_better", "word"),
    [
        (0.1, 0.049, True, "better"), (-0.1, 0.049, True, "worse"), (-0.1, 0.049, False, "better"), (0.1, 0.049, False, "worse"),
        (0.1, 0.05, True, "within noise"), (0.1, math.nan, True, "within noise"),
    ],
)
def test_the_verdict_needs_a_p_below_the_level_and_knows_which_way_is_good(gain, p, higher_is_better, word):
    assert stats.verdict(gain, p, higher_is_better=higher_is_better, level=0.05) == word


def test_skew_0_weighs_leaves_alike_and_skew_1_by_one_over_the_rank():
    assert stats.weights_by_rank([1, 2, 4], 0.0).tolist() == pytest.approx([1 / 3] * 3)
    assert stats.weights_by_rank([1, 2, 4], 1.0).tolist() == pytest.approx([4 / 7, 2 / 7, 1 / 7])


@pytest.mark.parametrize("freedom", [1, 1.7, 4, 53, 1000])
def test_student_t_agrees_with_scipy_in_tail_and_quantile(freedom):
    for t in (0.0, 1.0, 3.0, 12.0):
        assert student_t.tail(t, freedom) == pytest.approx(scipy_stats.t.sf(t, freedom), rel=1e-7)
    for upper_tail in (0.4, 0.2, 0.025, 0.0005):
        assert student_t.quantile(upper_tail, freedom) == pytest.approx(scipy_stats.t.isf(upper_tail, freedom), rel=1e-7)
