import math

import pytest

from espalier.schedule import schedule


def shares(steps, *, warmup, decay=0.0, kind):
    return [schedule(step, steps, warmup=warmup, decay=decay, kind=kind) for step in range(steps)]


def test_the_rate_rises_stays_and_falls():
    assert shares(10, warmup=0.4, decay=0.3, kind="wsd") == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 3 / 3, 2 / 3, 1 / 3])


def test_a_wsd_without_warmup_and_decay_is_flat():
    assert shares(4, warmup=0.0, kind="wsd") == [1.0] * 4


def test_a_cosine_rises_and_falls_as_half_a_cosine():
    """Warmup over 2 of 8 steps, then (1 + cos(pi k / 6)) / 2 for k = 0 .. 5: 1, .933, .75, .5, .25, .067."""
    assert shares(8, warmup=0.25, kind="cosine") == pytest.approx([1 / 2, 1, 1, (1 + math.sqrt(3) / 2) / 2, 0.75, 0.5, 0.25, (1 - math.sqrt(3) / 2) / 2])


def test_decay_share_is_nothing_to_a_cosine():
    assert shares(20, warmup=0.1, decay=0.9, kind="cosine") == shares(20, warmup=0.1, decay=0.0, kind="cosine")


@pytest.mark.parametrize("kind", ["wsd", "cosine"])
def test_a_run_of_one_step_has_the_full_rate_and_the_last_step_of_a_longer_one_still_learns(kind):
    assert schedule(0, 1, warmup=0.05, decay=0.3, kind=kind) == 1.0
    falling = shares(1000, warmup=0.05, decay=0.3, kind=kind)
    assert max(falling) == 1.0
    assert 0 < falling[-1] == min(falling) < 0.01
