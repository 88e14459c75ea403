import polars as pl
import pytest

from espalier.seeds import digest
from espalier.settings import Decontaminate
from espalier.suspects import SCHEMA, list_suspects
from espalier.text import match_words

ROW = {"context": "", "query": "", "answer": "", "problem_key": ""}
APPLES = "Ann has 3 apples, buys 14 more apples and gives 2 of them to 5 friends. How many apples does Ann have?"
ITEM = {"benchmark": "b", "split": "test", "context": "", "query": APPLES, "problem_key": ""}
SETTINGS = Decontaminate(benchmarks="", ngram=8, max_coverage=0.8, min_similarity=0.5, max_leaked_share=1.0)


def rows(*changes):
    return pl.DataFrame([ROW | {"id": f"r{i}"} | change for i, change in enumerate(changes)])


def items(*changes):
    return pl.DataFrame([ITEM | {"item": f"i{i}"} | change for i, change in enumerate(changes)])


def listed(frame, asked):
    return list_suspects(frame, asked, settings=SETTINGS).select("id", "signal", "item").rows()


def test_a_reworded_item_is_listed_by_its_letters_and_another_problem_is_not():
    reworded = "Ann has 3 apples, buys fourteen more apples and gives 2 of them to her friends. How many apples does Ann have now?"
    assert listed(rows({"query": reworded}, {"query": "A train leaves at noon and is two hours late. When does it arrive?"}), items({})) == [("r0", "similar", "i0")]


def test_the_reply_is_compared_as_well_as_the_prompt():
    frame = list_suspects(rows({"query": "write a problem", "answer": APPLES}), items({}), settings=SETTINGS)
    assert frame.select("signal", "strength").rows() == [("similar", pytest.approx(1.0, abs=1e-5)), ("numbers", 1.0), ("within", 1.0)]


def test_the_same_numbers_in_quite_other_words_are_listed_and_a_number_more_is_not():
    other = "Five lorries carried fourteen crates over 3 roads in two days; what was left"
    assert listed(rows({"query": other}, {"query": f"{other} of 9"}), items({})) == [("r0", "numbers", "i0")]


def test_a_part_of_an_item_is_listed_and_one_with_as_many_words_of_its_own_is_not():
    part = "gives 2 of them to 5 friends. How many"  # ten words, so three 8-grams
    found = listed(rows({"query": part}, {"query": f"{part} pens are in this box of ours here"}), items({}))
    assert [line for line in found if line[1] == "within"] == [("r0", "within", "i0")]


def test_another_key_is_another_problem_but_a_hash_of_the_words_is_no_such_key():
    frame = rows({"query": APPLES.replace("14", "15"), "problem_key": "k2"}, {"query": APPLES.replace("14", "16"), "problem_key": ""})
    assert [line for line in listed(frame, items({"problem_key": "k1"})) if line[1] == "similar"] == [("r1", "similar", "i0")]
    words_alone = digest(*match_words(f" {APPLES}"))
    assert [line[0] for line in listed(frame, items({"problem_key": words_alone})) if line[1] == "similar"] == ["r0", "r1"]


def test_every_benchmark_has_a_line_of_its_own_and_the_strongest_come_first():
    asked = items({}, {"benchmark": "c", "query": APPLES.replace("friends", "pals")})
    frame = list_suspects(rows({"query": APPLES.replace("Ann", "Bo")}, {"query": APPLES}), asked, settings=SETTINGS).filter(signal="similar")
    assert frame.select("id", "benchmark").row(0) == ("r1", "b")
    assert frame.filter(benchmark="b")["id"].to_list() == ["r1", "r0"]
    assert frame.filter(benchmark="c")["item"].to_list() == ["i1", "i1"]
    assert frame["strength"].is_sorted(descending=True)
    assert frame.select("query", "item_text").row(0) == (APPLES, f" {APPLES}")


def test_chunks_of_rows_are_one_run(monkeypatch):
    frame = rows(*({"query": APPLES.replace("14", str(i))} for i in range(40)))
    whole = list_suspects(frame, items({}), settings=SETTINGS)
    monkeypatch.setattr("espalier.suspects.ROWS", 7)
    assert whole.height > 40
    assert whole.equals(list_suspects(frame, items({}), settings=SETTINGS))


@pytest.mark.parametrize(("frame", "asked"), [(rows({}).clear(), items({})), (rows({"query": APPLES}), items({}).clear())])
def test_no_rows_or_no_items_list_nothing(frame, asked):
    found = list_suspects(frame, asked, settings=SETTINGS)
    assert (found.height, found.schema) == (0, pl.Schema(SCHEMA))
