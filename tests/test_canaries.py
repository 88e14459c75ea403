"""Items planted among clean rows, word for word and reworded: what must be found is, and what is missed is written down here."""

import importlib
import json

import polars as pl
import pytest
from click.testing import CliRunner

from espalier.canaries import KINDS, paraphrase
from espalier.io import read_rows, write_rows
from tests import canaries
from tests.canaries import REAL, builtin, gsm8k, items_of, recall, rows_of, xquad
from tests.closure import ROOT
from tests.worlds import with_params

N = 50


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(canaries, "CANARIES", N)
    monkeypatch.setattr(canaries, "CLEAN", 300)


def measured(source):
    asked, clean, kinds = source()
    items = items_of(asked, "b")
    assert {len(pairs) for pairs in kinds.values()} == {N}
    return {kind: recall(items, rows_of(pairs)) for kind, pairs in {**kinds, "clean": clean}.items()}


def test_of_the_built_in_world_the_key_finds_every_wording_and_nothing_clean_is_dropped_or_listed_by_it(few):
    found = measured(builtin)
    assert (found["verbatim"]["dropped"], found["verbatim"]["key"], found["other wording"]["key"], found["clean"]["key"]) == (1.0, 1.0, 1.0, 0.0)
    assert found["other wording"]["8-grams"] < 0.1  # n-grams miss what the key finds
    assert found["light"]["dropped"] == found["heavy"]["dropped"] == 0.0  # words that the grammar does not know: no tier drops them
    assert found["clean"]["dropped or listed"] <= 0.02


@pytest.mark.skipif(not (REAL / "gsm8k").is_dir(), reason="the real data are not here")
def test_of_real_problems_word_for_word_ones_are_dropped_and_reworded_ones_are_listed_at_best(few):
    found = measured(gsm8k)
    assert all(found["verbatim"][tier] == 1.0 for tier in ("exact", "8-grams", "10-grams", "13-grams", "dropped"))
    assert found["light"]["dropped"] == found["heavy"]["dropped"] == 0.0
    assert found["light"]["similar"] >= 0.85
    assert 0.15 <= found["heavy"]["similar"] <= 0.6  # honest: most heavily reworded ones escape it
    assert found["heavy"]["dropped or listed"] >= 0.45  # the numbers help
    assert found["clean"]["dropped"] == 0.0
    assert found["clean"]["dropped or listed"] <= 0.03


@pytest.mark.skipif(not (REAL / "xquad_en").is_dir(), reason="the real data are not here")
def test_of_questions_with_passages_the_question_alone_is_listed_as_a_part(few):
    found = measured(xquad)
    assert (found["verbatim"]["dropped"], found["clean"]["dropped or listed"]) == (1.0, 0.0)
    assert found["light"]["similar"] >= 0.95
    assert found["question alone"]["dropped"] <= 0.05
    assert found["question alone"]["within"] >= 0.8


def test_the_same_text_and_place_give_the_same_canary_and_every_kind_is_another_text():
    text = "If Ann buys 3 plums, she gets two pears. Ann gives each friend one pear. How many pears does Ann have?"
    assert {kind: paraphrase(text, kind, place=2) for kind in KINDS} == {
        "verbatim": text,
        "light": "she receives 2 pears in case ann purchases three plums ; ann hands every pal one pear ; how numerous pears does ann have ?",
        "heavy": "how numerous pears does chiyo have ? To solve it, consider these statements: chiyo hands every pal one pear ; this person receives 2 pears in case chiyo purchases three plums ;",
    }
    assert paraphrase(text, "heavy", place=1) != paraphrase(text, "heavy", place=2)


@pytest.mark.parametrize("text", ["", "?", "...", "\0", "a" * 100_000, "🍎 🍐", "What?"])
def test_any_text_can_be_reworded(text):
    assert all(isinstance(paraphrase(text, kind, place=5), str) for kind in KINDS)


def stage(folder, patch, *, limit):
    patch.chdir(folder)
    (folder / "benchmarks").mkdir(exist_ok=True)
    (folder / "benchmarks/math.jsonl").write_text(json.dumps({"prompt": "What do four apples and nine pears and a plum make together?"}) + "\n")
    changes = {"decontaminate.max_leaked_share": limit, "decontaminate.benchmarks": "benchmarks"}
    (folder / "params.yaml").write_text(with_params((ROOT / "params.yaml").read_text(), changes))
    write_rows("data/exam/items.parquet", pl.DataFrame({"item": ["i"], "split": ["key"], "context": [""], "query": ["what is it ?"], "problem_key": ["k"]}))
    texts = ["What do four apples and nine pears and a plum make together?", "what do 4 apples and 9 pears and one plum make together then ?", "clean", "what is it"]
    rows = [{"id": f"r{i}", "context": "", "query": text, "answer": "no", "problem_key": "k" if i == 3 else ""} for i, text in enumerate(texts)]
    write_rows("data/dedup/lab/kept.parquet", pl.DataFrame(rows))
    return CliRunner().invoke(importlib.import_module("stages.decontaminate").main, ["lab"])


def test_the_stage_writes_kept_dropped_listed_and_numbers_of_every_benchmark(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        assert stage(tmp_path, patch, limit="1.0").exit_code == 0
        kept, dropped, listed = (read_rows(f"data/decontaminate/lab/{name}.parquet") for name in ("kept", "dropped", "listed"))
        found = json.loads((tmp_path / "metrics/decontaminate/lab.json").read_text())["decontaminate"]["lab"]
    assert kept["id"].to_list() == ["r1", "r2"]
    assert dropped.select("id", "reason", "benchmark", "item").rows() == [("r0", "exact", "math", "math:1"), ("r3", "key", "exam", "i")]
    assert listed.select("id", "signal", "item").rows() == [("r1", "similar", "math:1")]
    assert (found["rows_in"], found["rows_kept"], found["items_too_short"], found["math"]["leaked_exact"], found["math"]["listed_rows"]) == (4, 2, 1, 1, 1)
    assert all(isinstance(number, int | float) for one in (found, found["exam"], found["math"]) for number in one.values() if not isinstance(number, dict))


def test_a_stage_that_fails_for_its_leaks_has_written_everything_and_names_the_limit(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        result = stage(tmp_path, patch, limit="0.2")
        assert result.exit_code == 1
        assert "decontaminate@lab: data/decontaminate/lab: 1 of 4 rows (25.00%) give away items of" in result.output
        assert "decontaminate.max_leaked_share allows 20.00%" in result.output
        written = [read_rows(f"data/decontaminate/lab/{name}.parquet").height for name in ("kept", "dropped", "listed")]
        assert (written, read_rows("data/dedup/lab/kept.parquet").height) == ([2, 2, 1], 4)
