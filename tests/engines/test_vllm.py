"""What only the engine vllm does: the limit of its context, replicas that die, the cache, and its absence."""

import contextlib
import importlib
import importlib.util
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from espalier.errors import EspalierError
from espalier.io import write_json
from espalier.model import build_model, load_model, save_model
from espalier.settings import Optimizer
from espalier.sizes import SIZES
from espalier.teachers.base import Streaming
from espalier.teachers.cache import Cache, generate_cached
from espalier.teachers.engines import open_teacher
from espalier.teachers.hf import HfTeacher
from espalier.teachers.pin import fingerprint, pin_teacher, teacher_fingerprint
from espalier.teachers.vllm import VllmTeacher
from espalier.tokens import Packed, save_chat, word_chat
from espalier.train import train_model
from tests.engines.opening import NEEDS_VLLM, ROOM, SETTINGS, WORDS, open_vllm
from tests.engines.test_contract import asked, request, words
from tests.worlds import Scripted


@pytest.fixture(scope="module")
def teacher(folder):
    """Opened where numba is loaded, as in the stage score."""
    importlib.import_module("numba")
    with open_vllm(folder) as opened:
        yield opened


def needs_vllm(test):
    for mark in NEEDS_VLLM:
        test = mark(test)
    return test


def test_without_the_package_the_message_names_the_setting_and_the_install_line(folder, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for replicas in (1, 2):
        with pytest.raises(EspalierError) as caught:
            open_teacher("vllm", folder, vllm=replace(SETTINGS, replicas=replicas))
        assert str(caught.value) == (
            "params.yaml: teacher.engine is vllm, and the package vllm is not installed; run `pip install -r requirements-gpu.txt` (without a GPU: "
            "`make .venv-vllm/ready` makes an environment), or set teacher.engine to hf"
        )


@needs_vllm
def test_a_reply_that_just_fits_is_scored_and_a_longer_one_is_no_number(teacher):
    (_, tokens), (none, too_many) = teacher.score([((("user", "w1"),), "w2 " * (ROOM - 4)), ((("user", "w1"),), "w2 " * (ROOM - 3))])
    assert (tokens, too_many) == (ROOM - 3, ROOM - 2)
    assert none != none


@needs_vllm
def test_a_schema_that_is_none_is_an_error_and_its_neighbour_is_answered(teacher):
    refused, answered = teacher.generate([request(schema='{"type": "nothing known"}'), request(seed=1)])
    assert refused.finish == "error"
    assert refused.error.startswith("vllm refuses the request: ")
    assert words([answered]) == words(teacher.generate([request(seed=1)]))


@needs_vllm
def test_the_engine_opens_a_pinned_model_and_has_its_fingerprint(folder, teacher, tmp_path):
    assert teacher.fingerprint == fingerprint(folder)
    assert not isinstance(teacher, Streaming)  # a chunk is written at a time, so that a resumed run makes the same batches
    write_json(tmp_path / "pin.json", pin_teacher(str(folder)))
    assert teacher_fingerprint(tmp_path) == teacher.fingerprint


@needs_vllm
def test_an_interrupt_leaves_an_empty_engine(teacher, monkeypatch):
    expected = words(teacher.generate(asked(3)))
    with monkeypatch.context() as patch:
        patch.setattr(VllmTeacher, "step", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            teacher.generate(asked(20))
    assert not teacher.busy
    assert words(teacher.generate(asked(3))) == expected


@needs_vllm
def test_each_chunk_is_in_the_cache_before_the_next_and_a_rerun_asks_nothing(teacher, tmp_path):
    requests, done = asked(50), []

    def run(engine):
        with contextlib.closing(Cache(tmp_path / "cache.sqlite")) as cache:
            return generate_cached(lambda: engine, requests, cache, fingerprint=teacher.fingerprint, chunk=20, progress=lambda n, found: done.append((n, found)))

    calls = []

    class Failing:
        fingerprint = teacher.fingerprint

        def generate(self, some):
            calls.append(len(some))
            if len(calls) == 3:
                raise KeyboardInterrupt
            return teacher.generate(some)

    with pytest.raises(KeyboardInterrupt):
        run(Failing())
    assert (calls, done) == ([20, 20, 10], [(20, 0), (40, 0)])
    replies = run(teacher)
    assert words(replies) == words(teacher.generate(requests))
    assert done[-1] == (50, 40)
    unasked = Scripted(lambda one: pytest.fail("asked"))
    assert run(unasked) == replies
    assert unasked.asked == []


@needs_vllm
def test_two_replicas_of_which_one_is_killed_answer_as_one_engine(folder, teacher):
    requests, told = asked(400, max_tokens=20), []
    replicas = open_teacher("vllm", folder, vllm=replace(SETTINGS, replicas=2))
    while not all(replica.capacity for replica in replicas._alive):
        replicas._listen()
    victim = replicas._alive[0].process.pid

    def kill(replies):
        told.extend(replies)
        if len(told) >= 30 and len(told) - len(replies) < 30:
            os.kill(victim, signal.SIGKILL)

    replies = replicas.stream(requests, kill)
    assert len(replicas._alive) == 1
    assert sorted(told) == list(range(400))
    assert words(replies) == words(teacher.generate(requests))
    pairs = [(one.messages, reply.text) for one, reply in zip(requests[:20], replies, strict=False)]
    expected = teacher.score(pairs)
    assert [tokens for _, tokens in replicas.score(pairs)] == [tokens for _, tokens in expected]
    replicas.close()


@needs_vllm
def test_a_model_that_cannot_be_loaded_is_named(folder, tmp_path):
    load_model(folder).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_bytes((folder / "tokenizer_config.json").read_bytes())
    with pytest.raises(EspalierError, match="the engine vllm does not start with this model"):
        open_teacher("vllm", tmp_path, vllm=replace(SETTINGS, context_tokens=ROOM + 1))


@needs_vllm
def test_a_trained_student_scores_in_vllm_as_in_hf(tmp_path):
    """As the stage train leaves it: size tiny, after some updates by the training pass for the CPU."""
    chat, shape = word_chat(WORDS), SIZES["tiny"]
    model = build_model(shape, vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=0)
    tokens = np.random.default_rng(0).integers(8, chat.size, (16, 32)).astype(np.uint16)
    data = Packed(tokens, np.zeros(tokens.shape, dtype=np.int16), np.ones(tokens.shape, dtype=bool))
    train_model(model, data, Optimizer(2048, 256, 1e-2, 1e-2, 0.1, "wsd", 0.1, 0.3), seed=0, precision="fp32", checkpoints=None, progress=lambda step, steps: None)
    save_model(model, tmp_path)
    save_chat(chat, tmp_path, context_tokens=shape.context_tokens)
    pairs = [((("user", f"w{i} w{i + 1}"),), f"w{i + 2} w{i} sad") for i in range(12)]
    with open_vllm(tmp_path) as opened:
        found = opened.score(pairs)
    expected = HfTeacher(tmp_path).score(pairs)
    assert [tokens for _, tokens in found] == [tokens for _, tokens in expected]
    assert [total for total, _ in found] == pytest.approx([total for total, _ in expected], abs=1e-3)
