"""The speeds that LOG.md reports, on the teacher of the last run: `make bench`. One table, each peer in the same run.

Short answers: the engine `hf` against transformers' generate() at batch 64, as a user would call it, on the same 2,000 problems at temperature 0.7.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from espalier.model import load_model
from espalier.teachers.base import Request
from espalier.teachers.hf import HfTeacher
from espalier.tokens import load_chat
from espalier.world.grammar import LEAF_OF, make

TEACHER = Path("models/teacher")
ANSWERS, MAX_TOKENS, TEMPERATURE, PEER_BATCH = 2000, 48, 0.7, 64


def main() -> None:
    """Print the table."""
    random = np.random.default_rng(0)
    leaves = list(LEAF_OF.values())
    texts = [make(leaves[i % len(leaves)], int(random.integers(1, 4)), random).text for i in range(ANSWERS)]
    ours, peer = _timed(_ours(texts)), _timed(_library(texts))
    print("| 2,000 short answers, batch | seconds | answers/s | tokens/s |\n|---|---|---|---|")
    for name, (seconds, tokens) in ((f"espalier's hf engine, {512}", ours), (f"transformers generate(), {PEER_BATCH}", peer)):
        print(f"| {name} | {seconds:.2f} | {ANSWERS / seconds:,.0f} | {tokens / seconds:,.0f} |")
    print(f"\nratio of answers/s: {peer[0] / ours[0]:.1f}")


def _timed(work: Callable[[], int]) -> tuple[float, int]:
    """Seconds and tokens of the faster of two runs."""
    runs = []
    for _ in range(2):
        start = time.perf_counter()
        tokens = work()
        runs.append((time.perf_counter() - start, tokens))
    return min(runs)


def _ours(texts: list[str]) -> Callable[[], int]:
    teacher = HfTeacher(TEACHER)
    requests = [Request((("user", text),), TEMPERATURE, 1.0, MAX_TOKENS, seed) for seed, text in enumerate(texts)]
    return lambda: sum(completion.tokens for completion in teacher.generate(requests))


def _library(texts: list[str]) -> Callable[[], int]:
    model, chat = load_model(TEACHER).eval(), load_chat(TEACHER)
    prompts = chat.prompts([(("user", text),) for text in texts])

    def work() -> int:
        tokens = 0
        for at in range(0, len(prompts), PEER_BATCH):
            some = prompts[at : at + PEER_BATCH]
            longest = max(map(len, some))
            ids = torch.tensor([[chat.pad_id] * (longest - len(one)) + one for one in some])
            mask = torch.tensor([[0] * (longest - len(one)) + [1] * len(one) for one in some])
            with torch.inference_mode():
                made = model.generate(
                    input_ids=ids, attention_mask=mask, do_sample=True, temperature=TEMPERATURE, top_k=0, max_new_tokens=MAX_TOKENS,
                    pad_token_id=chat.pad_id, eos_token_id=chat.end_id,
                )  # fmt: skip
            tokens += int((made[:, longest:] != chat.pad_id).sum())
        return tokens

    return work


if __name__ == "__main__":
    main()
