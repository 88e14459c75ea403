import dataclasses

import polars as pl
import pytest

from espalier.audit import THRESHOLD_SCHEMA
from espalier.errors import ParamsError
from espalier.filter import filter_metrics, filter_rows, keep_rates
from espalier.ranges import RULE_FAMILIES
from espalier.seeds import share
from espalier.settings import Filter

OFF = {
    "kind": "rules", "min_words": 0, "max_words": 100, "max_repeat": 1.0, "max_echo": 1.0, "require_verified": False,
    "min_vote": 0.0, "rules": (), "scorer": "vote", "threshold": "share", "keep_share": 0.5, "per_leaf": False,
    "max_cluster_rows": 0, "min_leaf_rows": 0, "max_leaf_rows": 0,
}  # fmt: skip
ROW = {
    "id": "r0", "status": "ok", "words": 5, "repeat_share": 0.2, "echo_share": 0.2, "verdict": "right", "vote_share": 0.6,
    "delivered_leaf": "a", "broken_rules": [], "neighbour_cluster": None, "logprob_mean": -0.5,
}  # fmt: skip
TYPES = {"broken_rules": pl.List(pl.String), "neighbour_cluster": pl.Int64, "logprob_mean": pl.Float64, "vote_share": pl.Float64}
NONE = pl.DataFrame(schema=THRESHOLD_SCHEMA)


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)], schema_overrides=TYPES)


def votes(*values, **changes):
    return [{"vote_share": value, **changes} for value in values]


def split(frame, *, seed=1, thresholds=NONE, **changes):
    return filter_rows(frame, Filter(**(OFF | changes)), seed=seed, thresholds=thresholds)


def kept_ids(frame, **changes):
    return split(frame, **changes)[0]["id"].to_list()


def reasons(frame, **changes):
    return dict(split(frame, **changes)[1].select("id", "reason").iter_rows())


def thresholds(scorer, **by_leaf):
    return pl.DataFrame([{"scorer": scorer, "leaf": leaf, "threshold": limit, "source": "own"} for leaf, limit in by_leaf.items()], schema=THRESHOLD_SCHEMA)


@pytest.mark.parametrize(
    ("setting", "limit", "column", "bad", "good", "reason"),
    [
        ("min_words", 3, "words", 2, 3, "length:short"),
        ("max_words", 9, "words", 10, 9, "length:long"),
        ("max_repeat", 0.5, "repeat_share", 0.51, 0.5, "repeats"),
        ("max_echo", 0.5, "echo_share", 0.51, 0.5, "echo"),
        ("require_verified", True, "verdict", "wrong", "right", "verdict:wrong"),
        ("require_verified", True, "verdict", "unparseable", "right", "verdict:unparseable"),
        ("min_vote", 0.5, "vote_share", 0.49, 0.5, "vote"),
    ],
)
def test_a_rule_drops_what_lies_beyond_its_limit_and_keeps_what_lies_on_it(setting, limit, column, bad, good, reason):
    kept, dropped = split(rows({column: bad}, {column: good}), **{setting: limit})
    assert (kept["id"].to_list(), dropped["id"].to_list()) == (["r1"], ["r0"])
    assert dropped["reasons"].to_list() == [[reason]]


def test_a_rule_that_is_off_drops_nothing():
    kept, dropped = split(rows({"words": 100, "repeat_share": 1.0, "echo_share": 1.0, "verdict": "wrong", "vote_share": 0.0}))
    assert (kept.height, dropped.height) == (1, 0)


@pytest.mark.parametrize("kind", ["rules", "random", "top"])
@pytest.mark.parametrize("status", ["parse", "truncated", "empty", "error"])
def test_a_row_that_failed_is_dropped_under_every_kind(kind, status):
    kept, dropped = split(rows({"status": status}, {}), kind=kind, keep_share=1.0, min_leaf_rows=9)
    assert (kept["id"].to_list(), dropped["reason"].to_list()) == (["r1"], [f"status:{status}"])


def test_the_first_reason_is_the_reason_and_all_are_listed():
    _, dropped = split(rows({"words": 1, "verdict": "wrong", "vote_share": 0.1}), min_words=2, require_verified=True, min_vote=0.5)
    assert dropped.select("reason", "reasons").rows() == [("length:short", ["length:short", "verdict:wrong", "vote"])]


def test_random_keeps_its_share_whatever_the_scores_are():
    good, bad = rows(*[{}] * 4000), rows(*[{"verdict": "wrong", "words": 99}] * 4000)
    kept, dropped = split(good, kind="random", keep_share=0.25)
    assert abs(kept.height - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5  # four standard deviations
    assert split(bad, kind="random", keep_share=0.25, require_verified=True)[0]["id"].to_list() == kept["id"].to_list()
    assert dropped["reason"].unique().to_list() == ["random"]


def test_a_larger_random_share_keeps_the_rows_of_a_smaller_one_and_another_seed_others():
    frame = rows(*[{}] * 1000)
    ids = {share: set(split(frame, kind="random", keep_share=share)[0]["id"]) for share in (0.0, 0.3, 0.6, 1.0)}
    assert ids[0.0] == set()
    assert ids[0.3] < ids[0.6] < ids[1.0] == set(frame["id"])
    other = set(split(frame, kind="random", keep_share=0.3, seed=2)[0]["id"])
    assert len(other & ids[0.3]) < 0.5 * len(ids[0.3])  # 0.3 expected of independent choices


def test_kept_and_dropped_are_all_rows_and_keep_their_order():
    frame = rows({"words": 1}, {}, {"words": 1}, {})
    kept, dropped = split(frame, min_words=2)
    assert (kept["id"].to_list(), dropped["id"].to_list()) == (["r1", "r3"], ["r0", "r2"])
    assert kept.columns == [*frame.columns, "topped_up"]


def test_the_keep_rate_is_that_of_each_delivered_leaf():
    frame = rows({}, {"words": 1}, {"delivered_leaf": "b", "words": 1}, {"delivered_leaf": ""})
    assert keep_rates(*split(frame, min_words=2)).rows() == [("", 1, 1, 1.0), ("a", 2, 1, 0.5), ("b", 1, 0, 0.0)]


def test_the_metrics_tell_what_the_filter_did_to_coverage():
    frame = rows({}, {"verdict": "wrong"}, {"delivered_leaf": "b", "verdict": "wrong"}, {"delivered_leaf": "b", "status": "parse"})
    metrics = filter_metrics(*split(frame, require_verified=True), min_leaf_rows=0)
    assert (metrics["rows_in"], metrics["rows_kept"], metrics["right_share_before"], metrics["right_share_after"]) == (4, 1, 0.5, 1.0)
    assert metrics["effective_leaves_before"] == pytest.approx(2.0)
    assert (metrics["effective_leaves_after"], metrics["leaves_lost"], metrics["leaf_keep_rate_median"]) == (1.0, 1, 0.25)
    assert (metrics["dropped_status"], metrics["dropped_unscored"], metrics["rows_topped_up"], metrics["leaves_short"]) == (1, 0, 0, 0)
    assert len(metrics) <= 12


def test_no_rows_give_no_rows_and_zeros():
    kept, dropped = split(rows({}).clear())
    assert (kept.height, dropped.columns[-2:]) == (0, ["reason", "reasons"])
    assert set(filter_metrics(kept, dropped, min_leaf_rows=5).values()) == {0}


def test_a_family_of_rules_drops_and_the_others_do_not():
    broken = {"broken_rules": ["c4:brace", "gopher:short", "gopher:stop_words"]}
    kept, dropped = split(rows(broken, {"broken_rules": ["c4:brace"]}, {"broken_rules": None}), rules=("gopher",))
    assert (kept["id"].to_list(), dropped["reasons"].to_list()) == (["r1", "r2"], [["gopher:short", "gopher:stop_words"]])
    assert kept_ids(rows(broken)) == ["r0"]
    assert reasons(rows({**broken, "words": 0}), rules=("gopher",), min_words=1) == {"r0": "length:short"}


@pytest.mark.parametrize(("changes", "column"), [({"rules": ("c4",)}, "broken_rules"), ({"max_cluster_rows": 2}, "neighbour_cluster")])
def test_a_setting_whose_column_is_not_there_says_what_to_run(changes, column):
    name = next(iter(changes))
    with pytest.raises(ParamsError, match=f"filter.{name} reads the column {column}, which the rows lack; run `dvc repro score`"):
        split(rows({}).drop(column), **changes)


def test_top_keeps_the_best_share_of_all_rows_or_of_every_leaf():
    frame = rows(*votes(0.9, 0.8, 0.7, 0.6), *votes(0.5, 0.4, delivered_leaf="b"))
    assert kept_ids(frame, kind="top") == ["r0", "r1", "r2"]
    assert kept_ids(frame, kind="top", per_leaf=True) == ["r0", "r1", "r4"]
    assert set(reasons(frame, kind="top").values()) == {"not_top"}


def test_the_share_is_one_of_the_finished_rows_and_rounds_half_up():
    # 5 finished rows: 0.5 x 5 = 2.5 -> 3; 0.25 x 5 = 1.25 -> 1
    frame = rows(*votes(0.9, 0.8, 0.7, 0.6, 0.5), *votes(1.0, 1.0, status="parse"))
    assert [len(kept_ids(frame, kind="top", keep_share=one)) for one in (0.0, 0.25, 0.5, 1.0)] == [0, 1, 3, 5]


def test_top_takes_low_values_where_low_is_good():
    frame = rows({}, {}, {}).with_columns(answer_loss=pl.Series([2.0, 0.5, 1.0]))
    assert kept_ids(frame, kind="top", scorer="loss", keep_share=0.34) == ["r1"]


def test_ties_are_broken_by_a_hash_of_seed_and_id():
    frame = rows(*votes(*[1.0] * 400))
    kept = kept_ids(frame, kind="top")
    by_hash = sorted(frame["id"], key=lambda one: share(1, "filter", one))[:200]
    assert sorted(kept) == sorted(by_hash)
    assert set(kept_ids(frame.reverse(), kind="top")) == set(kept)
    assert 50 < len(set(kept) & set(kept_ids(frame, kind="top", seed=2))) < 150  # 100 expected of independent choices


def test_a_row_without_a_score_is_not_chosen_by_top():
    frame = rows(*votes(None, 0.1, float("nan"), 0.9))
    assert kept_ids(frame, kind="top", keep_share=1.0) == ["r1", "r3"]
    assert reasons(frame, kind="top", keep_share=0.25) == {"r0": "unscored", "r1": "not_top", "r2": "unscored"}
    assert filter_metrics(*split(frame, kind="top"), min_leaf_rows=0)["dropped_unscored"] == 2


def test_a_scorer_that_speaks_of_no_row_is_an_error():
    with pytest.raises(ParamsError, match="filter.scorer is vote, which speaks of none of 2 rows; name another or turn its scores on"):
        split(rows(*votes(None, None)), kind="top")


def test_the_threshold_of_the_audit_is_inclusive_and_of_each_leaf():
    frame = rows(*votes(0.6, 0.5), *votes(0.6, 0.9, delivered_leaf="b"), {"vote_share": None, "delivered_leaf": "b"})
    limits = pl.concat([thresholds("vote", a=0.6, b=0.8), thresholds("teacher", a=-9.0, b=-9.0)])
    assert kept_ids(frame, kind="top", threshold="audit", keep_share=0.0, thresholds=limits) == ["r0", "r3"]
    assert reasons(frame, kind="top", threshold="audit", thresholds=limits) == {"r1": "below_threshold", "r2": "below_threshold", "r4": "unscored"}


@pytest.mark.parametrize("limits", [NONE, thresholds("vote", a=None), thresholds("vote", b=0.5), thresholds("teacher", a=0.5)])
def test_a_target_that_the_audit_does_not_reach_is_an_error_that_says_what_to_do(limits):
    with pytest.raises(ParamsError, match='no threshold of the scorer vote for 1 leaves .*"a".* lower that, name another filter.scorer, or set share'):
        split(rows(*votes(0.6)), kind="top", threshold="audit", thresholds=limits)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "top", "per_leaf": True, "require_verified": True, "min_leaf_rows": 8, "max_leaf_rows": 12},
        {"kind": "top", "scorer": "teacher", "max_cluster_rows": 2, "require_verified": True},
        {"kind": "top", "threshold": "audit", "min_leaf_rows": 8},
        {"kind": "rules", "min_vote": 0.6, "min_leaf_rows": 8},
        {"kind": "random", "require_verified": True, "min_leaf_rows": 8},
    ],
    ids=str,
)
def test_shuffling_the_verdicts_changes_no_choice_that_was_not_asked_to_read_them(changes):
    frame = rows(*({"vote_share": i % 7 / 6, "delivered_leaf": "abc"[i % 3], "logprob_mean": -i % 11 - 0.5, "neighbour_cluster": i // 9,
                    "verdict": ("right", "wrong", "unparseable", "unknown")[i % 4]} for i in range(90)))  # fmt: skip
    shuffled = frame.with_columns(frame["verdict"].sample(fraction=1.0, shuffle=True, seed=5))
    assert shuffled["verdict"].to_list() != frame["verdict"].to_list()
    limits = thresholds("vote", a=0.5, b=0.5, c=0.9)
    found, other = (split(one, thresholds=limits, **changes) for one in (frame, shuffled))
    assert 0 < found[0].height < 90
    for mine, others in zip(found, other, strict=True):
        assert mine.drop("verdict").equals(others.drop("verdict"))


def test_a_choice_that_reads_no_verdict_needs_none():
    frame = rows(*votes(0.9, 0.1)).drop("verdict")
    assert kept_ids(frame, kind="top") == ["r0"]
    assert kept_ids(frame, min_vote=0.5) == ["r0"]


def test_the_verifier_as_scorer_puts_right_before_unknown_before_wrong():
    frame = rows({"verdict": "wrong"}, {"verdict": "unknown"}, {"verdict": "right"})
    assert kept_ids(frame, kind="top", scorer="verifier", keep_share=0.34) == ["r2"]
    assert kept_ids(frame, kind="top", scorer="verifier", keep_share=0.67) == ["r1", "r2"]


def test_the_families_that_may_be_named_are_those_that_there_are():
    rules = pytest.importorskip("espalier.scorers.rules.table", reason="the rules of tier 0 are not there")
    assert rules.FAMILIES == RULE_FAMILIES


def test_no_setting_of_the_filter_is_left_out_here():
    assert list(OFF) == [field.name for field in dataclasses.fields(Filter)]
