"""Runs that are killed ask for nothing twice and end with the bytes of an undisturbed run."""

import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess

from espalier.teachers.cache import Cache, request_key
from tests.test_cache import CHUNK, WORDS, echo, generate, held, lies, python, wanted
from tests.worlds import Scripted, tiny_model


def killed_run(model, file):
    """A real run in another process, killed with SIGKILL as soon as the cache holds a chunk; at the latest it waits for that after its third."""
    code = """
        import signal, sys
        from pathlib import Path
        from espalier.teachers.cache import Cache, generate_cached
        from espalier.teachers.hf import HfTeacher
        from tests.test_cache import CHUNK, wanted
        teacher, cache = HfTeacher(Path(sys.argv[1])), Cache(Path(sys.argv[2]))
        def progress(done, found):
            if done == 3 * CHUNK:
                signal.pause()
        generate_cached(lambda: teacher, wanted(6 * CHUNK), cache, fingerprint=teacher.fingerprint, chunk=CHUNK, progress=progress)
    """
    child = python(code, model, file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not held(file):
            try:
                child.wait(timeout=0.01)
            except subprocess.TimeoutExpired:
                continue
            raise AssertionError(f"the run ended by itself with {child.returncode}")
    finally:
        child.kill()
    assert child.wait(timeout=60) == -9


def test_a_run_killed_with_sigkill_goes_on_and_ends_with_the_bytes_of_an_undisturbed_one(tmp_path):
    from espalier.teachers.hf import HfTeacher

    model, requests = tiny_model(tmp_path / "model", words=WORDS), wanted(6 * CHUNK)
    killed_run(model, tmp_path / "killed.sqlite")
    teacher = HfTeacher(model)
    asked = []

    class Counting:
        def generate(self, some):
            asked.extend(some)
            return teacher.generate(some)

    fresh, resumed = Cache(tmp_path / "fresh.sqlite"), Cache(tmp_path / "killed.sqlite")
    undisturbed = generate(teacher, requests, fresh, fingerprint=teacher.fingerprint)
    done = len(held(tmp_path / "killed.sqlite"))
    assert done in (CHUNK, 2 * CHUNK, 3 * CHUNK)
    assert generate(Counting(), requests, resumed, fingerprint=teacher.fingerprint) == undisturbed
    assert asked == requests[done:]
    assert lies(tmp_path / "killed.sqlite") == lies(tmp_path / "fresh.sqlite")
    assert len({completion.text for completion in undisturbed}) > 3 * CHUNK  # replies that differ, so that a mix-up would show
    fresh.close()
    resumed.close()


MANY = 60 * CHUNK


def one_life(file, log, since, point):
    """A run in a process of its own that ends with SIGKILL at a step of sqlite's machine or of the teacher, the `point`-th since it opened or first asked."""
    steps = iter(range(point, 0, -1))
    counting = since == "opening"
    connect = sqlite3.connect

    def step():
        if counting and next(steps) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*arguments, **options):
        connection = connect(*arguments, **options)
        connection.set_progress_handler(step, 1)
        return connection

    def reply(request):
        nonlocal counting
        counting = True
        with open(log, "a") as asked:
            asked.write(f"{request.seed}\n")
        step()
        return echo(request)

    sqlite3.connect = watched
    generate(Scripted(reply), wanted(MANY), Cache(file))


def test_nothing_finished_is_asked_again_after_kills_at_twenty_places_and_the_end_is_that_of_an_undisturbed_run(tmp_path):
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["tests.test_cache"])
    file, log, draw = tmp_path / "killed.sqlite", tmp_path / "asked", random.Random(20)
    seeds = {request_key("scripted", request).hash: request.seed for request in wanted(MANY)}
    growth = []
    for life in range(20):
        before = held(file)
        log.write_text("")
        since, most = ("opening", 80) if life % 4 == 0 else ("asking", 1500)
        process = processes.Process(target=one_life, args=(file, log, since, draw.randint(1, most)))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        asked = [int(line) for line in log.read_text().split()]
        assert set(asked) & {seeds[name] for name in before} == set()
        assert len(set(asked)) == len(asked)
        assert before <= held(file)
        growth.append(len(held(file)) - len(before))
    assert (growth.count(0) > 3, max(growth) > CHUNK, sum(growth) < MANY) == (True, True, True)  # inside a first chunk, after several, never at the end
    resumed, fresh, last = Cache(file), Cache(tmp_path / "fresh.sqlite"), Scripted(echo)
    done = {seeds[name] for name in held(file)}
    assert generate(last, wanted(MANY), resumed) == generate(Scripted(echo), wanted(MANY), fresh)
    assert [request.seed for request in last.asked] == [request.seed for request in wanted(MANY) if request.seed not in done]
    assert lies(file) == lies(tmp_path / "fresh.sqlite")
    resumed.close()
    fresh.close()
