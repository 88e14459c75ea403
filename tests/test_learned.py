"""The model on labels: its file, its arithmetic, that it learns, and that no labelled row is scored by a model that saw its label."""

import json
from functools import partial

import numpy as np
import polars as pl
import pytest
from scipy.sparse import csr_array

from espalier.auc import auc
from espalier.errors import ParamsError
from espalier.scorers import learned
from espalier.scorers.learned import features_of, learned_metrics, learned_scores, out_of_fold, parse_labels
from espalier.scorers.logistic import fit_logistic, probabilities

score = partial(learned_scores, file="labels.jsonl")


def rows(n, *, noise=0.0):
    """Rows whose answers are good ("clear plain words") or bad ("um er words") by turns, each with a problem of its own."""
    draw = np.random.default_rng(0).random(n)
    good = [bool(i % 2) != bool(draw[i] < noise) for i in range(n)]
    answers = [f"clear plain words number {i}" if one else f"um er words number {i}" for i, one in enumerate(good)]
    frame = pl.DataFrame({"id": [f"r{i}" for i in range(n)], "context": "", "query": [f"question {i} ?" for i in range(n)], "answer": answers})
    return frame, {f"r{i}": bool(i % 2) for i in range(n)}


def some(labels, n):
    return dict(list(labels.items())[:n])


# The file


def test_labels_are_lines_of_json_and_the_last_one_of_a_row_counts():
    text = '{"id": "a", "label": true}\n\n{"id": "b", "label": 0, "by": "kim"}\n{"id": "a", "label": false}\n{"id": "c", "label": 1}\n'
    assert parse_labels(text, file="labels.jsonl") == {"a": False, "b": False, "c": True}
    assert parse_labels("", file="labels.jsonl") == {}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{id: a}", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a", true]', "found a list of 2; a line must hold an id and a label, true or false"),
        ('{"id": 7, "label": true}', "found a mapping of 2; a line must hold"),
        ('{"id": "a", "label": "yes"}', 'found "yes"; a line must hold'),
        ('{"id": "a", "label": 2}', "found 2; a line must hold"),
        ('{"id": "a", "label": [1]}', "found a list of 1; a line must hold"),
        ('{"id": "a"}', "found empty; a line must hold"),
    ],
)
def test_a_line_that_is_no_label_is_named_with_its_number(line, said):
    with pytest.raises(ParamsError) as raised:
        parse_labels(f'{{"id": "a", "label": true}}\n{line}\n', file="labels.jsonl")
    assert str(raised.value).startswith("labels.jsonl, line 2: ")
    assert said in str(raised.value)


def test_too_few_labels_are_an_error_that_counts_them_and_says_how_many_are_wanted():
    frame, labels = rows(200)
    with pytest.raises(ParamsError) as raised:
        score(frame, labels=some(labels, 79))
    assert str(raised.value) == (
        "labels.jsonl: 39 rows of this recipe are accepted and 40 refused; the score learned wants 80 labels, 10 of each kind: label more rows, or empty the file"
    )
    with pytest.raises(ParamsError, match="9 rows of this recipe are accepted and 91 refused"):
        score(frame, labels={f"r{i}": i < 9 for i in range(100)})
    assert score(frame, labels=some(labels, 80))["learned"].null_count() == 0


def test_without_labels_of_these_rows_nothing_is_learnt_and_no_metric_is_written():
    frame, labels = rows(4)
    for given in ({}, {"other": True}):
        found = score(frame, labels=given)
        assert (found["learned"].to_list(), found.schema) == ([None] * 4, {"learned": pl.Float64})
        assert learned_metrics(frame.hstack(found), given) == {}
    assert score(frame.clear(), labels=labels).schema == found.schema


# What it learns


def test_it_learns_what_labels_say_and_scores_rows_that_have_none():
    frame, labels = rows(400, noise=0.1)
    given = some(labels, 200)
    found = frame.hstack(score(frame, labels=given))
    clear = found["answer"].str.starts_with("clear")
    assert auc(found["learned"].to_numpy()[200:], clear.to_numpy()[200:]) == 1.0
    numbers = learned_metrics(found, given)
    assert numbers["labelled_rows"] == 200
    assert numbers["learned_auc"] == pytest.approx(0.9, abs=0.05)  # one label in ten is wrong


def test_labels_by_a_coin_are_not_learnt():
    frame, _ = rows(300)
    coin = np.random.default_rng(1).random(300) < 0.5
    found = frame.hstack(score(frame, labels=dict(zip(frame["id"], coin.tolist(), strict=True))))
    assert learned_metrics(found, dict(zip(frame["id"], coin.tolist(), strict=True)))["learned_auc"] == pytest.approx(0.5, abs=0.12)


def test_a_score_column_is_a_feature_and_the_verdict_is_none():
    frame, labels = rows(200)
    plain = frame.with_columns(pl.lit("same").alias("answer"), pl.lit("q").alias("query"))
    losses = pl.Series("answer_loss", [0.1 if labels[one] else 2.0 for one in frame["id"]])
    verdict = pl.Series("verdict", ["right" if labels[one] else "wrong" for one in frame["id"]])
    by_loss = features_of(plain.with_columns(losses))
    assert by_loss.shape[1] == features_of(plain).shape[1] + 1
    assert (features_of(plain.with_columns(verdict)) != features_of(plain)).nnz == 0


def test_scores_are_features_in_standard_deviations_and_a_missing_one_is_average():
    frame = pl.DataFrame({"context": "", "query": "", "answer": "", "ifd": [1.0, 3.0, None]})
    assert features_of(frame).toarray()[:, -1].tolist() == [-1.0, 1.0, 0.0]
    assert features_of(frame.with_columns(pl.lit(None, dtype=pl.Float64).alias("ifd"))).toarray()[:, -1].tolist() == [0.0] * 3


def test_the_n_grams_of_a_part_have_length_one_and_those_of_question_and_answer_differ():
    frame = pl.DataFrame({"context": "", "query": ["a b c", ""], "answer": ["", "a b c"]})
    asked, answered = features_of(frame).toarray()
    assert np.linalg.norm(asked) == pytest.approx(1)
    assert np.linalg.norm(answered) == pytest.approx(1)
    assert np.count_nonzero(asked) == 5  # a b c, ab bc
    assert asked @ answered == 0


# No leakage


def test_a_labelled_row_does_not_depend_on_its_own_label_but_on_that_of_others():
    frame, labels = rows(200, noise=0.2)
    before = dict(zip(frame["id"], score(frame, labels=labels)["learned"], strict=True))
    groups = [f"question {i} ?" for i in range(200)]
    features, accepted = features_of(frame), np.array(list(labels.values()))
    turned = accepted.copy()
    turned[7] = not turned[7]
    folds = np.flatnonzero(out_of_fold(features, accepted, groups) != out_of_fold(features, turned, groups))
    assert before["r7"] == out_of_fold(features, accepted, groups)[7]
    assert len(folds) > 100  # other folds learn from it


def test_rows_with_the_same_problem_share_a_fold():
    """100 problems twice, labels by a coin and alike for both rows of a problem: across folds they would give the labels away."""
    coin = np.repeat(np.random.default_rng(2).random(100) < 0.5, 2)
    names = np.repeat([f"word{i} word{i}" for i in range(100)], 2)
    frame = pl.DataFrame({"id": [f"r{i}" for i in range(200)], "context": "", "query": names, "answer": ""})
    labels = dict(zip(frame["id"], coin.tolist(), strict=True))
    together = learned_metrics(frame.hstack(score(frame, labels=labels)), labels)["learned_auc"]
    apart = auc(out_of_fold(features_of(frame), coin, [str(i) for i in range(200)]), coin)
    assert together < 0.6
    assert apart > 0.75


def test_the_same_labels_give_the_same_bytes_in_any_order():
    frame, labels = rows(200, noise=0.2)
    turned = dict(reversed(labels.items()))
    assert score(frame, labels=labels)["learned"].to_list() == score(frame, labels=turned)["learned"].to_list()


def test_each_fold_has_like_shares_of_both_kinds():
    """10 accepted of 100: 2 in every fold of 20, so every model saw 8."""
    accepted, seen = np.arange(100) < 10, []
    features = csr_array(np.ones((100, 1)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "fit_logistic", lambda known, kinds, penalty: seen.append((len(kinds), int(kinds.sum()))) or np.zeros(2))
        out_of_fold(features, accepted, [str(i) for i in range(100)])
    assert seen == [(80, 8)] * 5


# The arithmetic


def test_one_feature_without_penalty_is_the_logit_of_the_shares():
    """x = 0: 1 of 4 accepted, bias ln(1/3); x = 1: 3 of 4, weight ln 3 - ln(1/3) = 2 ln 3."""
    x = csr_array(np.array([[0.0]] * 4 + [[1.0]] * 4))
    weights = fit_logistic(x, np.array([True] + [False] * 3 + [True] * 3 + [False]), penalty=0.0)
    assert weights == pytest.approx([2 * np.log(3), -np.log(3)], abs=1e-4)
    assert probabilities(x, weights) == pytest.approx([0.25] * 4 + [0.75] * 4, abs=1e-5)


def test_the_weights_are_where_the_slope_is_zero():
    draw = np.random.default_rng(3)
    x, accepted = draw.normal(size=(60, 4)), draw.random(60) < 0.4
    weights = fit_logistic(csr_array(x), accepted, penalty=2.0)
    wrong = probabilities(csr_array(x), weights) - accepted
    assert np.abs(x.T @ wrong + 2.0 * weights[:-1]).max() < 1e-3
    assert abs(wrong.sum()) < 1e-3


def test_a_column_without_values_has_no_weight():
    x = csr_array(np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]))
    weights = fit_logistic(x, np.array([True, False]), penalty=1.0)
    assert (weights[0], weights[2], len(weights)) == (0.0, 0.0, 4)
    assert weights[1] > 0.3


def test_the_area_under_the_curve_counts_pairs():
    kinds = np.array([True, True, False, False, False])
    assert auc(np.array([5.0, 1.0, 4.0, 3.0, 1.0]), kinds) == pytest.approx((3 + 0.5) / 6)
    assert auc(np.array([1.0, 1.0, 1.0, 1.0, 1.0]), kinds) == 0.5
    assert json.dumps(auc(np.array([2.0, 2.0, 1.0, 1.0, 1.0]), kinds)) == "1.0"
