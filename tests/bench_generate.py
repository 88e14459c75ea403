"""The speeds that LOG.md reports, on the teacher and the taxonomy of the last run: `make bench-generate`. One table, each peer in the same run.

Replies: the engine `hf` against transformers' generate() at batch 64, as a user would call it, both from text to text, on the same prompts at temperature 0.7:
short answers to 2,000 different problems, and 2,000 problems of the teacher's own (one prompt). Cached: an answer step of 48,000 requests that are all known. Plans: in a process of their own.
"""

import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import polars
import torch

from espalier.attributes import choose
from espalier.generate import Sampling, start_rows, write_answers
from espalier.io import read_json, read_rows, write_rows
from espalier.model import load_model
from espalier.params import parse_params
from espalier.plan import Tables, ask_of, plan_rows
from espalier.prompts import Prompt
from espalier.teachers.base import Completion, Request
from espalier.teachers.cache import Cache, generate_cached
from espalier.teachers.hf import HfTeacher
from espalier.tokens import load_chat
from espalier.world.grammar import LEAF_OF, make

TEACHER, TAXONOMY = Path("models/teacher"), Path("data/taxonomy")
REPLIES, MAX_TOKENS, TEMPERATURE, PEER_BATCH, RUNS = 2000, 48, 0.7, 64, 3
CACHED_ROWS, PLANNED_ROWS = 16_000, 1_000_000
WRITE = "write a task ."  # data/seeds/prompts/builtin/query.direct.yaml

Line = tuple[str, str, str, str, str, str]


def main() -> None:
    """Print the table."""
    print(f"{torch.get_num_threads()} cores, " + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "polars", "numpy")) + "\n", flush=True)
    print("| what | ours | peer | ratio | wanted | met |\n|---|---|---|---|---|---|")
    for part in (_reply_lines, _cached_lines, _plan_lines, _vllm_lines):
        for line in part():
            print(f"| {' | '.join(line)} |", flush=True)


def _reply_lines() -> list[Line]:
    random, leaves = np.random.default_rng(0), list(LEAF_OF.values())
    problems = [make(leaves[i % len(leaves)], int(random.integers(1, 4)), random).text for i in range(REPLIES)]
    lines = []
    for what, texts in (("short answers", problems), ("problems", [WRITE] * REPLIES)):
        ours, peer = _fastest(_ours(texts), _library(texts))
        what = f"{REPLIES:,} {what}, tokens/s, against generate() at batch {PEER_BATCH}"
        lines.append((what, f"{ours:,.0f}", f"{peer:,.0f}", f"{ours / peer:.1f}", "ratio 3", _met(ours >= 3 * peer)))
    return lines


def _fastest(*works: Callable[[], int]) -> list[float]:
    """Things a second of each, the best of some runs by turns."""
    speeds: list[list[float]] = [[] for _ in works]
    for _ in range(RUNS):
        for work, found in zip(works, speeds, strict=True):
            start = time.perf_counter()
            done = work()
            found.append(done / (time.perf_counter() - start))
    return [max(found) for found in speeds]


def _ours(texts: list[str]) -> Callable[[], int]:
    teacher = HfTeacher(TEACHER)
    requests = [Request((("user", text),), TEMPERATURE, 1.0, MAX_TOKENS, seed) for seed, text in enumerate(texts)]
    return lambda: sum(completion.tokens for completion in teacher.generate(requests))


def _library(texts: list[str]) -> Callable[[], int]:
    model, chat = load_model(TEACHER).eval(), load_chat(TEACHER)

    def work() -> int:
        tokens, prompts = 0, chat.prompts([(("user", text),) for text in texts])
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
            chat.decode(made[:, longest:].tolist())
            tokens += int((made[:, longest:] != chat.pad_id).sum())
        return tokens

    return work


def _cached_lines() -> list[Line]:
    """The whole step, and its part from the requests to the completions."""
    params = parse_params(Path("params.yaml").read_text())
    plan, prompt = _planned("direct", CACHED_ROWS)
    rows = start_rows(plan).with_columns((polars.lit("how many items are in soup ") + polars.col("index").cast(polars.String)).alias("query"))
    requests: list[Request] = []
    with tempfile.TemporaryDirectory() as place:
        cache = Cache(Path(place) / "cache.sqlite")

        def ask(some: list[Request]) -> list[Completion]:
            requests[:] = some
            return generate_cached(Known, some, cache, fingerprint="f" * 32, chunk=params.gen.chunk_rows, progress=lambda done, found: None)

        def step() -> int:
            write_answers(rows, prompt, Sampling(params.gen, params.seed), ask)
            return len(requests)

        step()
        whole, part = _fastest(step, lambda: len(ask(list(requests))))
        cache.close()
    what = f"{len(requests):,} cached answers"
    return [
        (f"{what}, requests/s", f"{part:,.0f}", "", "", "20,000", _met(part >= 20_000)),
        (f"{what} with prompts and rows, requests/s", f"{whole:,.0f}", "", "", "", ""),
    ]


class Known:
    """A teacher that says one thing."""

    fingerprint = "f" * 32

    def generate(self, requests: list[Request]) -> list[Completion]:
        return [Completion("a reply of some words", "stop", 9, 6, -0.25) for _ in requests]


def _plan_lines() -> list[Line]:
    lines = []
    for recipe in ("lab", "conditional"):
        said = subprocess.run([sys.executable, "-m", "tests.bench_generate", recipe], check=True, text=True, stdout=subprocess.PIPE).stdout
        seconds, gib = map(float, said.split())
        what = f"{PLANNED_ROWS:,} rows planned and written, {recipe}"
        lines.append((f"{what}, seconds", f"{seconds:.1f}", "", "", "60", _met(seconds <= 60)))
        lines.append((f"{what}, peak GiB", f"{gib:.2f}", "", "", "2", _met(gib <= 2)))
    return lines


def _plan(recipe: str) -> None:
    """Print seconds and GiB."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        write_rows(Path(place) / "rows.parquet", _planned(recipe, PLANNED_ROWS)[0])
    print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def _planned(recipe: str, rows: int) -> tuple[polars.DataFrame, Prompt]:
    """The plan of a recipe as the stage makes it, and the recipe's prompt for answers."""
    params = parse_params(Path("params.yaml").read_text())
    settings, known = params.recipes[recipe], read_json(TAXONOMY / "prompts.json")
    lists = {name: tuple(values) for name, values in read_json(TAXONOMY / "attributes.json").items()}
    prompts = {step: Prompt.from_json(known[prompt]) for step, prompt in settings.steps.items()}
    leaves, seeds, documents = (read_rows(TAXONOMY / f"{name}.parquet") for name in ("leaves", "seeds", "documents"))
    tables, attributes = Tables(leaves, seeds, documents["text"].to_list()), choose(lists, settings.attributes, where=recipe)
    return plan_rows(recipe, settings, tables, attributes, ask_of(prompts.values()), rows=rows, seed=params.seed), prompts["answer"]


def _vllm_lines() -> list[Line]:
    """The engine `vllm`, where it can be imported (in .venv-vllm)."""
    if importlib.util.find_spec("vllm") is None:
        return []
    from tests.bench_vllm import rows

    found = [[part.strip() for part in row.strip("| ").split("|")] for row in rows()]
    half = len(found) // 2
    return [(f"{name}, tokens/s, against {peer}", ours, speed, ratio, "ratio 0.95", _met(float(ratio) >= 0.95)) for (name, ours, ratio), (peer, speed, _) in zip(found[:half], found[half:], strict=True)]


def _met(fact: bool) -> str:
    return "yes" if fact else "no"


if __name__ == "__main__":
    _plan(sys.argv[1]) if sys.argv[1:] else main()
