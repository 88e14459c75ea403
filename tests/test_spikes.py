"""Steps whose loss or gradient norm jumps: found, named, left out if asked, and judged alike by a resumed run."""

import math

import pytest
import torch

from espalier.spikes import LEAST, Spike, Watch, deviation, find_spike
from espalier.train import Checkpoints, train_model
from tests.test_train import Stop, corpus, same, settings, tiny, weights

STEPS, AT = 90, 80  # a run, and the step at which its data are spoilt


def find(before, *, loss=1.0, norm=1.0, limit=6.0):
    return find_spike(Watch(limit, False, print), before, loss_nats=loss, gradient_norm=norm, step=200, places=[3, 1])


def steady(n):
    """Losses and norms around 1: median 1, median absolute deviation 0.1."""
    return [(1 + 0.1 * (i % 3 - 1), 1 + 0.1 * (i % 3 - 1)) for i in range(n)]


# arithmetic


def test_the_limit_is_in_robust_standard_deviations_above_the_median():
    """6 x 1.4826 x 0.1 = 0.88956 above 1."""
    assert find(steady(99), loss=1.8895) is None
    assert find(steady(99), loss=1.8896) == Spike(200, 1.8896, 1.0, pytest.approx(0.8896 / 0.14826), (3, 1), False)
    assert find(steady(99), norm=1.8896).gradient_norm == 1.8896
    assert find(steady(99), loss=-50.0) is None  # a loss that falls is no spike


def test_one_spike_does_not_hide_the_next():
    """The plain mean and deviation of these would be 11 and 99, and 7 would lie well within."""
    before = [*steady(98), (1000.0, 1000.0)]
    assert find(before, loss=7.0).deviations == pytest.approx(6 / 0.14826)


@pytest.mark.parametrize(("n", "found"), [(LEAST - 1, False), (LEAST, True)])
def test_a_run_that_has_just_begun_has_no_spikes(n, found):
    assert (find(steady(n), loss=99.0) is not None) == found


def test_no_limit_finds_nothing():
    assert find(steady(99), loss=1e9, limit=0.0) is None


def test_a_norm_that_is_no_number_is_a_spike_and_none_in_the_past_disturbs():
    assert find(steady(99), norm=math.inf).deviations == math.inf
    assert find(steady(99), norm=math.nan).deviations == math.inf
    assert find([*steady(98), (1.0, math.inf)], norm=1.5) is None


def test_among_values_that_are_all_the_same_anything_higher_is_a_spike():
    assert [deviation([2.0] * 9, value) for value in (1.9, 2.0, 2.1)] == [-math.inf, 0.0, math.inf]


# in the loop


class Run:
    """A run of STEPS steps whose gradients are blown up at step AT; `kept`: the weights before and after that step."""

    def __init__(self, *, limit=50.0, skip, checkpoints=None, stop=0):
        self.model, self.spikes, self.kept, self.done, self.stop = tiny(), [], {}, 0, stop
        self.model.model.norm.weight.register_hook(lambda gradient: gradient * (1e6 if self.done == AT - 1 else 1.0))
        watch = None if limit is None else Watch(limit, skip, self.spikes.append)
        self.curve = train_model(
            self.model, corpus(), settings(STEPS), seed=1, precision="fp32", checkpoints=checkpoints, progress=self.progress, watch=watch
        )

    def progress(self, step, steps):
        self.done = step.step
        if step.step in (AT - 1, AT):
            self.kept[step.step] = weights(self.model)
        if step.step == self.stop:
            raise Stop


@pytest.fixture(scope="module")
def logged():
    return Run(skip=False)


def test_a_spike_is_told_with_its_step_its_numbers_and_the_sequences_that_it_read(logged):
    (spike,) = logged.spikes
    step = logged.curve[AT - 1]
    assert (spike.step, spike.loss_nats, spike.gradient_norm, spike.skipped) == (AT, step.loss_nats, step.gradient_norm, False)
    assert spike.gradient_norm > 1000 * max(one.gradient_norm for one in logged.curve if one.step != AT)
    assert spike.deviations > 1000
    assert len(spike.places) == 2
    assert set(spike.places) <= set(range(len(corpus().tokens_NT)))


def test_watching_changes_no_bit_of_a_run(logged):
    assert same(weights(Run(limit=None, skip=False).model), weights(logged.model))


def test_an_update_that_is_left_out_leaves_the_weights_as_they_were_and_the_run_goes_on():
    run = Run(skip=True)
    assert [(spike.step, spike.skipped) for spike in run.spikes] == [(AT, True)]
    assert same(run.kept[AT], run.kept[AT - 1])
    assert not same(weights(run.model), run.kept[AT])
    assert [step.step for step in run.curve] == list(range(1, STEPS + 1))


def test_an_update_that_is_only_told_is_made(logged):
    assert not same(logged.kept[AT], logged.kept[AT - 1])


@pytest.mark.parametrize("stop", [70, AT + 1])
def test_a_run_that_stops_before_or_after_a_spike_goes_on_as_an_undisturbed_one(tmp_path, stop):
    """Checkpoints at 60 and 75 hold the curve that step 80 is judged by."""
    whole = Run(skip=True)
    with pytest.raises(Stop):
        Run(skip=True, checkpoints=Checkpoints(tmp_path, 15), stop=stop)
    resumed = Run(skip=True, checkpoints=Checkpoints(tmp_path, 15))
    assert resumed.curve == whole.curve
    assert resumed.spikes == whole.spikes
    assert same(weights(resumed.model), weights(whole.model))


def test_a_gradient_that_is_infinite_spoils_the_weights_unless_it_is_left_out():
    model = tiny()
    steps = []

    def blow_up(gradient):
        return gradient * (math.inf if len(steps) == AT - 1 else 1.0)

    model.model.norm.weight.register_hook(blow_up)
    watch = Watch(50.0, True, lambda spike: None)
    train_model(model, corpus(), settings(STEPS), seed=1, precision="fp32", checkpoints=None, progress=lambda step, _: steps.append(step), watch=watch)
    assert all(torch.isfinite(tensor).all() for tensor in weights(model).values())
