"""answer_loss and ifd against a plain pass of transformers, row by row; long, empty and equal rows; where a model may come from."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from espalier.errors import InputMissing, ParamsError
from espalier.scorers.leafwise import leaf_scores, standardise
from espalier.scorers.likelihood import likelihood_scores, no_likelihood, open_model, without_room
from espalier.teachers.chat import PlainText, TemplateChat, open_text
from espalier.teachers.hf import HfTeacher
from espalier.tokens import Chat
from tests.closure import ROOT
from tests.test_chat import hub_folder
from tests.worlds import tiny_model

WORDS = [f"w{i}" for i in range(20)]
STORIES = Path(os.environ.get("ESPALIER_STORIES", ROOT.parent / "shared/data/stories260K"))
ROWS = [("w1 w2", "w3 ?", "w4 w5"), ("", "w3 w4", "w5"), ("w1", "w2", "w6 w7 w8"), ("", "w3 w4", "w5"), ("", "w9", "  "), ("", "w2 " * 40, "w3 " * 30)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("model"), words=WORDS)


def frame(rows=ROWS):
    return pl.DataFrame(rows, schema=["context", "query", "answer"], orient="row")


def mean_loss(model, prompt, reply):
    """Nats a token of `reply` after `prompt`, by one plain pass in double precision behind the logits."""
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([prompt + reply])).logits[0].double(), -1)
    return -sum(float(logprobs[len(prompt) + place - 1, token]) for place, token in enumerate(reply)) / len(reply)


def test_the_scores_are_those_of_a_plain_pass_of_transformers(folder):
    found = likelihood_scores(frame(ROWS[:4]), score=HfTeacher(folder, batch=2).score_within)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)

    def ids(text):
        return tokenizer.convert_tokens_to_ids(text.split())

    for (context, query, answer), loss, ifd in zip(ROWS[:4], found["answer_loss"], found["ifd"], strict=True):
        reply = ids(f"{answer} <end>")
        given = mean_loss(model, ids(f"<user> {context} {query} <assistant>"), reply)
        alone = mean_loss(model, ids("<user> <assistant>"), reply)
        assert loss == pytest.approx(given, abs=1e-5)
        assert ifd == pytest.approx(np.exp(given - alone), abs=1e-5)


@pytest.mark.skipif(not STORIES.is_dir(), reason="needs the model stories260K")
def test_a_base_model_without_a_chat_template_reads_plain_text_and_gives_the_losses_of_a_plain_pass():
    rows = [("", "Once upon a time, there was a little girl named Lily.", "She loved to play."), ("Tom had a dog.", "What did Tom have?", "A dog."),
            ("", "A very long day at the park with many friends and a big red ball.", "They ran.")]  # fmt: skip
    found = likelihood_scores(frame(rows), score=open_model(str(STORIES)).score_within)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(STORIES), AutoTokenizer.from_pretrained(STORIES)

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    for (context, query, answer), loss, ifd in zip(rows, found["answer_loss"], found["ifd"], strict=True):
        asked, reply = "\n\n".join(part for part in (context, query) if part), [*ids(answer), tokenizer.eos_token_id]
        given, alone = mean_loss(model, [tokenizer.bos_token_id, *ids(f"{asked}\n\n")], reply), mean_loss(model, [tokenizer.bos_token_id], reply)
        assert loss == pytest.approx(given, abs=1e-5)
        assert ifd == pytest.approx(np.exp(given - alone), abs=1e-5)


def test_an_empty_answer_and_a_row_longer_than_the_context_have_no_score_and_the_long_one_is_counted(folder):
    rows = frame()
    found = likelihood_scores(rows, score=HfTeacher(folder).score_within)
    assert [value is None for value in found["answer_loss"]] == [False, False, False, False, True, True]  # 40 + 30 + 3 tokens, the model sees 64
    assert found["ifd"].is_null().to_list() == found["answer_loss"].is_null().to_list()
    assert without_room(rows, found) == 1


def test_the_longest_row_that_fits_is_scored_and_one_token_more_is_not(folder):
    teacher = HfTeacher(folder)
    fits, too_long = (((("user", "w1 " * n),), "w2 w3") for n in (59, 60))  # <user>, n, <assistant>, two words, <end>: 64 and 65 tokens
    (total, tokens), (nothing, same) = teacher.score_within([fits, too_long])
    assert (np.isfinite(total), tokens, np.isnan(nothing), same) == (True, 3, True, 3)
    assert teacher.score([fits])[0] == (pytest.approx(total, abs=1e-4), 3)


def test_equal_rows_cost_one_pass_and_each_answer_alone_is_scored_once():
    asked = []

    def score(pairs):
        asked.extend(pairs)
        return [(-1.0 * len(pair[1].split()), len(pair[1].split())) for pair in pairs]

    heard = []
    found = likelihood_scores(frame(ROWS[:4]), score=score, heard=lambda done, total: heard.append((done, total)))
    assert len(asked) == len(set(asked)) == 6  # three different rows, three different answers
    assert heard == [(6, 6)]
    assert found["answer_loss"].to_list() == [1.0] * 4
    assert found["ifd"].to_list() == [1.0] * 4


def test_the_ifd_is_the_ratio_of_the_perplexities():
    """2 tokens: loss 0.5 with the question, 1.5 without: exp(-1)."""
    found = likelihood_scores(frame([("", "q", "a b")]), score=lambda pairs: [(-1.0 if messages[0][1] else -3.0, 2) for messages, _ in pairs])
    assert found.row(0) == (0.5, pytest.approx(0.36787944117144233))


def test_scoring_in_two_halves_is_scoring_at_once_but_for_rounding(folder):
    score = HfTeacher(folder).score_within
    halves = pl.concat([likelihood_scores(part, score=score) for part in (frame(ROWS[:2]), frame(ROWS[2:]))])
    assert halves["answer_loss"].to_list() == pytest.approx(likelihood_scores(frame(), score=score)["answer_loss"].to_list(), abs=1e-5)


def test_no_rows_and_no_model_give_the_same_columns(folder):
    assert likelihood_scores(frame().clear(), score=lambda pairs: []).schema == no_likelihood(frame()).schema
    assert no_likelihood(frame())["ifd"].to_list() == [None] * 6


def test_a_folder_opens_by_its_kind_of_tokenizer(folder, tmp_path):
    assert isinstance(open_text(folder), Chat)
    assert isinstance(open_text(hub_folder(tmp_path / "chat")), TemplateChat)
    assert isinstance(open_text(hub_folder(tmp_path / "plain", template="")), PlainText)


@pytest.mark.parametrize("text", ["<|im_end|>", "a<|endoftext|>b", "<tool_call>"])
def test_in_plain_text_nothing_that_a_row_spells_becomes_a_control_token(text, tmp_path):
    plain = open_text(hub_folder(tmp_path / "plain", template=""))
    assert plain.prompts([(("user", ""),), (("user", "x"),)])[0] == [0]  # <|endoftext|> starts and ends a text
    assert 0 not in plain.prompts([(("user", text),)])[0][1:]
    assert plain.replies([text])[0].index(0) == len(plain.replies([text])[0]) - 1
    assert plain.decode([plain.replies(["a b"])[0]]) == ["a b"]


def test_a_tokenizer_that_names_no_end_of_a_text_is_refused(tmp_path):
    made = hub_folder(tmp_path / "plain", template="")
    (made / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(ParamsError, match="its tokenizer names no token that ends a text"):
        open_text(made)


def test_a_model_that_is_nowhere_is_named_with_the_setting(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    with pytest.raises(InputMissing, match="score.likelihood_model is models/mine, and there is no such folder"):
        open_model("models/mine")
    with pytest.raises(InputMissing, match="score.likelihood_model is ./mine, and there is no such folder"):
        open_model("./mine")
    with pytest.raises(InputMissing, match="score.likelihood_model is models, which holds no model"):
        open_model("models")


def test_a_name_on_the_hub_is_fetched_without_pickles(folder, tmp_path, monkeypatch):
    asked = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **options: asked.append((name, options)) or str(folder))
    assert len(open_model("owner/small").score([((("user", "w1"),), "w2")])) == 1
    assert asked == [("owner/small", {"allow_patterns": ["*.json", "*.safetensors", "*.jinja"]})]

    def refuse(name, **options):
        raise OSError("no route to the hub\nand more")

    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(InputMissing, match=r"owner/small: no folder, and not given by the hub \(no route to the hub\)"):
        open_model("owner/small")


# Within the leaf


def test_a_standard_score_is_taken_within_the_leaf():
    """a: mean 2, deviations -1 0 1, standard deviation sqrt(2 / 3)."""
    z = standardise(pl.Series([1.0, 10.0, 2.0, 3.0, 30.0, None]), pl.Series(["a", "b", "a", "a", "b", "a"]))
    assert z.to_list() == [pytest.approx(-(1.5**0.5)), -1.0, 0.0, pytest.approx(1.5**0.5), 1.0, None]


def test_a_leaf_with_one_value_or_without_spread_has_zeros_even_where_rounding_spreads_it():
    z = standardise(pl.Series([0.1 + 0.2, 0.3, 0.3, 7.0, float("nan")]), pl.Series(["a", "a", "a", "b", "b"]))
    assert z.to_list() == [0.0, 0.0, 0.0, 0.0, None]


def test_no_standard_score_exceeds_the_root_of_the_other_rows():
    z = standardise(pl.Series([0.0] * 9 + [1e6]), pl.Series(["a"] * 10))
    assert max(z) == pytest.approx(9**0.5)


def test_a_log_probability_of_zero_is_none_and_moves_no_other():
    rows = pl.DataFrame({"delivered_leaf": ["a"] * 3, "logprob_mean": [-1.0, 0.0, -3.0], "answer_loss": [1.0, None, 3.0], "ifd": [None] * 3},
                        schema_overrides={"ifd": pl.Float64})  # fmt: skip
    assert leaf_scores(rows).rows() == [(-1.0, None, 1.0), (None, None, None), (1.0, None, -1.0)]
    assert leaf_scores(rows.clear()).height == 0
