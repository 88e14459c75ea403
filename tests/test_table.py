import math

import polars as pl
import pytest

from espalier.errors import ParamsError
from espalier.scorers.table import SCORERS, goodness, wanted_columns

FRAME = pl.DataFrame(
    {
        "verdict": ["right", "unknown", "wrong", "unparseable", None],
        "vote_share": [1.0, 0.5, 0.25, 0.0, None],
        "answer_entropy": [0.0, 0.5, 1.0, 1.5, None],
        "temperature_agreement": [1.0, 0.5, 0.0, None, None],
        "round_trip": [0.9, 0.5, 0.0, None, None],
        "answer_loss": [0.1, 1.0, 2.0, 3.0, None],
        "answer_loss_z": [-1.0, 0.0, 1.0, 2.0, None],
        "ifd": [0.9, 0.5, 1.0, 1.5, None],
        "ifd_z": [-0.5, -1.0, 0.5, 2.0, None],
        "logprob_mean": [-0.1, -1.0, -2.0, 0.0, None],
        "logprob_z": [1.0, 0.0, -1.0, None, None],
        "nearest_similarity": [0.1, 0.5, 0.9, 1.0, None],
        "learned": [0.9, 0.5, 0.1, math.nan, None],
        "broken_rules": [[], ["gopher:a"], ["gopher:a", "c4:b"], ["gopher:a", "c4:b", "reply:c"], None],
    },
    schema_overrides={"broken_rules": pl.List(pl.String)},
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("verifier", [1.0, 0.5, 0.0, 0.0, None]),
        ("vote", [1.0, 0.5, 0.25, 0.0, None]),
        ("entropy", [0.0, -0.5, -1.0, -1.5, None]),
        ("temperatures", [1.0, 0.5, 0.0, None, None]),
        ("round_trip", [0.9, 0.5, 0.0, None, None]),
        ("loss", [-0.1, -1.0, -2.0, -3.0, None]),
        ("loss_leaf", [1.0, 0.0, -1.0, -2.0, None]),
        ("ifd", [0.9, 0.5, -1_000_001.0, -1_000_001.5, None]),  # 1 is no longer below 1
        ("ifd_leaf", [-0.5, -1.0, -1_000_001.0, -1_000_001.5, None]),
        ("teacher", [-0.1, -1.0, -2.0, None, None]),  # 0 is what a row without an answer has
        ("teacher_leaf", [1.0, 0.0, -1.0, None, None]),
        ("neighbours", [-0.1, -0.5, -0.9, -1.0, None]),
        ("learned", [0.9, 0.5, 0.1, None, None]),
        ("heuristics", [0.0, -1.0, -2.0, -3.0, None]),
    ],
)
def test_the_goodness_of_each_scorer_is_its_column_with_the_good_end_up(name, expected):
    found = goodness(FRAME, name)
    assert (found.to_list(), found.dtype, found.name) == (expected, pl.Float64, name)


def test_every_scorer_has_a_goodness_and_a_column_of_its_own():
    assert {name: goodness(FRAME, name).len() for name in SCORERS} == dict.fromkeys(SCORERS, 5)
    assert len({scorer.column for scorer in SCORERS.values()}) == len(SCORERS) == 14


def test_the_first_row_is_the_best_and_the_fourth_never_better_in_the_order_of_every_scorer_but_ifd():
    for name in set(SCORERS) - {"ifd", "ifd_leaf"}:
        values = [value for value in goodness(FRAME, name) if value is not None]
        assert values == sorted(values, reverse=True), name


def test_a_name_that_is_no_scorer_and_a_frame_without_its_column_are_refused():
    with pytest.raises(ParamsError, match='^"vot" is not a scorer; did you mean "vote"[?]$'):
        goodness(FRAME, "vot")
    with pytest.raises(ParamsError, match="^the scorer ifd_leaf reads the column ifd, which the rows lack; run `dvc repro score`$"):
        goodness(FRAME.drop("ifd"), "ifd_leaf")
    assert wanted_columns("loss") == ("answer_loss",)
