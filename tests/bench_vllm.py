"""The speed of the engine vllm beside vLLM's own LLM.generate, on the same ids and the same sampling: rows of a table.

Both are asked twice: with the log-probability of each token, which a run wants of one reply a row (the answer that it keeps), and without, as of all others. A random model of about 15 M parameters with
32,000 ids, 256 prompts, up to 48 tokens each (2 minutes on 2 cores); run it with the Python of .venv-vllm, on nothing else's time:
`.venv-vllm/bin/python -m tests.bench_vllm`.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.model import build_model, save_model
from espalier.seeds import number
from espalier.settings import Model, Vllm
from espalier.sizes import shape_of
from espalier.teachers.base import Request
from espalier.teachers.vllm import VllmTeacher
from espalier.tokens import load_chat, save_chat, word_chat

if TYPE_CHECKING:
    from vllm import LLM

PROMPTS, MAX_TOKENS, WORDS, SHAPE = 256, 48, 32_000, Model(hidden=288, layers=6, feed_forward=768, context_tokens=256)
RUNS = 5  # of each, by turns; the fastest counts


def rows() -> list[str]:
    """name | tokens/s | share of the tokens/s of LLM.generate, for the same work."""
    with tempfile.TemporaryDirectory() as place:
        folder = _make_model(Path(place))
        requests = [Request((("user", " ".join(f"w{(i * 7 + j) % WORDS}" for j in range(8 + i % 17))),), 0.7, 1.0, MAX_TOKENS, number("bench", i)) for i in range(PROMPTS)]
        teacher = VllmTeacher(folder, Vllm(tensor_parallel=1, replicas=1, memory_share=0.9, context_tokens=0))
        works = {logprob: [replace(one, logprob=logprob) for one in requests] for logprob in (False, True)}
        sides = {("espalier's vllm engine", logprob): _ours(teacher, work) for logprob, work in works.items()}
        sides |= {("LLM.generate", logprob): _peer(teacher._llm, folder, work) for logprob, work in works.items()}
        runs = [{side: _speed(work) for side, work in sides.items()} for _ in range(RUNS)]
    speeds = {side: max(run[side] for run in runs) for side in sides}
    named = {False: "", True: ", with log-probabilities"}
    return [f"| {name}{named[logprob]} | {speed:,.0f} | {speed / speeds['LLM.generate', logprob]:.2f} |" for (name, logprob), speed in speeds.items()]


def _make_model(folder: Path) -> Path:
    chat = word_chat([f"w{i}" for i in range(WORDS)])
    save_model(build_model(shape_of(SHAPE), vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=0), folder)
    save_chat(chat, folder, context_tokens=SHAPE.context_tokens)
    return folder


def _ours(teacher: VllmTeacher, requests: list[Request]) -> Callable[[], int]:
    return lambda: sum(reply.tokens for reply in teacher.generate(requests))


def _peer(llm: "LLM", folder: Path, requests: list[Request]) -> Callable[[], int]:
    """As a user would call it: ids in, text out."""
    from vllm import SamplingParams

    chat = load_chat(folder)
    prompts = [{"prompt_token_ids": ids} for ids in chat.prompts([one.messages for one in requests])]
    same = {"stop_token_ids": [chat.end_id], "ignore_eos": True}
    sampling = [
        SamplingParams(temperature=one.temperature, top_p=one.top_p, max_tokens=one.max_tokens, seed=one.seed, logprobs=0 if one.logprob else None, **same)
        for one in requests
    ]
    return lambda: sum(len(output.outputs[0].token_ids) for output in llm.generate(prompts, sampling, use_tqdm=False))


def _speed(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - start)


if __name__ == "__main__":
    print(*rows(), sep="\n")
