import json
import sys

import pytest

from espalier.errors import EspalierError
from espalier.verifiers import gym
from espalier.verifiers.gym import GYM_TASKS, MOST_LEVEL, deepen, gym_examples, gym_verify
from espalier.verifiers.verify import verify_answer


@pytest.fixture
def library():
    return pytest.importorskip("reasoning_gym", reason="reasoning-gym is not installed; pip install reasoning-gym==0.1.25")


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(EspalierError) as refused:
        gym_examples("chain_sum", n=1, seed=1, level=1)
    assert str(refused.value) == "a leaf's verifier is gym:..., but reasoning-gym is not installed; pip install reasoning-gym==0.1.25"


def test_tasks_with_known_defects_are_not_allowed():
    assert len(GYM_TASKS) >= 30
    assert list(GYM_TASKS) == sorted(set(GYM_TASKS))
    defective = "codeio game_of_life_halting puzzle24 isomorphic_strings knight_swap polynomial_multiplication ransom_note word_ladder complex_arithmetic n_queens"
    assert set(GYM_TASKS) & set(defective.split()) == set()
    with pytest.raises(EspalierError, match="verifier gym:codeio names no task that is allowed"):
        gym_examples("codeio", n=1, seed=1, level=1)


def test_a_level_that_was_not_examined_is_refused():
    with pytest.raises(EspalierError, match="gym:lcm: level is 5; it must lie in 1 .. 4"):
        gym_examples("lcm", n=1, seed=1, level=MOST_LEVEL + 1)


@pytest.mark.parametrize("metadata", ["", "{}", "[]", '{"task": "gcd", "level": 1, "question": "", "answer": "", "entry": {}}'])
def test_metadata_of_something_else_is_refused(metadata):
    with pytest.raises(EspalierError, match="gym:lcm: the metadata .*; pass what gym_examples gave"):
        gym_verify("lcm", metadata, "3")


@pytest.mark.parametrize("task", GYM_TASKS)
def test_gold_is_right_and_empty_changed_and_swapped_answers_are_not(library, task):
    examples = gym_examples(task, n=6, seed=3, level=1)
    for place, (question, answer, metadata) in enumerate(examples):
        other = next((one for _, one, _ in examples[place + 1 :] + examples[:place] if one != answer), "hm")
        assert json.loads(metadata)["question"] == question
        assert gym_verify(task, metadata, f" {answer}\n") is None
        assert gym_verify(task, metadata, " ") == "the answer is empty"
        assert gym_verify(task, metadata, other) is not None
        assert gym_verify(task, metadata, f"{answer}7") is not None


def test_examples_repeat_by_seed_and_more_of_them_keep_the_first(library):
    first = gym_examples("word_sorting", n=4, seed=42, level=2)
    assert gym_examples("word_sorting", n=9, seed=42, level=2)[:4] == first
    questions = [{question for question, _, _ in gym_examples("word_sorting", n=40, seed=seed, level=2)} for seed in (42, 43)]
    assert questions[0] & questions[1] == set()


def test_deepening_goes_one_level_up_until_the_last(library):
    task = "chain_sum"
    example = gym_examples(task, n=1, seed=1, level=1)[0]
    met = [1]
    while (deeper := deepen(task, example[2])) is not None:
        assert deepen(task, example[2]) == deeper
        assert gym_verify(task, deeper[2], deeper[1]) is None
        met.append(json.loads(deeper[2])["level"])
        example = deeper
    assert met == [1, 2, 3, 4]
    assert len(example[0]) > len(gym_examples(task, n=1, seed=1, level=1)[0][0])


def test_a_family_without_a_curriculum_cannot_be_deepened(library):
    assert gym.levels("acre") == 1
    assert deepen("acre", gym_examples("acre", n=1, seed=1, level=1)[0][2]) is None


def test_what_the_librarys_verifier_cannot_read_is_wrong_and_no_crash(library):
    _, _, metadata = gym_examples("mini_sudoku", n=1, seed=1, level=1)[0]
    for answer in ("x", "[" * 5_000, "9" * 5_000, "\x00\ud800", "1\n" * 500):
        assert gym_verify("mini_sudoku", metadata, answer).startswith("mini_sudoku ")
    assert gym_verify("mini_sudoku", metadata, "1" * 10_001) == "the answer has 10,001 letters, more than 10,000"


def test_the_one_entry_verifies_by_the_metadata(library):
    _, answer, metadata = gym_examples("gcd", n=1, seed=1, level=1)[0]
    asked = {"context": "", "query": "", "checks": ()}
    assert verify_answer("gym:gcd", answer=answer, gold=metadata, **asked).verdict == "right"
    assert verify_answer("gym:gcd", answer=f"{answer}1", gold=metadata, **asked).verdict == "wrong"
    assert verify_answer("gym:gcd", answer=answer, gold="", **asked).verdict == "unparseable"
