"""The round trip: what is asked, what comes of the replies, which measure compares, and which prompts may serve."""

import json

import numpy as np
import polars as pl
import pytest

from espalier.auc import auc
from espalier.errors import ParamsError
from espalier.novelty import rouge_l
from espalier.prompts import Prompt
from espalier.replies import parse_contract
from espalier.round_trip import ask_back, check_round_trip
from espalier.scorers.round_trip import round_trip_scores, similarity
from espalier.taxonomy import parse_tree
from espalier.text import match_words
from tests.closure import ROOT
from tests.paraphrases import PARAPHRASES
from tests.test_generate import posed, prompt, sampling
from tests.worlds import Scripted, spoken

BACK = Prompt(
    "query.back", "query", (), ("context", "answer"), (("user", "{{ context }} {{ answer }} <- ?"),), parse_contract({"kind": "tags"}, step="query", banned=(), file="")
)
SEEDS = ROOT / "data/seeds/taxonomy/general"


def answered(n):
    return posed(n).with_columns(pl.lit("text").alias("context"), pl.Series("answer", [f"a{i}" for i in range(n)]))


def test_the_question_is_asked_back_with_context_and_answer_greedily_and_never_shown():
    teacher = Scripted(lambda request: "<query>What is it ?</query>")
    rows = answered(2)
    back = ask_back(rows, BACK, sampling(), teacher.generate)
    assert [request.messages for request in teacher.asked] == [(("user", "text a0 <- ?"),), (("user", "text a1 <- ?"),)]
    assert [(request.temperature, request.top_p, request.max_tokens) for request in teacher.asked] == [(0.0, 1.0, 16)] * 2
    assert back["asked_back"].to_list() == ["What is it ?"] * 2
    assert back["spent_tokens"].to_list() == [5, 5]  # four pieces and an end token


@pytest.mark.parametrize("reply", ["no tags", "<query></query>", spoken("<query>What", finish="length"), spoken("", finish="error")])
def test_a_reply_without_a_question_gives_none_and_leaves_the_row_whole(reply):
    back = ask_back(answered(1), BACK, sampling(), Scripted(lambda request: reply).generate)
    assert (back["asked_back"].item(), back["status"].item()) == ("", "ok")
    assert round_trip_scores(back)["round_trip"].to_list() == [None]


def test_rows_that_are_not_whole_are_not_asked_and_without_a_prompt_nobody_is():
    teacher = Scripted(lambda request: "<query>q</query>")
    rows = answered(2).with_columns(pl.Series("status", ["stopped", "ok"]))
    assert ask_back(rows, BACK, sampling(), teacher.generate)["asked_back"].to_list() == ["", "q"]
    assert len(teacher.asked) == 1
    without = ask_back(rows, None, sampling(), teacher.generate)
    assert (without.drop("asked_back").equals(rows), without["asked_back"].to_list(), len(teacher.asked)) == (True, ["", ""], 1)


def test_the_similarity_is_the_cosine_of_letter_trigrams():
    """ " ab " has " ab" and "ab "; " abc " has " ab", "abc", "bc ": one in common, 1 / sqrt(2 x 3)."""
    assert similarity("ab", "abc") == pytest.approx(1 / 6**0.5)
    assert similarity("aaaa", "aaaa") == pytest.approx(1)
    assert similarity("ab", "xy") == 0.0
    assert similarity("", "") == similarity("a", "") == 0.0
    assert similarity("What is 2 + 2?", "what is  2+2 ?") == pytest.approx(1)


def test_a_row_is_compared_with_its_own_question():
    frame = pl.DataFrame({"query": ["ab", "ab", "ab"], "asked_back": ["ab", "abc", ""]})
    assert round_trip_scores(frame)["round_trip"].to_list() == [pytest.approx(1), pytest.approx(1 / 6**0.5), None]


def against_others(measure):
    """(AUC of a question and its paraphrase over the paraphrase and another question of the leaf, how often the right question is the nearest)."""
    tree = {leaf.leaf: leaf for leaf in parse_tree({str(path.relative_to(SEEDS)): path.read_text() for path in SEEDS.rglob("*.yaml")}, folder="general")}
    same, other, nearest = [], [], 0
    for leaf, text in PARAPHRASES.items():
        right, *others = [measure(text, example.question) for example in tree[leaf].examples]
        same, other, nearest = [*same, right], [*other, *others], nearest + (right > max(others))
    assert (len(same), len(other)) == (32, 334)
    return auc(np.array(same + other), np.arange(366) < 32), nearest


def test_the_measure_knows_a_question_in_other_words_from_its_neighbours_better_than_rouge_does():
    assert against_others(similarity) == (pytest.approx(0.968, abs=5e-4), 31)
    assert against_others(lambda one, other: rouge_l(match_words(one), match_words(other))) == (pytest.approx(0.943, abs=5e-4), 25)


def test_the_prompt_of_a_round_trip_is_checked_before_anything_is_asked():
    prompts = {one.id: one for one in (BACK, prompt("query", "{{ task }} ?"), prompt("answer", "{{ context }}"))}
    check_round_trip("query.back", prompts)
    with pytest.raises(ParamsError, match='^params.yaml: gen.round_trip names the prompt "query.bakc", for which there is no file; did you mean "query.back"[?]$'):
        check_round_trip("query.bakc", prompts)
    with pytest.raises(ParamsError, match='names "query.test", a prompt of the step query with the inputs task; it must be one of query for one text that shows answer'):
        check_round_trip("query.test", prompts)
    showing = Prompt("query.show", "query", (), ("answer", "query"), (("user", "{{ query }} {{ answer }}"),), BACK.reply)
    with pytest.raises(ParamsError, match="with the inputs answer, query; it must be"):
        check_round_trip("query.show", {"query.show": showing})


def test_the_shipped_prompt_serves():
    from espalier.prompts import parse_prompt

    path = ROOT / "data/seeds/prompts/general/query.roundtrip.yaml"
    shipped = parse_prompt(path.read_text(), file=str(path), attributes={})
    check_round_trip(shipped.id, {shipped.id: shipped})
    assert json.dumps(shipped.as_json()) == json.dumps(Prompt.from_json(shipped.as_json()).as_json())
