"""Ctrl-C as a terminal sends it, to every process of the group, while an engine with processes of its own is at work."""

import importlib.util
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.engines.opening import make_model
from tests.test_cache import held, python
from tests.test_lineage import stages, start
from tests.worlds import with_params

ROWS, WAIT_S = 3000, 240
STAGE = """
    import importlib, signal, sys
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for jobs in the background
    importlib.import_module("stages.query").main(["direct"])
"""
ENGINES = {
    "vllm": ({"teacher.engine": "vllm"}, "vllm"),
    "two replicas of vllm": ({"teacher.engine": "vllm", "vllm.replicas": "2"}, "vllm"),
    "ray": ({"teacher.engine": "ray", "ray.batch_requests": "50"}, "ray"),
}


@pytest.mark.parametrize("name", ENGINES)
def test_ctrl_c_is_heard_by_the_stage_alone_which_keeps_what_is_under_way(name, tmp_path, monkeypatch):
    changes, package = ENGINES[name]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed here; `make test-vllm` has it")
    start(tmp_path, monkeypatch)
    file = tmp_path / "params.yaml"
    file.write_text(with_params(file.read_text(), changes | {"plan.rows": str(ROWS), "gen.chunk_rows": "200", "gen.max_tokens": "12"}))
    stages(["plan", "context"], "direct", None)
    shutil.rmtree(tmp_path / "models/teacher")
    make_model(tmp_path / "models/teacher")
    child = python(STAGE, stderr=subprocess.PIPE, cwd=tmp_path, start_new_session=True)
    end = time.monotonic() + WAIT_S
    while not held(tmp_path / "cache.sqlite") and child.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    os.killpg(child.pid, signal.SIGINT)
    _, err = child.communicate(timeout=WAIT_S)
    kept = len(held(tmp_path / "cache.sqlite"))
    assert child.returncode == 130, err[-3000:]
    assert f"query@direct: interrupted: {kept:,} of {ROWS:,} requests are done and kept, `dvc repro` goes on from there" in err.splitlines()
    assert 0 < kept < ROWS
    assert "Traceback" not in err, err[err.index("Traceback") :][:3000]
    assert "have ended" not in err  # no engine died of it
    again = python(STAGE, stderr=subprocess.PIPE, cwd=tmp_path)
    _, err = again.communicate(timeout=WAIT_S)
    assert again.returncode == 0, err[-3000:]
    assert f"{ROWS:,} requests, {kept:,} from the cache" in err
