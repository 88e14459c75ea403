"""Which sequences a step reads: the same for any number of processes, phase after phase with its share of replay."""

from itertools import islice

import numpy as np
import pytest

from espalier.errors import ParamsError
from espalier.order import NO_BRANCH, branch_number, mixed_order, part_of, phased_order
from espalier.ranges import BRANCHES
from espalier.settings import Phase

KNOWLEDGE, FOUNDATIONAL, COMPOSITIONAL = range(3)
# 12 sequences of knowledge (0 .. 11), 8 foundational (12 .. 19), 6 compositional (20 .. 25), 2 without a branch (26, 27), in a mixed order of places
BRANCHES_N = np.array([KNOWLEDGE] * 12 + [FOUNDATIONAL] * 8 + [COMPOSITIONAL] * 6 + [NO_BRANCH] * 2, dtype=np.int8)

FIRST_STEPS = [[453, 50, 523, 589, 871, 184, 561, 420], [991, 168, 783, 831, 979, 494, 484, 670]]


def lab(*shares, replay=0.25):
    return tuple(Phase((branch,), share, replay if i else 0.0) for i, (branch, share) in enumerate(zip(BRANCHES, shares, strict=True)))


def phased(phases, *, rows=4, steps=20, seed=1, branches=BRANCHES_N):
    return [places.tolist() for places in phased_order(branches, phases, rows=rows, steps=steps, seed=seed)]


def flat(steps):
    return [place for places in steps for place in places]


# one mix


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("phases", [(), lab(0.5, 0.25, 0.25)], ids=["one mix", "phases"])
def test_any_number_of_processes_reads_the_same_sequences_in_the_same_order(processes, phases):
    """Each process makes the order for itself and takes its part; put together again, the parts are the order of one process."""

    def order():
        return phased_order(BRANCHES_N, phases, rows=8, steps=12, seed=3) if phases else mixed_order(28, rows=8, steps=12, seed=3)

    parts = [[part_of(places, process, processes) for places in order()] for process in range(processes)]
    together = [np.stack(step, axis=1).reshape(-1).tolist() for step in zip(*parts, strict=True)]
    assert together == [places.tolist() for places in order()]
    assert {len(part) for process in parts for part in process} == {8 // processes}


def test_an_epoch_of_one_mix_holds_every_sequence_once_and_goes_on_in_the_middle_of_a_step():
    read = flat(places.tolist() for places in mixed_order(7, rows=2, steps=7, seed=1))
    assert sorted(read[:7]) == sorted(read[7:]) == list(range(7))
    assert read[:7] != read[7:]


def test_the_order_of_one_mix_is_the_one_that_it_always_was():
    """The first two steps of 8 among 1,000 with seed 1, as the loop read them before it knew phases: students that were trained then can be trained again."""
    assert [places.tolist() for places in islice(mixed_order(1000, rows=8, steps=2, seed=1), 2)] == FIRST_STEPS


def test_a_longer_run_begins_as_a_shorter_one():
    """What a step reads hangs on no other step, so a resumed run reads on where it stopped."""
    short, long = (flat(places.tolist() for places in mixed_order(9, rows=4, steps=steps, seed=5)) for steps in (5, 11))
    assert long[: len(short)] == short


# phases


def test_phases_follow_each_other_with_their_share_of_the_steps():
    steps = phased(lab(0.5, 0.3, 0.2, replay=0.0))
    assert [sorted({int(BRANCHES_N[place]) for place in flat(steps[a:b])}) for a, b in ((0, 10), (10, 16), (16, 20))] == [
        [KNOWLEDGE], [FOUNDATIONAL], [COMPOSITIONAL, NO_BRANCH],
    ]  # fmt: skip
    assert len(flat(steps)) == 20 * 4  # as many sequences as one mix reads


@pytest.mark.parametrize(("replay", "second", "third"), [(0.25, 6, 4), (0.1, 2, 1), (0.5, 12, 8), (1.0, 24, 16)])
def test_a_phase_reads_its_share_again_of_what_came_before(replay, second, third):
    """6 steps of 4 and 4 steps of 4: 24 and 16 sequences, of which floor(replay times these) are from earlier phases."""
    steps = phased(lab(0.5, 0.3, 0.2, replay=replay))
    branches = [[int(BRANCHES_N[place]) for place in flat(steps[a:b])] for a, b in ((0, 10), (10, 16), (16, 20))]
    assert set(branches[0]) == {KNOWLEDGE}
    assert branches[1].count(KNOWLEDGE) == second
    assert sum(branch in (KNOWLEDGE, FOUNDATIONAL) for branch in branches[2]) == third
    assert set(branches[1]) <= {KNOWLEDGE, FOUNDATIONAL}


def test_replay_is_spread_evenly_over_a_phase():
    steps = phased(lab(0.5, 0.3, 0.2))
    assert [sum(BRANCHES_N[place] == KNOWLEDGE for place in places) for places in steps[10:16]] == [1] * 6


def test_each_epoch_of_a_phase_holds_its_sequences_once_and_replay_goes_round_all_of_the_former():
    steps = phased(lab(0.25, 0.5, 0.25, replay=0.5), rows=8, steps=24)
    second = flat(steps[6:18])
    fresh, again = [place for place in second if place >= 12], [place for place in second if place < 12]
    assert (len(fresh), len(again)) == (48, 48)
    assert [sorted(fresh[i : i + 8]) for i in range(0, 48, 8)] == [list(range(12, 20))] * 6
    assert [sorted(again[i : i + 12]) for i in range(0, 48, 12)] == [list(range(12))] * 4
    assert len({tuple(fresh[i : i + 8]) for i in range(0, 48, 8)}) == 6
    assert {place for place in flat(steps[18:]) if place < 20} == set(range(20))


def test_the_same_seed_gives_the_same_phases_and_another_seed_others():
    phases = lab(0.5, 0.3, 0.2)
    assert phased(phases) == phased(phases)
    assert phased(phases, seed=2) != phased(phases)


def test_two_branches_may_share_a_phase():
    steps = phased((Phase(BRANCHES[:1], 0.5, 0.0), Phase(BRANCHES[1:], 0.5, 0.0)), rows=8)
    assert sorted(set(flat(steps[10:]))) == list(range(12, 28))


def test_a_phase_without_sequences_is_refused():
    with pytest.raises(ParamsError) as caught:
        phased(lab(0.5, 0.3, 0.2), branches=BRANCHES_N[BRANCHES_N != FOUNDATIONAL])
    assert str(caught.value) == (
        "params.yaml: train.phases[1] reads foundational_skills, of which the training set has no sequence; join it with another phase"
    )


def test_a_phase_without_a_step_is_refused():
    with pytest.raises(ParamsError) as caught:
        phased(lab(0.49, 0.02, 0.49), steps=10)
    assert str(caught.value) == "params.yaml: train.phases[1].share is 0.02, no step of 10; raise it, or train.optimizer.tokens"


@pytest.mark.parametrize(("leaf", "number"), [("knowledge/a/b", 0), ("foundational_skills/x", 1), ("compositional_skills/y/z", 2), ("", 3), ("plums/a", 3)])
def test_the_branch_of_a_row_is_the_first_folder_of_its_leaf(leaf, number):
    assert branch_number(leaf) == number
