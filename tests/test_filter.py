import polars as pl
import pytest

from espalier.filter import filter_metrics, filter_rows, keep_rates
from espalier.settings import Filter

OFF = {
    "kind": "rules", "min_words": 0, "max_words": 100, "max_repeat": 1.0, "max_echo": 1.0, "require_verified": False,
    "min_vote": 0.0, "random_share": 0.5,
}  # fmt: skip
ROW = {
    "id": "r0", "status": "ok", "words": 5, "repeat_share": 0.2, "echo_share": 0.2, "verdict": "right", "vote_share": 0.6,
    "delivered_leaf": "a",
}  # fmt: skip


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)])


def split(frame, *, seed=1, **changes):
    return filter_rows(frame, Filter(**(OFF | changes)), seed=seed)


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


@pytest.mark.parametrize("kind", ["rules", "random"])
@pytest.mark.parametrize("status", ["parse", "truncated", "empty", "error"])
def test_a_row_that_failed_is_dropped_under_every_kind(kind, status):
    kept, dropped = split(rows({"status": status}, {}), kind=kind, random_share=1.0)
    assert (kept["id"].to_list(), dropped["reason"].to_list()) == (["r1"], [f"status:{status}"])


def test_the_first_reason_is_the_reason_and_all_are_listed():
    _, dropped = split(rows({"words": 1, "verdict": "wrong", "vote_share": 0.1}), min_words=2, require_verified=True, min_vote=0.5)
    assert dropped.select("reason", "reasons").rows() == [("length:short", ["length:short", "verdict:wrong", "vote"])]


def test_random_keeps_its_share_whatever_the_scores_are():
    good, bad = rows(*[{}] * 4000), rows(*[{"verdict": "wrong", "words": 99}] * 4000)
    kept, dropped = split(good, kind="random", random_share=0.25)
    assert abs(kept.height - 1000) < 4 * (4000 * 0.25 * 0.75) ** 0.5  # four standard deviations
    assert split(bad, kind="random", random_share=0.25, require_verified=True)[0]["id"].to_list() == kept["id"].to_list()
    assert dropped["reason"].unique().to_list() == ["random"]


def test_a_larger_random_share_keeps_the_rows_of_a_smaller_one_and_another_seed_others():
    frame = rows(*[{}] * 1000)
    ids = {share: set(split(frame, kind="random", random_share=share)[0]["id"]) for share in (0.0, 0.3, 0.6, 1.0)}
    assert ids[0.0] == set()
    assert ids[0.3] < ids[0.6] < ids[1.0] == set(frame["id"])
    other = set(split(frame, kind="random", random_share=0.3, seed=2)[0]["id"])
    assert len(other & ids[0.3]) < 0.5 * len(ids[0.3])  # 0.3 expected of independent choices


def test_kept_and_dropped_are_all_rows_and_keep_their_order():
    frame = rows({"words": 1}, {}, {"words": 1}, {})
    kept, dropped = split(frame, min_words=2)
    assert (kept["id"].to_list(), dropped["id"].to_list()) == (["r1", "r3"], ["r0", "r2"])
    assert kept.columns == frame.columns


def test_the_keep_rate_is_that_of_each_delivered_leaf():
    frame = rows({}, {"words": 1}, {"delivered_leaf": "b", "words": 1}, {"delivered_leaf": ""})
    assert keep_rates(*split(frame, min_words=2)).rows() == [("", 1, 1, 1.0), ("a", 2, 1, 0.5), ("b", 1, 0, 0.0)]


def test_the_metrics_tell_what_the_filter_did_to_coverage():
    frame = rows({}, {"verdict": "wrong"}, {"delivered_leaf": "b", "verdict": "wrong"}, {"delivered_leaf": "b", "status": "parse"})
    metrics = filter_metrics(*split(frame, require_verified=True))
    assert (metrics["rows_in"], metrics["rows_kept"], metrics["right_share_before"], metrics["right_share_after"]) == (4, 1, 0.5, 1.0)
    assert metrics["effective_leaves_before"] == pytest.approx(2.0)
    assert (metrics["effective_leaves_after"], metrics["leaves_lost"], metrics["leaf_keep_rate_median"]) == (1.0, 1, 0.25)
    assert (metrics["dropped_status"], metrics["dropped_verdict"], metrics["dropped_heuristics"], metrics["dropped_vote"]) == (1, 2, 0, 0)
    assert len(metrics) <= 12


def test_no_rows_give_no_rows_and_zeros():
    kept, dropped = split(rows({}).clear())
    assert (kept.height, dropped.columns[-2:]) == (0, ["reason", "reasons"])
    assert set(filter_metrics(kept, dropped).values()) == {0}
