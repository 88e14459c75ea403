"""The speed of the engine vllm beside vLLM's own LLM.generate, on the same ids and the same sampling: rows of a table.

The peer is asked twice: with the log-probability of each token, which our completions hold too, and without. A random model of about 15 M parameters with
32,000 ids, 256 prompts, up to 48 tokens each (2 minutes on 2 cores); run it with the Python of .venv-vllm, on nothing else's time:
`.venv-vllm/bin/python -m tests.bench_vllm`.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.model import build_model, save_model
from espalier.seeds import number
from espalier.settings import Model, Vllm
from espalier.teachers.base import Request
from espalier.teachers.vllm import VllmTeacher
from espalier.tokens import load_chat, save_chat, word_chat

if TYPE_CHECKING:
    from vllm import LLM

PROMPTS, MAX_TOKENS, WORDS, SHAPE = 256, 48, 32_000, Model(hidden=288, layers=6, feed_forward=768, context_tokens=256)
RUNS = 3  # of each, by turns; the fastest counts


def rows() -> list[str]:
    """name | tokens/s | our tokens/s as a share of these."""
    with tempfile.TemporaryDirectory() as place:
        folder = _make_model(Path(place))
        requests = [Request((("user", " ".join(f"w{(i * 7 + j) % WORDS}" for j in range(8 + i % 17))),), 0.7, 1.0, MAX_TOKENS, number("bench", i)) for i in range(PROMPTS)]
        teacher = VllmTeacher(folder, Vllm(tensor_parallel=1, replicas=1, memory_share=0.9, context_tokens=0))
        sides = {
            "espalier's vllm engine": _ours(teacher, requests),
            "LLM.generate with log-probabilities": _peer(teacher._llm, folder, requests, logprobs=0),
            "LLM.generate without": _peer(teacher._llm, folder, requests, logprobs=None),
        }
        runs = [{name: _speed(work) for name, work in sides.items()} for _ in range(RUNS)]
    speeds = {name: max(run[name] for run in runs) for name in sides}
    ours = next(iter(speeds.values()))
    return [f"| {name} | {speed:,.0f} | {ours / speed:.2f} |" for name, speed in speeds.items()]


def _make_model(folder: Path) -> Path:
    chat = word_chat([f"w{i}" for i in range(WORDS)])
    save_model(build_model(SHAPE, vocabulary=chat.size, pad_id=chat.pad_id, end_id=chat.end_id, seed=0), folder)
    save_chat(chat, folder, context_tokens=SHAPE.context_tokens)
    return folder


def _ours(teacher: VllmTeacher, requests: list[Request]) -> Callable[[], int]:
    return lambda: sum(reply.tokens for reply in teacher.generate(requests))


def _peer(llm: "LLM", folder: Path, requests: list[Request], *, logprobs: int | None) -> Callable[[], int]:
    """As a user would call it: ids in, text out."""
    from vllm import SamplingParams

    chat = load_chat(folder)
    prompts = [{"prompt_token_ids": ids} for ids in chat.prompts([one.messages for one in requests])]
    sampling = [
        SamplingParams(
            temperature=one.temperature, top_p=one.top_p, max_tokens=one.max_tokens, seed=one.seed, stop_token_ids=[chat.end_id], ignore_eos=True, logprobs=logprobs
        )
        for one in requests
    ]
    return lambda: sum(len(output.outputs[0].token_ids) for output in llm.generate(prompts, sampling, use_tqdm=False))


def _speed(work: Callable[[], int]) -> float:
    start = time.perf_counter()
    tokens = work()
    return tokens / (time.perf_counter() - start)


if __name__ == "__main__":
    print(*rows(), sep="\n")
