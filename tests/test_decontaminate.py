import polars as pl
import pytest

from espalier.decontaminate import SHARES, check_leaks, decontaminate_metrics, decontaminate_rows, find_leaks, split_leaks
from espalier.errors import ContaminationError
from espalier.settings import Decontaminate
from espalier.suspects import SCHEMA

ROW = {"context": "", "query": "", "answer": "", "problem_key": ""}
EXAM = {"context": "one two three four five .", "query": "six seven eight nine ten ?", "problem_key": "k"}  # 12 words, ten 3-grams


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)])


def exam(*changes):
    return pl.DataFrame([EXAM | {"item": f"i{i}", "split": "key", "benchmark": "exam"} | change for i, change in enumerate(changes)])


def settings(ngram=3, max_coverage=0.6, max_leaked_share=1.0):
    return Decontaminate(benchmarks="", ngram=ngram, max_coverage=max_coverage, min_similarity=0.5, max_leaked_share=max_leaked_share)


def split(frame, items, *, ngram=3, max_coverage=0.6):
    return decontaminate_rows(frame, items, settings=settings(ngram, max_coverage))


def metrics(frame, items, **changes):
    leaks = find_leaks(frame, items, settings=settings(**changes))
    return decontaminate_metrics(*split_leaks(frame, leaks), items, leaks=leaks, listed=pl.DataFrame(schema=SCHEMA), settings=settings(**changes))


def verdicts(dropped):
    return dropped.select("id", "reason", "item", "coverage").rows()


def test_an_equal_problem_key_is_a_leak_and_another_is_not():
    kept, dropped = split(rows({"problem_key": "k", "query": "in other words"}, {"problem_key": "l", "query": "in other words"}), exam({}))
    assert verdicts(dropped) == [("r0", "key", "i0", 0.0)]
    assert kept["id"].to_list() == ["r1"]


def test_an_empty_problem_key_matches_nothing():
    assert split(rows({"query": "other"}), exam({"problem_key": ""}))[1].height == 0


def test_the_same_prompt_is_a_leak_whatever_the_white_space_and_one_changed_word_is_not_exact():
    same = {"context": "one two three four five", "query": ".  six seven eight nine ten ?"}
    kept, dropped = split(rows(same, same | {"query": ". six seven eight nine zehn ?"}), exam({}), ngram=12, max_coverage=1.0)
    assert verdicts(dropped) == [("r0", "exact", "i0", 1.0)]
    assert kept["id"].to_list() == ["r1"]


@pytest.mark.parametrize(("max_coverage", "leak"), [(0.6, True), (0.61, False)])
def test_a_row_on_the_coverage_limit_leaks_and_one_below_does_not(max_coverage, leak):
    frame = rows({"query": "and now one two three four five . six seven so"})  # 8 of the item's 12 words in a row: six of ten 3-grams
    _, dropped = split(frame, exam({}), max_coverage=max_coverage)
    assert verdicts(dropped) == ([("r0", "ngram", "i0", pytest.approx(0.6))] if leak else [])


def test_the_reply_counts_as_much_as_the_prompt():
    assert verdicts(split(rows({"query": "say it", "answer": "One two three four five. Six seven eight nine ten?"}), exam({}))[1]) == [("r0", "ngram", "i0", 1.0)]


def test_coverage_is_of_the_item_so_a_long_row_hides_nothing():
    long = " ".join(f"w{i}" for i in range(500)) + " one two three four five . six seven eight nine ten ?"
    assert split(rows({"query": long}), exam({}))[1]["coverage"].to_list() == [1.0]


def test_repeating_one_ngram_covers_it_once():
    assert split(rows({"query": "one two three " * 20}), exam({}), max_coverage=0.2)[1].height == 0  # one of ten


def test_a_short_template_with_other_digits_is_a_false_alarm_at_small_n_only():
    items = exam({"context": "list : 4 9 2 .", "query": "what is the largest number of the list ?"})  # 15 words
    row = rows({"context": "list : 4 9 3 .", "query": "what is the largest number of the list ?"})
    assert split(row, items, ngram=3)[1]["coverage"].to_list() == [pytest.approx(10 / 13)]
    assert split(row, items, ngram=8)[0].height == 1  # 3 of 8


def test_the_best_covered_item_is_named_and_of_equals_the_smallest_id():
    items = exam({"item": "b", "split": "template"}, {"item": "a"}, {"item": "c", "query": "six"}).with_columns(problem_key=pl.lit(""))
    _, dropped = split(rows({"query": "one two three four five . six seven"}), items, max_coverage=0.5)
    assert dropped.select("item", "split", "coverage").rows() == [("c", "key", 1.0)]
    _, dropped = split(rows({"query": "so one two three four five . six seven eight nine ten"}), items.filter(pl.col("item") != "c"), max_coverage=0.5)
    assert dropped.select("item", "split").rows() == [("a", "key")]


def test_the_tiers_go_key_then_exact_then_ngram():
    prompt = {name: EXAM[name] for name in ("context", "query")}
    frame = rows(prompt | {"problem_key": "k"}, prompt | {"problem_key": "x"}, {"query": EXAM["context"] + " " + EXAM["query"] + " yes"})
    assert split(frame, exam({}))[1]["reason"].to_list() == ["key", "exact", "ngram"]


def test_an_item_shorter_than_n_is_guarded_by_key_and_text_and_is_counted():
    items = exam({"context": "", "query": "4 9"})
    frame = rows({"query": "4 9"}, {"query": "4 9 2"})
    assert verdicts(split(frame, items)[1]) == [("r0", "exact", "i0", 0.0)]
    assert metrics(frame, items)["items_too_short"] == 1


def test_the_order_of_rows_and_items_changes_no_verdict():
    frame = rows(*({"query": " ".join(EXAM["context"].split()[i:]) + " six seven eight"} for i in range(4)))
    items = exam({}, {"query": "six seven eight elf"}, {"problem_key": ""})
    there, back = split(frame, items, max_coverage=0.3), split(frame.reverse(), items.reverse(), max_coverage=0.3)
    assert there[1].height == 4
    assert all(one.equals(two.sort("id")) for one, two in zip(there, back, strict=True))


def test_chunks_of_rows_are_one_run(monkeypatch):
    frame = rows(*({"query": " ".join(EXAM["context"].split()[i % 4 :]) + " six seven eight"} for i in range(50)))
    whole = split(frame, exam({}, {}), max_coverage=0.5)
    monkeypatch.setattr("espalier.decontaminate.ROWS", 6)
    assert 0 < whole[1].height < 50
    assert all(one.equals(two) for one, two in zip(whole, split(frame, exam({}, {}), max_coverage=0.5), strict=True))


def test_planted_leaks_are_all_found_and_nothing_else():
    items = exam(*({"context": f"a{i} b{i} c{i} .", "query": f"d{i} e{i} f{i} ?", "problem_key": f"k{i}"} for i in range(60)))
    own = [{"query": " ".join(f"{letter}{i + 1000}" for letter in "abcdef")} for i in range(60)]
    leaks = [{"context": "tell me", "query": f"a{i} b{i} c{i} . d{i} e{i} f{i} ?", "answer": "no"} for i in range(60)]
    _, dropped = split(rows(*own, *leaks), items)
    assert dropped["id"].to_list() == [f"r{i}" for i in range(60, 120)]
    assert dropped["item"].to_list() == items["item"].to_list()


@pytest.mark.parametrize(("frame", "items"), [(rows({}).clear(), exam({})), (rows({"query": "a b c"}), exam({}).clear())])
def test_no_rows_or_no_exam_drop_nothing(frame, items):
    kept, dropped = split(frame, items)
    assert (kept.height, dropped.height, dropped.columns[-4:]) == (frame.height, 0, ["reason", "item", "split", "coverage"])


def test_a_row_that_shares_nothing_is_kept_even_at_a_limit_of_zero():
    kept, dropped = split(rows({"query": "red blue green"}, {"query": "one two three"}), exam({}), max_coverage=0.0)
    assert (kept["id"].to_list(), dropped["coverage"].to_list()) == (["r0"], [0.1])


def test_the_metrics_count_each_tier_and_the_items_touched():
    items = exam({}, {"problem_key": "m", "query": "something else entirely ."})
    frame = rows({"problem_key": "k"}, {"problem_key": "k", "query": "z"}, {"query": "own"}, {"context": EXAM["context"], "query": EXAM["query"]})
    assert metrics(frame, items) == {
        "rows_in": 4, "rows_kept": 1, "dropped_share": 0.75, "dropped_key": 2, "dropped_exact": 1, "dropped_ngram": 0, "covered_8": 1, "covered_10": 1, "covered_13": 0,
        "items_touched": 1, "items_touched_share": 0.5, "items_too_short": 0, "listed_rows": 0,
    }  # fmt: skip; only r3 holds the item's words, which are 12: five 8-grams, three 10-grams, no 13-gram


def test_a_reply_that_is_an_item_is_exact_even_where_the_item_is_too_short_for_ngrams():
    kept, dropped = split(rows({"query": "say it", "answer": " 4  9 "}, {"query": "say it", "answer": "4 9 ."}), exam({"context": "", "query": "4 9"}))
    assert verdicts(dropped) == [("r0", "exact", "i0", 0.0)]
    assert kept["id"].to_list() == ["r1"]


def test_the_shares_at_8_10_and_13_words_are_counted_both_ways():
    long = " ".join(f"w{i}" for i in range(20))  # 13 8-grams, 11 10-grams, 8 13-grams
    row = {"query": " ".join(f"w{i}" for i in range(16)) + " so", "answer": "w17 w18 w19"}  # its prompt has 10, 8 and 5, all but the last in the item
    _, dropped = split(rows(row), exam({"context": "", "query": long}), ngram=8)
    assert dropped.select(SHARES).row(0) == tuple(pytest.approx(share) for share in (9 / 13, 9 / 10, 7 / 11, 7 / 8, 4 / 8, 4 / 5))
    assert dropped["coverage"].to_list() == [pytest.approx(9 / 13)]


def test_a_row_that_gives_two_benchmarks_away_is_dropped_once_and_counts_for_both():
    items = exam({}, {"benchmark": "math", "item": "math:1", "problem_key": ""}, {"benchmark": "math", "item": "math:2", "query": "other words", "problem_key": ""})
    frame = rows({"problem_key": "k", "context": EXAM["context"], "query": EXAM["query"]}, {"query": "clean"})
    _, dropped = split(frame, items)
    assert dropped.select("id", "benchmark", "reason", "item").rows() == [("r0", "exam", "key", "i0")]
    found = metrics(frame, items)
    assert (found["rows_in"], found["rows_kept"], found["dropped_key"], found["dropped_exact"], found["items_touched"]) == (2, 1, 1, 0, 2)
    assert (found["exam"]["leaked_key"], found["exam"]["leaked_exact"], found["math"]["leaked_key"], found["math"]["leaked_exact"]) == (1, 0, 0, 1)
    assert (found["math"]["leaked_share"], found["math"]["items_touched_share"]) == (0.5, 0.5)


@pytest.mark.parametrize(("limit", "fails"), [(0.5, False), (0.49, True)])
def test_more_leaks_than_the_limit_end_the_stage_with_benchmark_share_limit_and_ids(limit, fails):
    frame = rows({"problem_key": "k"}, {"query": "clean"})
    leaks = find_leaks(frame, exam({}), settings=settings())
    if not fails:
        check_leaks(frame, leaks, settings=settings(max_leaked_share=limit), where="data/x")
        return
    with pytest.raises(ContaminationError) as raised:
        check_leaks(frame, leaks, settings=settings(max_leaked_share=limit), where="data/x")
    assert str(raised.value) == (
        "data/x: 1 of 2 rows (50.00%) give away items of exam, such as r0; decontaminate.max_leaked_share allows 49.00%: "
        "look where they come from (seeds, prompts, the teacher), for rephrased ones may be left, or raise the limit"
    )


def test_hostile_texts_are_judged_and_no_row_is_lost():
    texts = ["", "\0", "one\0two three", "a" * 10_000_000, "🍎" * 50, "̈" * 30, "\u202e one two", EXAM["context"].upper() + EXAM["query"]]
    frame = rows(*({"query": text, "answer": text} for text in texts))
    kept, dropped = split(frame, exam({}, {"query": "\0", "context": ""}))
    assert kept.height + dropped.height == len(texts)
    assert verdicts(dropped) == [("r1", "exact", "i1", 0.0), ("r7", "ngram", "i0", 1.0)]
