"""Agreement among answers: entropy, and the answers of a second temperature from the draws to the score."""

import math

import polars as pl
import pytest

from espalier.generate import draws, write_answers
from espalier.scorers.vote import agreement, agreement_scores, answer_entropy
from tests.test_generate import ANSWER, posed, sampling
from tests.worlds import Scripted


@pytest.mark.parametrize(
    ("said", "nats"),
    [
        (["9", "9", "9"], 0.0),
        (["9", "9", "4"], math.log(3) - 2 / 3 * math.log(2)),
        (["9", "4"], math.log(2)),
        (["9", "4", "2", "1"], math.log(4)),
        (["", "", ""], math.log(3)),  # nothing said three times is no agreement
        (["9", "9", ""], math.log(3) - 2 / 3 * math.log(2)),
        (["9"], None),  # one answer cannot disagree
        ([""], None),
        ([], None),
    ],
)
def test_the_entropy_is_over_what_answers_say_and_each_empty_one_is_a_thing_of_its_own(said, nats):
    assert answer_entropy(said) == (None if nats is None else pytest.approx(nats, abs=1e-12))


def test_the_order_of_the_answers_does_not_matter_to_the_entropy():
    assert answer_entropy(["a", "b", "a", "c", ""]) == answer_entropy(["", "c", "b", "a", "a"])


@pytest.mark.parametrize(("first", "others", "share"), [("9", ["9", "9"], 1.0), ("9", ["9", "4", "", "9"], 0.5), ("", ["", ""], 0.0), ("9", [], None)])
def test_the_agreement_of_temperatures_is_the_share_that_says_the_same_as_the_first_answer(first, others, share):
    assert agreement(first, others) == share


def test_the_scores_of_no_rows_have_their_types():
    frame = pl.DataFrame(schema={"said": pl.List(pl.String), "second_said": pl.List(pl.String)})
    assert agreement_scores(frame).schema == {"vote_share": pl.Float64, "answer_entropy": pl.Float64, "temperature_agreement": pl.Float64}


def test_second_answers_are_asked_at_their_own_temperature_after_the_first_and_with_other_seeds():
    teacher = Scripted(lambda request: f"at {request.temperature}")
    written = write_answers(posed(2), ANSWER, sampling(answers=2, second=1), teacher.generate)
    assert [request.temperature for request in teacher.asked] == [0.7, 0.7, 1.2] * 2
    assert len({request.seed for request in teacher.asked}) == 6
    assert written["answers"].to_list() == [["at 0.7", "at 0.7"]] * 2
    assert written["second_answers"].to_list() == [["at 1.2"]] * 2
    assert written["answer"].to_list() == ["at 0.7"] * 2
    assert written["spent_tokens"].to_list() == [9, 9]  # three replies of two words and an end token


def test_second_answers_change_no_first_one():
    def teacher():
        return Scripted(lambda request: str(request.seed))

    plain = write_answers(posed(3), ANSWER, sampling(answers=2), teacher().generate)
    more = write_answers(posed(3), ANSWER, sampling(answers=2, second=2), teacher().generate)
    assert more.drop("second_answers", "spent_tokens").equals(plain.drop("second_answers", "spent_tokens"))
    assert draws("answer", sampling(answers=2, second=2).gen) == ["answer 0", "answer 1", "second 0", "second 1"]


def test_rows_that_are_not_whole_have_no_second_answers():
    rows = posed(2).with_columns(pl.Series("status", ["truncated", "ok"]))
    written = write_answers(rows, ANSWER, sampling(second=1), Scripted(lambda request: "9").generate)
    assert written["second_answers"].to_list() == [[], ["9"]]
