import math

import numpy as np
import pytest

from espalier.multiplier import BEYOND, Curve, falling, multipliers, size_at

SIZES = np.array([1000.0, 2000.0, 4000.0, 8000.0, 16000.0])
LEAVES = 30


def law(sizes, *, worth=1.0, exponent=0.3):
    """Loss by a power law of the size; data that is worth 3 times as much has the loss of 3 times the size."""
    return 0.2 + 20 * (worth * sizes) ** -exponent


def curve(*, worth=1.0, sizes=SIZES, seeds=3, noise=0.0, rng=None, leaf_effects=None):
    losses = np.broadcast_to(law(sizes, worth=worth)[:, None, None], (len(sizes), seeds, LEAVES)).copy()
    if rng is not None:
        losses += noise * rng.standard_normal((len(sizes), seeds, 1)) + noise * rng.standard_normal((len(sizes), seeds, LEAVES))
        losses += leaf_effects
    return Curve(sizes, losses)


def found(arm, baseline, *, points=9, draws=200, seed=0):
    return multipliers(arm, baseline, leaf_weights=np.ones(LEAVES), points=points, draws=draws, confidence=0.95, rng=np.random.default_rng(seed))


def test_data_worth_twice_as_much_has_a_k_of_2_wherever_the_curves_have_points():
    """At a worth of 2 the arm's points have the losses of the baseline's points one place further on, so that no interpolation comes in."""
    for one in found(curve(worth=2.0), curve(), points=5):
        if one.loss >= law(SIZES[-1]):
            at_a_point = min(abs(one.loss - law(size)) for size in SIZES) < 1e-9
            assert one.k == pytest.approx(2.0, rel=1e-9 if at_a_point else 0.03)
            assert not one.is_bound


def test_k_of_an_arm_with_the_baselines_own_curve_is_1_and_turned_round_it_is_one_over_k():
    assert [one.k for one in found(curve(), curve())] == pytest.approx([1.0] * 9)
    better = {round(one.loss, 6): one.k for one in found(curve(worth=2.0), curve(), points=200) if not one.is_bound}
    worse = {round(one.loss, 6): one.k for one in found(curve(), curve(worth=2.0), points=200)}
    shared = better.keys() & worse.keys()
    assert all(better[loss] * worse[loss] == pytest.approx(1.0) for loss in shared)


def test_beyond_twice_the_baselines_largest_size_k_is_a_bound():
    last = found(curve(worth=8.0), curve())[-1]
    assert last.is_bound
    assert last.k == pytest.approx(BEYOND * 16000 / 16000)  # the arm needs its largest size, the baseline more than twice its own
    assert math.isinf(last.high)
    inside = [one for one in found(curve(worth=8.0), curve(), points=50) if one.loss >= law(SIZES[-1])]
    assert [one.is_bound for one in inside] == [False] * len(inside)
    assert max(one.k for one in inside) == pytest.approx(8.0, rel=0.05)


def test_curves_without_a_shared_loss_give_nothing():
    flat = Curve(SIZES, np.full((5, 3, LEAVES), 9.0))
    assert found(flat, curve()) == []


def test_a_curve_that_rises_is_pooled_by_hand():
    assert falling(np.array([5.0, 4.0, 4.5, 4.7, 1.0])).tolist() == pytest.approx([5.0, 4.4, 4.4, 4.4, 1.0])
    assert falling(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 2.0, 2.0]


def test_the_size_at_a_loss_by_hand():
    sizes, losses = np.array([100.0, 400.0, 1600.0]), np.array([3.0, 2.0, 2.0])
    assert size_at(sizes, losses, 3.5) == 100
    assert size_at(sizes, losses, 2.5) == pytest.approx(200)  # half way in log size
    assert size_at(sizes, losses, 2.0) == 400  # the smallest size that has it
    assert math.isinf(size_at(sizes, losses, 1.9))


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    """200 studies of 30 leaves and 3 seeds with leaf effects shared by both arms; k = 1.5 at a loss in the middle. 89 to 99 % of 95 % intervals (+-3 standard errors)."""
    held, loss = 0, float(law(np.array([5000.0]))[0])
    for study in range(200):
        rng = np.random.default_rng(study)
        effects = 0.3 * rng.standard_normal(LEAVES)
        effects -= effects.mean()
        arm, baseline = (curve(worth=worth, noise=0.03, rng=rng, leaf_effects=effects) for worth in (1.5, 1.0))
        nearest = min(found(arm, baseline, points=7, draws=100, seed=study), key=lambda one: abs(one.loss - loss))
        held += nearest.low <= 1.5 <= nearest.high
    assert 0.89 <= held / 200 <= 0.995, held


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Curve(SIZES[:2], np.zeros((2, 3, LEAVES))), "2 sizes; a curve wants at least 3, better 5"),
        (Curve(SIZES, np.zeros((5, 3, 7))), r"losses of shape \(5, 3, 7\); wanted \(5 sizes, seeds, 30 leaves\)"),
        (Curve(SIZES[::-1], np.zeros((5, 3, LEAVES))), "sizes must rise and losses must be finite"),
    ],
)
def test_curves_that_do_not_fit_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        found(curve(), wrong)
