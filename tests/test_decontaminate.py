import polars as pl
import pytest

from espalier.decontaminate import decontaminate_metrics, decontaminate_rows
from espalier.settings import Decontaminate

ROW = {"context": "", "query": "", "answer": "", "problem_key": ""}
EXAM = {"context": "one two three four five .", "query": "six seven eight nine ten ?", "problem_key": "k"}  # 12 words, ten 3-grams


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)])


def exam(*changes):
    return pl.DataFrame([EXAM | {"item": f"i{i}", "split": "key"} | change for i, change in enumerate(changes)])


def split(frame, items, *, ngram=3, max_coverage=0.6):
    return decontaminate_rows(frame, items, settings=Decontaminate(ngram, max_coverage))


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
    kept, dropped = split(rows({"query": "4 9"}, {"query": "4 9 2"}), items)
    assert verdicts(dropped) == [("r0", "exact", "i0", 0.0)]
    assert decontaminate_metrics(kept, dropped, items, settings=Decontaminate(3, 0.6))["items_too_short"] == 1


def test_the_order_of_rows_and_items_changes_no_verdict():
    frame = rows(*({"query": " ".join(EXAM["context"].split()[i:]) + " six seven eight"} for i in range(4)))
    items = exam({}, {"query": "six seven eight elf"}, {"problem_key": ""})
    there, back = split(frame, items, max_coverage=0.3), split(frame.reverse(), items.reverse(), max_coverage=0.3)
    assert there[1].height == 4
    assert all(one.equals(two.sort("id")) for one, two in zip(there, back, strict=True))


def test_chunks_of_rows_are_one_run(monkeypatch):
    frame = rows(*({"query": " ".join(EXAM["context"].split()[i % 4 :]) + " six seven eight"} for i in range(50)))
    whole = split(frame, exam({}, {}), max_coverage=0.5)
    monkeypatch.setattr("espalier.decontaminate.CHUNK_CELLS", 6)
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
    items, settings = exam({}, {"problem_key": "m", "query": "something else entirely ."}), Decontaminate(3, 0.6)
    frame = rows({"problem_key": "k"}, {"problem_key": "k", "query": "z"}, {"query": "own"}, {"context": EXAM["context"], "query": EXAM["query"]})
    assert decontaminate_metrics(*split(frame, items), items, settings=settings) == {
        "rows_in": 4, "rows_kept": 1, "dropped_share": 0.75, "dropped_key": 2, "dropped_exact": 1, "dropped_ngram": 0,
        "items_touched": 1, "items_touched_share": 0.5, "items_too_short": 0,
    }  # fmt: skip
