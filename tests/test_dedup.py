import random

import polars as pl
import pytest

from espalier.dedup import dedup_metrics, dedup_rows
from espalier.settings import Dedup
from espalier.text import shingles

ROW = {
    "context": "", "query": "", "answer": "", "problem_key": "", "verdict": "right", "vote_share": 1.0, "logprob_mean": -1.0,
    "delivered_leaf": "a",
}  # fmt: skip
A = "one two three four five six seven eight nine ten"
A_LAST = "one two three four five six seven eight nine elf"  # 7 of 9 3-grams shared: J = 7 / 9
OTHER = "red blue green black white brown pink grey gold teal"


def rows(*changes):
    schema = {"vote_share": pl.Float64, "logprob_mean": pl.Float64}
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)], schema_overrides=schema)


def split(frame, *, threshold=0.7, shingle_words=3):
    return dedup_rows(frame, Dedup(threshold=threshold, shingle_words=shingle_words, permutations=128))


def fates(dropped):
    return dropped.select("id", "reason", "duplicate_of").rows()


def test_two_rows_with_one_problem_key_are_one_whatever_their_words():
    kept, dropped = split(rows({"problem_key": "k", "query": A}, {"problem_key": "k", "query": OTHER}, {"problem_key": "l", "query": "new words here"}))
    assert kept["id"].to_list() == ["r0", "r2"]
    assert fates(dropped) == [("r1", "exact", "r0")]
    assert dropped["jaccard"].to_list() == [0.0]


def test_without_a_key_the_folded_prompt_decides_and_the_answer_does_not():
    kept, dropped = split(rows({"context": "a b .", "query": "c ?", "answer": A}, {"context": "a  b .", "query": " c ?", "answer": OTHER}, {"query": "a b c ?"}))
    assert fates(dropped) == [("r1", "exact", "r0")]
    assert kept["id"].to_list() == ["r0", "r2"]


def test_a_problem_key_is_never_taken_for_a_text():
    assert split(rows({"problem_key": A, "query": OTHER}, {"query": A}))[1].height == 0


@pytest.mark.parametrize(("threshold", "near"), [(7 / 9, True), (0.78, False)])
def test_a_pair_on_the_threshold_is_near_and_one_just_below_is_not(threshold, near):
    _, dropped = split(rows({"query": A}, {"query": A_LAST}), threshold=threshold)
    assert fates(dropped) == ([("r1", "near", "r0")] if near else [])
    assert dropped["jaccard"].to_list() == ([pytest.approx(7 / 9)] if near else [])


def test_longer_shingles_make_the_same_pair_less_alike():
    assert split(rows({"query": A}, {"query": A_LAST}), shingle_words=3)[1].height == 1
    assert split(rows({"query": A}, {"query": A_LAST}), shingle_words=8)[1].height == 0  # 2 of 4 shared: J = 1 / 2


def test_near_rows_of_different_leaves_are_found_in_the_second_pass():
    _, dropped = split(rows({"query": A}, {"query": A_LAST, "delivered_leaf": "b"}))
    assert fates(dropped) == [("r1", "near", "r0")]


@pytest.mark.parametrize(
    "better",
    [
        {"verdict": "right", "vote_share": 0.1, "logprob_mean": -9.0},
        {"verdict": "unparseable", "vote_share": 0.9, "logprob_mean": -9.0},
        {"verdict": "unparseable", "vote_share": 0.4, "logprob_mean": -0.5},
    ],
)
@pytest.mark.parametrize("same", [{"problem_key": "k"}, {}])
def test_verdict_comes_before_votes_before_likelihood(better, same):
    worse = {"verdict": "unparseable", "vote_share": 0.4, "logprob_mean": -1.0}
    kept, dropped = split(rows({"query": A} | same | worse, {"query": A_LAST} | same | better))
    assert (kept["id"].to_list(), dropped["duplicate_of"].to_list()) == (["r1"], ["r1"])


def test_a_wrong_row_gives_way_to_one_that_nobody_could_check():
    assert split(rows({"query": A, "verdict": "wrong"}, {"query": A_LAST, "verdict": "unparseable"}))[0]["id"].to_list() == ["r1"]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_likelihood_is_the_worst(missing):
    kept, _ = split(rows({"query": A, "logprob_mean": missing}, {"query": A_LAST, "logprob_mean": -99.0}))
    assert kept["id"].to_list() == ["r1"]


def test_of_equals_the_smallest_id_stays():
    assert split(rows({"query": A, "id": "z"}, {"query": A_LAST, "id": "y"}))[0]["id"].to_list() == ["y"]


def test_every_dropped_row_points_at_a_row_that_stays_through_all_three_passes():
    frame = rows(
        {"id": "d", "query": A, "problem_key": "k", "vote_share": 0.2},
        {"id": "c", "query": OTHER, "problem_key": "k", "vote_share": 0.1},  # exact copy of d
        {"id": "b", "query": A_LAST, "problem_key": "l", "vote_share": 0.3},  # near d, same leaf
        {"id": "e", "query": A, "problem_key": "m", "vote_share": 0.4, "delivered_leaf": "b"},  # near b, other leaf, the best of all
    )
    kept, dropped = split(frame)
    assert kept["id"].to_list() == ["e"]
    assert fates(dropped) == [("b", "near", "e"), ("c", "exact", "e"), ("d", "near", "e")]
    assert dropped["cluster"].to_list() == ["b", "b", "b"]
    assert dropped["jaccard"].to_list() == pytest.approx([7 / 9, 0.0, 1.0])


def test_rows_linked_by_a_chain_are_one_cluster_and_are_counted_as_linked():
    words = A.split()
    chain = [" ".join(f"x{i}" if i < k else word for i, word in enumerate(words)) for k in (0, 1, 2)]
    sets = [shingles(text, 3) for text in chain]
    overlaps = [len(one & two) / len(one | two) for one, two in ((sets[0], sets[1]), (sets[1], sets[2]), (sets[0], sets[2]))]
    assert overlaps == [7 / 9, 6 / 10, 6 / 10]
    frame = rows(*({"query": text, "vote_share": 1.0 - i / 10} for i, text in enumerate([chain[1], A_LAST, A])))
    kept, dropped = split(frame, threshold=0.75)  # chain[1] ~ A ~ A_LAST, chain[1] and A_LAST share 6 of 10
    assert kept["id"].to_list() == ["r0"]
    assert dict(dropped.select("id", "jaccard").iter_rows()) == {"r1": pytest.approx(0.6), "r2": pytest.approx(7 / 9)}
    metrics = dedup_metrics(kept, dropped, Dedup(0.75, 3, 128))
    assert (metrics["dropped_near"], metrics["dropped_linked"], metrics["largest_cluster_rows"]) == (2, 1, 3)


def test_leaves_are_tidied_one_by_one_before_they_are_compared():
    best = "x0 two three four five six seven eight nine ten"  # 7 / 9 with A, 6 / 10 with A_LAST
    frame = rows({"query": best, "vote_share": 1.0}, {"query": A, "vote_share": 0.5}, {"query": A_LAST, "delivered_leaf": "b"})
    kept, dropped = split(frame, threshold=0.75)  # A has gone for `best` when leaf b comes, so it links no more
    assert fates(dropped) == [("r1", "near", "r0")]
    assert kept["id"].to_list() == ["r0", "r2"]
    assert split(frame.with_columns(delivered_leaf=pl.lit("a")), threshold=0.75)[0].height == 1


def templated(n, *, seed=1):
    """Sentences of 25 words of which up to four vary; some keys repeat."""
    draw = random.Random(seed)
    texts = [[f"w{i}" for i in range(25)] for _ in range(n)]
    for text in texts:
        for position in draw.sample(range(25), draw.randint(0, 4)):
            text[position] = f"x{draw.randrange(6)}"
    return rows(
        *(
            {"id": f"r{i:04}", "query": " ".join(text), "delivered_leaf": "abc"[draw.randrange(3)], "vote_share": draw.randrange(4) / 4,
             "problem_key": f"k{draw.randrange(3 * n)}"}
            for i, text in enumerate(texts)
        )
    )  # fmt: skip


def test_the_order_of_the_rows_does_not_matter():
    frame = templated(400)
    for one, two in zip(split(frame), split(frame.sample(fraction=1.0, shuffle=True, seed=3)), strict=True):
        assert one.equals(two)


def test_candidates_find_the_pairs_that_a_comparison_of_all_with_all_finds():
    frame = templated(300, seed=2).with_columns(problem_key=pl.lit(""), delivered_leaf=pl.lit("a")).unique("query").sort("id")
    kept, dropped = split(frame, threshold=0.7)
    sets = {row_id: shingles(query, 3) for row_id, query in frame.select("id", "query").iter_rows()}
    group = {row_id: row_id for row_id in sets}
    for one in sets:
        for two in sets:
            if one < two and len(sets[one] & sets[two]) / len(sets[one] | sets[two]) >= 0.7 and group[one] != group[two]:
                old, new = group[two], group[one]
                group = {row_id: new if label == old else label for row_id, label in group.items()}
    assert kept.height == len(set(group.values()))
    assert all(group[row_id] == group[stays] for row_id, stays in dropped.select("id", "duplicate_of").iter_rows())
    assert 20 < dropped.height < frame.height


def test_no_rows_and_empty_rows_are_no_trouble():
    kept, dropped = split(rows({}).clear())
    assert (kept.height, dropped.height, dropped.columns[-4:]) == (0, 0, ["reason", "duplicate_of", "cluster", "jaccard"])
    assert set(dedup_metrics(kept, dropped, Dedup(0.7, 3, 128)).values()) == {0}
    assert fates(split(rows({}, {}))[1]) == [("r1", "exact", "r0")]


def test_the_metrics_count_each_reason():
    settings = Dedup(0.7, 3, 128)
    frame = rows({"query": A}, {"query": A}, {"query": A_LAST}, {"query": OTHER, "delivered_leaf": "b"})
    assert dedup_metrics(*dedup_rows(frame, settings), settings) == {
        "rows_in": 4, "rows_kept": 2, "kept_share": 0.5, "dropped_exact": 1, "dropped_near": 1, "dropped_linked": 0,
        "largest_cluster_rows": 3, "effective_leaves_before": pytest.approx(4 / 3**0.75), "effective_leaves_after": pytest.approx(2.0),
    }  # fmt: skip
