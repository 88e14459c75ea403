"""Ctrl-C in the middle of a generation stage or a preview: what is under way is kept, the exit code is 130, and the next run asks for the rest only."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from espalier.interrupt import Interrupt
from espalier.io import write_json
from espalier.teachers.base import NOT_BEGUN, Completion
from espalier.teachers.cache import Cache
from espalier.teachers.pin import pin_served
from espalier.tokens import save_chat, word_chat
from tests.misbehaving import Misbehaving, good, said
from tests.test_cache import CHUNK, WORDS, generate, held, lies, python, wanted
from tests.test_lineage import stages, start
from tests.test_server import no_proxy, replies, requests, teacher  # noqa: F401 (a fixture that works by being here)
from tests.worlds import Scripted, spoken, tiny_model, with_params

ROWS, CHUNK_ROWS = 120, 50  # of tests/worlds.py
MODELS = {"model": "m", "id": "m", "root": "org/m", "max_model_len": 4096}
# A stage or command in which SIGINT comes while the second batch of the engine hf is under way, as often as argument 1 says.
INTERRUPTED = """
    import importlib, os, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for jobs in the background
    times, module, name, *arguments = sys.argv[1:]
    if int(times):
        from espalier.teachers import sampler
        whole, calls = sampler._sample_batch, []
        def interrupted(*batch):
            calls.append(batch)
            for _ in range(int(times) * (len(calls) == 2)):
                os.kill(os.getpid(), signal.SIGINT)
            return whole(*batch)
        sampler._sample_batch = interrupted
    getattr(importlib.import_module(module), name)(arguments)
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study whose recipe direct waits for its queries, with a tiny random model as teacher."""
    start(tmp_path, monkeypatch)
    file = tmp_path / "params.yaml"
    file.write_text(with_params(file.read_text(), {"gen.max_tokens": "12"}))
    stages(["plan", "context"], "direct", None)
    shutil.rmtree(tmp_path / "models/teacher")
    tiny_model(tmp_path / "models/teacher", words="write a task . list : answer what is the 0 1 2 3".split())
    return tmp_path


def ended(child):
    """(exit code, lines of stderr)."""
    _, err = child.communicate(timeout=120)
    return child.returncode, err.splitlines()


def dvc_process(*arguments):
    """dvc in a group of its own, as a shell starts it."""
    code = "import sys; from dvc.cli import main; sys.exit(main(sys.argv[1:]))"
    return python(code, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def dvc(*arguments):
    code, lines = ended(dvc_process(*arguments))
    assert code == 0, lines


def run_query():
    """The stage query of direct, in this process; the bytes that it left."""
    from stages.query import main

    result = CliRunner().invoke(main, ["direct"])
    assert result.exit_code == 0, result.output
    return Path("data/query/direct/rows.parquet").read_bytes(), result.stderr


def test_the_first_ctrl_c_in_a_stage_keeps_the_chunk_under_way_and_the_next_run_asks_for_the_rest_alone(study, monkeypatch):
    code, lines = ended(python(INTERRUPTED, 1, "stages.query", "main", "direct", stderr=subprocess.PIPE, cwd=study))
    assert code == 130
    assert lines[-1] == f"query@direct: interrupted: {2 * CHUNK_ROWS} of {ROWS} requests are done and kept, `dvc repro` goes on from there"
    assert [line for line in lines if "Traceback" in line] == []
    assert len(held(study / "cache.sqlite")) == 2 * CHUNK_ROWS
    assert not (study / "data/query").exists()
    resumed, said = run_query()
    assert f"{ROWS} requests, {2 * CHUNK_ROWS} from the cache" in said
    monkeypatch.setenv("ESPALIER_CACHE", str(study / "other.sqlite"))
    undisturbed, said = run_query()
    assert f"{ROWS} requests, 0 from the cache" in said
    assert resumed == undisturbed
    assert lies(study / "cache.sqlite") == lies(study / "other.sqlite")


def test_ctrl_c_under_dvc_repro_is_left_to_the_stage_and_the_next_repro_goes_on(study):
    """A terminal sends SIGINT to dvc, its shell and the stage at once."""
    (study / "ctrl_c.py").write_text(textwrap.dedent(INTERRUPTED).replace("os.kill(os.getpid()", "os.killpg(os.getpgrp()"))
    command = f"{sys.executable} ctrl_c.py 1 stages.query main direct"
    (study / "dvc.yaml").write_text(json.dumps({"stages": {"query": {"cmd": command, "deps": ["data/context/direct"], "outs": ["data/query"]}}}))
    dvc("init", "--no-scm", "--quiet")
    code, lines = ended(dvc_process("repro"))
    assert code != 0
    assert f"query@direct: interrupted: {2 * CHUNK_ROWS} of {ROWS} requests are done and kept, `dvc repro` goes on from there" in lines
    assert len(held(study / "cache.sqlite")) == 2 * CHUNK_ROWS
    (study / "dvc.yaml").write_text((study / "dvc.yaml").read_text().replace("ctrl_c.py 1", "ctrl_c.py 0"))
    code, lines = ended(dvc_process("repro"))
    assert code == 0
    assert [line for line in lines if f"{ROWS} requests, {2 * CHUNK_ROWS} from the cache" in line] != []
    assert (study / "dvc.lock").is_file()


def test_the_second_ctrl_c_stops_at_once_and_what_was_written_stays(study):
    code, lines = ended(python(INTERRUPTED, 2, "stages.query", "main", "direct", stderr=subprocess.PIPE, cwd=study))
    assert (code, lines[-1]) == (130, f"query@direct: interrupted: {CHUNK_ROWS} of {ROWS} requests are done and kept, `dvc repro` goes on from there")
    assert len(held(study / "cache.sqlite")) == CHUNK_ROWS


def test_ctrl_c_in_a_preview_keeps_what_is_under_way_and_says_how_to_go_on(study):
    file = study / "params.yaml"
    file.write_text(with_params(file.read_text(), {"gen.chunk_rows": "4"}))
    arguments = ("espalier.cli", "cli", "preview", "-n", "9", "--recipe", "direct")
    code, lines = ended(python(INTERRUPTED, 1, *arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=study))
    assert (code, lines[-1]) == (130, "espalier: interrupted: 8 of 9 requests are done and kept, the same command goes on from there")
    assert len(held(study / "cache.sqlite")) == 8


def test_an_interrupted_endpoint_gets_no_new_request_and_all_that_it_answers_is_kept(study, monkeypatch):
    save_chat(word_chat(WORDS), study / "tokenizer", context_tokens=64)
    shutil.rmtree(study / "models/teacher")
    write_json("models/teacher/pin.json", pin_served("tokenizer", MODELS))
    child = []

    def behave(asked):
        if asked.number == 30:
            child[0].send_signal(signal.SIGINT)
        return good(asked)

    def run_against(url):
        changes = {"teacher.engine": "server", "teacher.path": "tokenizer", "server.model": "m", "server.max_concurrency": "8", "score.likelihood_model": '""'}
        text = re.sub(r"http://127\.0\.0\.1:\d+/v1", url, (study / "params.yaml").read_text())
        (study / "params.yaml").write_text(with_params(text, changes))

    with Misbehaving(behave) as server:
        run_against(server.url)
        child.append(python(INTERRUPTED, 0, "stages.query", "main", "direct", stderr=subprocess.PIPE, cwd=study))
        code, lines = ended(child[0])
    done = len(server.answered)
    assert 31 <= done < ROWS
    assert sorted(server.answered) == sorted(server.seeds())  # all that was under way was awaited
    assert (code, lines[-1]) == (130, f"query@direct: interrupted: {done} of {ROWS} requests are done and kept, `dvc repro` goes on from there")
    assert len(held(study / "cache.sqlite")) == done
    with Misbehaving() as again:
        run_against(again.url)
        resumed, _ = run_query()
    assert len(again.asked) == ROWS - done
    assert set(again.seeds()) & set(server.seeds()) == set()
    monkeypatch.setenv("ESPALIER_CACHE", str(study / "other.sqlite"))
    with Misbehaving() as fresh:
        run_against(fresh.url)
        assert run_query()[0] == resumed


def test_a_stop_while_an_endpoint_wants_to_be_left_alone_does_not_wait_for_it():
    stopped = []

    def behave(asked):
        stopped.append(True)
        return said(429, "slow down", headers={"Retry-After": "60"})

    with Misbehaving(behave) as server:
        one = teacher(server.url, max_concurrency=1)
        one.stop_when(lambda: bool(stopped))
        assert one.generate(requests(3)) == [NOT_BEGUN] * 3
        assert len(server.asked) == 1


def test_a_stop_between_two_requests_leaves_the_rest_undone():
    heard = []
    with Misbehaving() as server:
        one = teacher(server.url, max_concurrency=1)
        one.stop_when(lambda: len(heard) == 2)
        assert one.stream(requests(5), heard.extend) == [*replies(2), *[NOT_BEGUN] * 3]
        assert server.seeds() == heard == [0, 1]


def test_hf_stops_between_two_batches_and_the_rest_makes_the_batches_of_an_undisturbed_run(tmp_path):
    from espalier.teachers.hf import HfTeacher

    engine, asked, batches = HfTeacher(tiny_model(tmp_path / "model", words=WORDS), batch=5), wanted(18), []
    whole = engine.generate(asked)
    engine.stop_when(lambda: len(batches) == 2 or batches.append(True))
    part = engine.generate(asked)
    left = [place for place, completion in enumerate(part) if completion == NOT_BEGUN]
    assert len(left) == 18 - 2 * 5
    assert [completion for completion in part if completion != NOT_BEGUN] == [whole[place] for place in range(18) if place not in left]
    engine.stop_when(lambda: False)
    assert engine.generate([asked[place] for place in left]) == [whole[place] for place in left]


def test_what_was_not_begun_is_neither_kept_nor_counted(tmp_path):
    class Stopped(Scripted):
        def generate(self, some):
            return [*super().generate(some[:2]), *[NOT_BEGUN] * (len(some) - 2)]

    cache, heard = Cache(tmp_path / "cache.sqlite"), []
    generate(Stopped(lambda request: f"reply {request.seed}"), wanted(CHUNK), cache, heard=heard.append)
    cache.close()
    assert heard == [spoken("reply 0"), spoken("reply 1")]
    assert len(held(tmp_path / "cache.sqlite")) == 2


def test_a_failed_request_is_done_and_not_kept(tmp_path):
    cache, heard = Cache(tmp_path / "cache.sqlite"), []
    failed = Completion("", "error", 0, 0, 0.0, "500: sick")
    generate(Scripted(lambda request: failed if request.seed == 1 else "fine"), wanted(3), cache, heard=heard.append)
    cache.close()
    assert heard == [spoken("fine"), failed, spoken("fine")]
    assert len(held(tmp_path / "cache.sqlite")) == 2


def interrupted(block, times, work=lambda: None):
    """SIGINT to ourselves, so many times, in a block."""
    with block:
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
        work()


def test_an_interrupt_waits_for_the_end_of_the_block_and_puts_the_old_handler_back(capfd):
    def old(number, frame):
        raise AssertionError

    before = signal.signal(signal.SIGINT, old)
    try:
        block, reached = Interrupt(), []
        for times in (1, 0, 2):
            if times:
                with pytest.raises(KeyboardInterrupt):
                    interrupted(block, times, lambda times=times: reached.append((times, block())))
            else:
                interrupted(block, times, lambda times=times: reached.append((times, block())))
            assert signal.getsignal(signal.SIGINT) is old
        assert reached == [(1, True), (0, False)]  # with two the block is left at once
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err.count("interrupted: what is under way is finished and kept; Ctrl-C again stops at once") == 2


def test_an_error_in_the_block_is_not_hidden_by_an_interrupt():
    with pytest.raises(ZeroDivisionError):
        interrupted(Interrupt(), 1, lambda: 1 / 0)


def test_a_job_that_ignores_ctrl_c_goes_on_ignoring_it():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupt() as block:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
        assert block() is False
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_the_handler_alone():
    before, seen = signal.getsignal(signal.SIGINT), []

    def work():
        with Interrupt() as block:
            seen.append((signal.getsignal(signal.SIGINT), block()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
