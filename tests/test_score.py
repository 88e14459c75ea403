from functools import partial

import polars as pl
import pytest

from espalier.score import SEEN, score_metrics, score_rows
from espalier.scorers.heuristics import heuristic_scores, heuristics
from espalier.scorers.vote import agreement_scores, majority, vote_share
from espalier.text import fold
from espalier.verdicts import Judged

ROW = {
    "id": "a", "leaf": "digits/largest", "context": "list : 4 9 2 .", "query": "what is the largest number ?", "answer": "9",
    "answers": ["9", "9", "4"], "second_answers": [], "asked_back": "", "finish": "stop", "status": "ok", "logprob_mean": -0.5, "solution": "9", "checks": "",
}  # fmt: skip


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)], schema_overrides={"answers": pl.List(pl.String), "second_answers": pl.List(pl.String)})


def verify(row):
    """Knows one kind of problem: the largest digit of a list."""
    digits = [word for word in row["context"].split() if word.isdigit()]
    if not digits:
        return Judged("unparseable", "", "")
    return Judged("right" if row["answer"] == max(digits) else "wrong", "digits/largest", " ".join(digits))


SCORERS = (partial(heuristic_scores, repeat_words=3), agreement_scores)


def read(row, answer):
    return fold(answer)


def judged(frame, *, verify=verify, scorers=SCORERS):
    return score_rows(frame, verify=verify, read=read, scorers=scorers)


def scored(*changes):
    return judged(rows(*changes))


def test_every_row_comes_back_in_its_order_with_all_scores():
    found = scored({}, {"status": "parse", "context": "", "query": "", "answer": "", "answers": []}, {"answer": "4", "finish": "length"})
    added = found.select("id", "words", "repeat_share", "echo_share", "is_truncated", "verdict", "delivered_leaf", "problem_key", "vote_share")
    assert added.rows() == [
        ("r0", 1, 0.0, 0.0, False, "right", "digits/largest", "4 9 2", pytest.approx(2 / 3)),
        ("r1", 0, 0.0, 0.0, False, "unparseable", "", "", 0.0),
        ("r2", 1, 0.0, 0.0, True, "wrong", "digits/largest", "4 9 2", pytest.approx(2 / 3)),
    ]


def test_scoring_no_rows_gives_the_same_columns():
    assert judged(rows({}).clear()).schema == scored({}).schema


def test_scoring_in_two_halves_is_scoring_at_once():
    all_rows = rows({}, {"answer": "4"}, {"context": "hm"})
    halves = [judged(part) for part in (all_rows[:1], all_rows[1:])]
    assert pl.concat(halves).equals(judged(all_rows))


def test_a_verifier_that_says_another_word_is_found_out():
    with pytest.raises(AssertionError, match="said 'maybe'"):
        judged(rows({}), verify=lambda row: Judged("maybe", "", ""))


def test_repeats_and_echo_are_those_of_the_answer_against_the_query():
    found = heuristics("what is the largest number ?", "the largest number ? the largest number ?", finish="stop", repeat_words=3)
    assert found.words == 8
    assert found.repeat_share == pytest.approx(2 / 6)  # six 3-grams, two kinds twice
    assert found.echo_share == pytest.approx(4 / 6)  # "number ? the" and "? the largest" are new
    assert heuristics("what ?", "9 9 9", finish="stop", repeat_words=2).repeat_share == pytest.approx(1 / 2)


def test_an_answer_that_quotes_its_context_is_no_echo():
    assert scored({"context": "ana eats red soup at 9 .", "answer": "ana eats red soup"})["echo_share"].to_list() == [0.0]


def test_the_vote_is_that_of_the_first_answer():
    assert vote_share(["4", "9", "9"]) == pytest.approx(1 / 3)
    assert vote_share([" 9", "9 ", "4"]) == pytest.approx(2 / 3)


def test_answers_that_say_nothing_vote_for_nothing_and_still_count():
    assert vote_share(["9", "", " "]) == pytest.approx(1 / 3)
    assert vote_share(["", "", "9"]) == 0.0
    assert vote_share([]) == 0.0
    assert vote_share(["9 apples", "nine", "hm"], read=lambda answer: {"9 apples": "9", "nine": "9"}.get(answer, "")) == pytest.approx(2 / 3)


def test_a_row_without_a_list_of_answers_votes_for_itself():
    assert scored({"answers": None}, {"answers": []})["vote_share"].to_list() == [1.0, 1.0]


def test_the_majority_is_the_first_of_the_largest_group():
    assert majority(["4", "9", " 9"]) == 1
    assert majority(["4", "9"]) == 0
    assert majority(["", "", "9"]) == 2
    assert majority(["", ""]) == 0


def test_the_metrics_are_means_over_all_rows():
    metrics = score_metrics(scored({}, {"answer": "4"}, {"context": "hm", "leaf": ""}, {"status": "truncated", "answers": ["9"]}), {"learned_auc": 0.75})
    assert metrics["rows"] == 4
    assert (metrics["ok_share"], metrics["right_share"], metrics["unparseable_share"]) == (0.75, 0.5, 0.25)
    assert metrics["asked_leaf_share"] == 1.0  # of the three that asked
    assert metrics["effective_leaves"] == 1.0
    assert metrics["vote_share_mean"] == pytest.approx((2 / 3 * 3 + 1) / 4)
    assert metrics["answer_entropy_mean_nats"] == pytest.approx(0.6365142)  # ln 3 - 2/3 ln 2, of the three with several answers
    assert metrics["learned_auc"] == 0.75
    assert set(metrics) & {"ifd_mean", "answer_loss_mean_nats", "round_trip_mean", "temperature_agreement_mean"} == set()  # which no row has
    assert len(metrics) <= 14


def test_a_scorer_sees_what_scorers_before_it_added_and_neither_verdict_nor_anything_of_the_gold_answer():
    handed = []

    def look(frame):
        handed.append(frame.columns)
        return pl.DataFrame({f"look{len(handed)}": [0] * frame.height})

    frame = rows({}, {"answer": "4"}).with_columns(pl.lit("largest").alias("verifier"), pl.lit("9").alias("gold"))
    found = judged(frame, scorers=(look, look))
    assert handed == [[*SEEN, "delivered_leaf", "said", "second_said"], [*SEEN, "delivered_leaf", "said", "second_said", "look1"]]
    assert found.columns == [*frame.columns, "verdict", "delivered_leaf", "problem_key", "look1", "look2"]
    assert not {"solution", "checks", "verifier", "gold", "verdict", "problem_key"} & set(SEEN)


def test_a_scorer_that_loses_rows_is_found_out():
    with pytest.raises(AssertionError, match="a scorer gave 1 rows for 2"):
        judged(rows({}, {}), scorers=(lambda frame: pl.DataFrame({"x": [1]}),))


def test_answers_are_compared_as_the_world_reads_them():
    frame = rows({"answer": "It is 9.", "answers": ["It is 9.", "nine", ""], "second_answers": ["9", "4"]})
    said = {"It is 9.": "9", "nine": "9", "9": "9", "4": "4", "": ""}
    found = score_rows(frame, verify=verify, read=lambda row, answer: said[answer], scorers=(agreement_scores,)).row(0, named=True)
    assert found["vote_share"] == pytest.approx(2 / 3)
    assert found["temperature_agreement"] == 0.5
    assert found["answer_entropy"] == pytest.approx(0.6365142)


def test_the_metrics_of_no_rows_are_zeros():
    assert set(score_metrics(scored({}).clear(), {}).values()) == {0}
