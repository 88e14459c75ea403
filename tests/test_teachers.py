import json
import os
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from espalier.errors import CorruptInput, EspalierError, InputMissing, ParamsError
from espalier.io import read_json, write_json
from espalier.model import load_model
from espalier.params import parse_params
from espalier.teachers.base import Completion, Request
from espalier.teachers.engines import open_teacher
from espalier.teachers.hf import HfTeacher
from espalier.teachers.pin import fingerprint, pin_teacher, teacher_fingerprint, teacher_folder
from espalier.tokens import load_chat, save_chat, word_chat
from tests.misbehaving import Misbehaving
from tests.worlds import tiny_model, tiny_params

WORDS = [f"w{i}" for i in range(20)]
ROOM = 64  # tokens that the tiny model sees


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_model(tmp_path_factory.mktemp("teacher") / "model", words=WORDS)


@pytest.fixture(scope="module")
def teacher(folder):
    return HfTeacher(folder, batch=4)


@pytest.fixture
def copy(folder, tmp_path):
    """A model folder that a test may damage."""
    return shutil.copytree(folder, tmp_path / "models" / "teacher")


def request(text, *, seed=0, temperature=1.0, max_tokens=12):
    return Request((("user", text),), temperature, 1.0, max_tokens, seed)


def direct(folder, ids, reply):
    """The log-probability of `reply` after `ids`, by one plain pass of the model."""
    with torch.inference_mode():
        logprobs = torch.log_softmax(load_model(folder)(input_ids=torch.tensor([ids + reply])).logits[0].double(), -1)
    return sum(float(logprobs[len(ids) + place - 1, token]) for place, token in enumerate(reply))


def vocabulary(folder):
    return json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]


def ids_of(folder, text):
    known = vocabulary(folder)
    return [known.get(word, known["<unk>"]) for word in text.split()]


def test_a_completion_says_how_it_ended_and_counts_its_tokens(teacher):
    replies = teacher.generate([request("w1 w2 w3", seed=i) for i in range(60)])
    assert {reply.prompt_tokens for reply in replies} == {5}  # <user> w1 w2 w3 <assistant>
    assert {reply.finish for reply in replies} == {"stop", "length"}
    assert {reply.tokens for reply in replies if reply.finish == "length"} == {12}
    plain = [reply for reply in replies if len(reply.text.split()) == reply.tokens - (reply.finish == "stop")]  # no control token inside
    assert len(plain) > 5
    assert all(set(reply.text.split()) <= set(WORDS) for reply in replies)


def test_a_completions_mean_log_probability_counts_the_end_token(folder, teacher):
    reply = next(r for r in teacher.generate([request("w1 w2", seed=i) for i in range(60)]) if r.finish == "stop" and len(r.text.split()) == r.tokens - 1 > 1)
    total = direct(folder, ids_of(folder, "<user> w1 w2 <assistant>"), ids_of(folder, f"{reply.text} <end>"))
    assert reply.logprob_mean == pytest.approx(total / reply.tokens, abs=1e-5)
    assert teacher.score([((("user", "w1 w2"),), reply.text)]) == [(pytest.approx(total, abs=1e-4), reply.tokens)]


def test_scores_come_in_the_order_of_the_pairs_and_know_roles_and_unknown_words(folder, teacher):
    talk = (("system", "w1"), ("user", "w2 new"))
    pairs = [((("user", "w3"),), "w4 w5 w6 w7"), (talk, "w8"), ((("user", "w3"),), "")]
    expected = [
        ("<user> w3 <assistant>", "w4 w5 w6 w7 <end>"),
        ("<system> w1 <user> w2 <unk> <assistant>", "w8 <end>"),
        ("<user> w3 <assistant>", "<end>"),
    ]
    sums = [direct(folder, ids_of(folder, prompt), ids_of(folder, reply)) for prompt, reply in expected]
    assert teacher.score(pairs) == [(pytest.approx(total, abs=1e-4), tokens) for total, tokens in zip(sums, (5, 2, 1), strict=True)]


def test_requests_of_mixed_kinds_come_back_in_their_order(teacher):
    kinds = [{"temperature": 0.0}, {"temperature": 1.0}, {"temperature": 1.0, "max_tokens": 3}]
    requests = [request(" ".join(WORDS[: 1 + i % 4]), seed=i, **kinds[i % 3]) for i in range(18)]
    together = teacher.generate(requests)
    alone = [teacher.generate([one])[0] for one in requests]
    assert [(r.text, r.finish, r.prompt_tokens, r.tokens) for r in together] == [(r.text, r.finish, r.prompt_tokens, r.tokens) for r in alone]
    assert max(reply.tokens for reply in together[2::3]) == 3


def test_a_prompt_that_leaves_no_room_is_an_error_with_the_numbers_and_its_neighbours_are_answered(teacher):
    fits, too_long = " ".join(["w1"] * 61), " ".join(["w1"] * 62)  # 63 and 64 tokens with <user> and <assistant>
    first, second, third = teacher.generate([request(fits), request(too_long), request("w1")])
    assert second == Completion("", "error", ROOM, 0, 0.0, "the prompt's 64 tokens leave no room for a reply in the model's 64")
    assert (first.prompt_tokens, first.tokens, third.prompt_tokens) == (63, 1, 3)
    assert {first.finish, third.finish} <= {"stop", "length"}


def test_a_reply_has_the_room_that_its_prompt_leaves_and_one_cut_there_says_so(teacher):
    texts = [" ".join(["w1"] * n) for n in (58, 50, 49, 1) for _ in range(30)]
    replies = teacher.generate([request(text, seed=seed) for seed, text in enumerate(texts)])
    rooms = [min(12, ROOM - reply.prompt_tokens) for reply in replies]
    assert rooms == [4] * 30 + [12] * 90
    assert all(reply.tokens == room if reply.finish == "length" else reply.tokens <= room for reply, room in zip(replies, rooms, strict=True))
    assert [reply.finish for reply in replies[:30]].count("length") > 15
    roomy = teacher.generate([request(text, seed=seed, max_tokens=4) for seed, text in enumerate(texts[:30])])
    assert [(reply.text, reply.finish) for reply in roomy] == [(reply.text, reply.finish) for reply in replies[:30]]


def test_a_batch_without_one_prompt_that_fits_is_all_errors(teacher):
    assert [reply.finish for reply in teacher.generate([request("w1 " * 62)] * 2)] == ["error", "error"]


def test_no_requests_and_no_pairs_are_no_replies(teacher):
    assert (teacher.generate([]), teacher.score([])) == ([], [])


def test_a_teachers_fingerprint_is_that_of_its_folder(folder, teacher):
    assert teacher.fingerprint == fingerprint(folder) == teacher_fingerprint(folder)
    assert re.fullmatch("[0-9a-f]{32}", teacher.fingerprint)


def test_the_fingerprint_changes_with_everything_that_decides_a_reply(folder, copy):
    found = {fingerprint(folder)}
    tensors = load_file(copy / "model.safetensors")
    name = sorted(tensors)[-1]
    tensors[name].view(-1)[0] += 1e-3
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    found.add(fingerprint(copy))
    for file in ("config.json", "tokenizer.json", "generation_config.json"):
        (copy / file).write_text((copy / file).read_text() + " ")
        found.add(fingerprint(copy))
    (copy / "chat_template.jinja").write_text("x")
    found.add(fingerprint(copy))
    (copy / "chat_template.jinja").rename(copy / "chat.jinja")  # read at the same place
    found.add(fingerprint(copy))
    assert len(found) == 1 + 1 + 3 + 2


def test_the_fingerprint_does_not_change_with_place_time_or_notes(folder, copy):
    for file in copy.iterdir():
        os.utime(file, (1, 1))
    (copy / "README.md").write_text("notes")
    assert fingerprint(copy) == fingerprint(folder)


def test_a_pin_remembers_place_fingerprint_and_size(copy):
    assert pin_teacher(str(copy)) == {
        "path": str(copy.resolve()), "fingerprint": fingerprint(copy), "bytes": (copy / "model.safetensors").stat().st_size,
    }  # fmt: skip


def test_a_path_without_a_model_is_missing_and_the_message_names_the_setting(tmp_path):
    with pytest.raises(InputMissing) as caught:
        pin_teacher(str(tmp_path / "nowhere"))
    assert str(caught.value) == (
        f"params.yaml: teacher.path is {tmp_path}/nowhere, which holds no model (no config.json); name a folder in Hugging Face layout, or built-in"
    )


def pinned(copy, tmp_path):
    write_json(tmp_path / "run" / "pin.json", pin_teacher(str(copy)))
    return tmp_path / "run"


def test_a_pinned_model_is_opened_where_it_lies(copy, tmp_path, teacher):
    run = pinned(copy, tmp_path)
    assert teacher_folder(run) == copy.resolve()
    assert teacher_fingerprint(run) == teacher.fingerprint
    asked = [request("w1 w2", seed=i) for i in range(4)]
    assert open_teacher("hf", run).generate(asked) == teacher.generate(asked)


def test_a_pinned_model_that_has_changed_is_refused_with_both_fingerprints(copy, tmp_path):
    run, before = pinned(copy, tmp_path), fingerprint(copy)
    (copy / "config.json").write_text((copy / "config.json").read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 1e-05'))
    with pytest.raises(EspalierError) as caught:
        open_teacher("hf", run)
    assert str(caught.value) == (
        f"{copy.resolve()}: the teacher has changed since it was pinned ({before} then, {fingerprint(copy)} now); run `dvc repro -f teacher`"
    )
    assert before != fingerprint(copy)


def test_a_folder_that_is_not_there_names_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputMissing) as caught:
        teacher_folder(tmp_path / "models")
    assert str(caught.value) == f"{tmp_path}/models: no such folder; make it with `dvc repro teacher`"


def test_a_model_without_tokenizer_is_missing_a_file(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(InputMissing) as caught:
        HfTeacher(copy)
    assert str(caught.value) == f"{copy}/tokenizer.json: no such file; make it with `dvc repro teacher`"


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-100], lambda data: b"no weights at all " * 10, lambda data: b""], ids=["cut off", "other bytes", "no bytes"]
)
def test_damaged_weights_are_corrupt_input_that_names_the_folder(copy, damage):
    weights = copy / "model.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))
    with pytest.raises(CorruptInput, match=rf"^{re.escape(str(copy))}: cannot be loaded as a causal language model \("):
        HfTeacher(copy)


def test_weights_that_lack_a_matrix_are_corrupt_input(copy):
    tensors = load_file(copy / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptInput, match="cannot be loaded as a causal language model"):
        HfTeacher(copy)


def endpoint(url, path):
    """A params.yaml whose teacher is an endpoint with its tokenizer at `path`."""
    text = tiny_params(**{"teacher.engine": "server", "teacher.path": str(path), "server.model": "m", "score.likelihood_model": '""'})
    return text.replace("http://127.0.0.1:8000/v1", url)


def run_teacher_stage():
    from stages.teacher import main

    with pytest.raises(SystemExit) as ended:
        main.main([])
    return ended.value.code


def test_the_stage_pins_an_endpoint_and_the_steps_ask_it_once(tmp_path, monkeypatch, capsys):
    from espalier.teachers.ask import Asker

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ESPALIER_CACHE", str(tmp_path / "cache.sqlite"))
    monkeypatch.setenv("ESPALIER_API_KEY", "sk-0123456789")
    save_chat(word_chat(WORDS), tmp_path / "tokenizer", context_tokens=64)
    asked = [request("w1", seed=seed) for seed in range(5)]
    with Misbehaving() as server:
        text = endpoint(server.url, "tokenizer")
        (tmp_path / "params.yaml").write_text(text)
        assert run_teacher_stage() == 0
        assert read_json("models/teacher/pin.json")["served"] == {"model": "m", "id": "m", "root": "org/m", "max_model_len": 4096}
        assert read_json("metrics/teacher.json") == {"teacher": {"context_tokens": 4096}}
        found = [Asker("query@direct", parse_params(text))(asked) for _ in range(2)]
    assert found == [[Completion(f"reply {seed}", "stop", 3, 2, -0.5) for seed in range(5)]] * 2
    assert sorted(server.seeds()) == [0, 1, 2, 3, 4]  # the second time from the cache
    assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer sk-0123456789"}
    assert "sk-0123456789" not in "".join(capsys.readouterr())


def test_an_endpoints_tokenizer_gets_the_control_tokens_that_it_lacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_chat(word_chat(WORDS), tmp_path / "tokenizer", context_tokens=64)
    file = tmp_path / "tokenizer" / "tokenizer.json"
    file.write_text(file.read_text().replace("<assistant>", "<bot>"))
    with Misbehaving() as server:
        (tmp_path / "params.yaml").write_text(endpoint(server.url, "tokenizer"))
        assert run_teacher_stage() == 0
    with pytest.raises(ParamsError, match="has no <assistant>"):
        load_chat(tmp_path / "tokenizer")
    found = load_chat(tmp_path / "tokenizer", extend=True)
    assert found.size == load_chat(tmp_path / "tokenizer", extend=True).tokenizer.token_to_id("<assistant>") + 1  # behind all that were there
