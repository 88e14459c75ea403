"""The training speeds that LOG.md reports: `make bench-train`. Every loop on the same tokens, batch and number of updates, each in a process of its own.

On a CPU two sizes: `small`, about 7.4 M parameters at 256 tokens a sequence, 32 sequences a step, and `tiny`, the student of params.yaml, 8 sequences of 128; each
loop in fp32 and bf16, the better one counts. On a GPU the preset 125m, 32 sequences of 1,024, in bf16, and whether 1b trains in 24 GiB. Tokens/s: the median over
the steps after the third. Share of the peak: by the FLOPs of our model. $NANOGPT: a checkout of karpathy/nanoGPT.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.hardware import GIB, fits
from espalier.model import build_model
from espalier.settings import Optimizer
from espalier.sizes import SIZES, Shape, train_flops
from espalier.speed import device_peak, peak_memory_bytes
from espalier.tokens import Packed
from espalier.train import train_model


@dataclass(frozen=True, slots=True)
class Case:
    """A student, sequences of a step, updates. wanted: by how much ours is to be faster than those of `against`; 0 where a share of the peak is wanted."""

    shape: Shape
    vocabulary: int
    rows: int
    steps: int
    precisions: tuple[str, ...]
    wanted: float = 0.0
    against: tuple[str, ...] = ()

    @property
    def step_tokens(self) -> int:
        return self.rows * self.shape.context_tokens


CARD = torch.cuda.is_available()
BOTH = ("fp32", "bf16")
PEERS = ("transformers' Trainer", "accelerate", "nanoGPT")
CPU_CASES = {
    "small": Case(Shape(256, 8, 688, 256, head=32, key_value_heads=8, rope_theta=1e4), 4096, 32, 14, BOTH, 1.1, PEERS),
    "tiny": Case(SIZES["tiny"], 610, 8, 120, BOTH, 1.5, PEERS[:1]),
}
CARD_CASES = {"125m": Case(replace(SIZES["125m"], context_tokens=1024), 49_152, 32, 30, ("bf16",))}
CASES = CARD_CASES if CARD else CPU_CASES
WARM = 3
CARD_MFU = 0.45
SMALL_CARD = 24 * GIB


def main() -> None:
    """Print the table."""
    peaks = {precision: device_peak(precision) for precision in BOTH}
    print(torch.cuda.get_device_name() if CARD else f"{len(os.sched_getaffinity(0))} cores", end="")
    print("".join(f"; {precision} {flops / 1e9:,.0f} GFLOP/s, {source}" for precision, (flops, source) in peaks.items()) + "\n")
    print("| size | loop | fp32 tokens/s | bf16 tokens/s | share of the peak | ours is faster by | wanted |\n|---|---|---|---|---|---|---|", flush=True)
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            tokens = np.random.default_rng(0).zipf(1.3, case.step_tokens * case.steps) % (case.vocabulary - 2) + 2
            tokens.astype(np.uint16).tofile(f"{folder}/train.bin")
            best = 0.0
            for loop in ("ours", *PEERS):
                speeds = {precision: _run(loop, name, precision, folder) or 0.0 for precision in case.precisions}
                top = max(speeds, key=lambda precision: speeds[precision])
                best = best or speeds[top]
                share = speeds[top] * train_flops(case.shape, case.vocabulary, case.shape.context_tokens) / peaks[top][0]
                ratio = f"{best / speeds[top]:.2f}" if speeds[top] else "failed"
                wanted = f"{case.wanted}" if loop in case.against else f"{CARD_MFU:.0%} of the peak" if CARD and loop == "ours" else ""
                shown = " | ".join(f"{speeds[precision]:,.0f}" if precision in speeds else "" for precision in BOTH)
                print(f"| {name} | {loop} | {shown} | {share:.0%} | {ratio} | {wanted} |", flush=True)
    if CARD:
        print(f"\n{_run('fits') or '1b does not train in 24 GiB; the lines above say why'}")


def _run(*arguments: str) -> Any:
    """What this module prints last in a process of its own; None where that fails, with its last lines of talk."""
    made = subprocess.run([sys.executable, "-m", "tests.bench_train", *arguments], capture_output=True, text=True)
    if made.returncode:
        print(made.stderr[-2000:], file=sys.stderr)
    return None if made.returncode else json.loads(made.stdout.splitlines()[-1])


def _stamp(stamps: list[float]) -> None:
    """The time at which an update is done."""
    if CARD:
        torch.cuda.synchronize()
    stamps.append(time.perf_counter())


def _speed(case: Case, stamps: list[float]) -> float:
    """Tokens/s."""
    return case.step_tokens / statistics.median(np.diff(stamps[WARM:]))


def _sequences(case: Case, folder: str) -> np.ndarray:
    return np.fromfile(f"{folder}/train.bin", dtype=np.uint16).reshape(-1, case.shape.context_tokens)


def _model(case: Case):
    return build_model(case.shape, vocabulary=case.vocabulary, pad_id=0, end_id=1, seed=0)


def _train(case: Case, tokens: np.ndarray, precision: str, *, checkpointing: bool = False, micro_batch: int = 0) -> list[float]:
    """The loop of the stage train, with its two optimizers and one document a sequence; when each update was done."""
    data = Packed(tokens, np.zeros(tokens.shape, dtype=np.int32), np.ones(tokens.shape, dtype=bool))
    optimizer = Optimizer(tokens.size, case.step_tokens, 1e-3, 4e-3, 0.1, "wsd", 0.05, 0.3)
    model, stamps = _model(case), []
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    options = {"seed": 0, "precision": precision, "checkpoints": None, "micro_batch": micro_batch}
    train_model(model, data, optimizer, progress=lambda step, steps: _stamp(stamps), **options)
    return stamps


def ours(case: Case, precision: str, folder: str) -> float:
    """espalier.train."""
    return _speed(case, _train(case, _sequences(case, folder), precision))


def trainer(case: Case, precision: str, folder: str) -> float:
    """transformers' Trainer as its documentation has it."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    rows = [{"input_ids": torch.from_numpy(one), "labels": torch.from_numpy(one)} for one in _sequences(case, folder).astype(np.int64)]
    stamps: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            _stamp(stamps)

    arguments = TrainingArguments(
        f"{folder}/out", per_device_train_batch_size=case.rows, max_steps=case.steps, bf16=precision == "bf16", use_cpu=not CARD, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, optim="adamw_torch_fused", max_grad_norm=1.0,
    )  # fmt: skip
    Trainer(model=_model(case), args=arguments, train_dataset=rows, callbacks=[Clock()]).train()
    return _speed(case, stamps)


def accelerate_loop(case: Case, precision: str, folder: str) -> float:
    """The loop of accelerate's quick tour."""
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=not CARD)
    model = _model(case)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loader = torch.utils.data.DataLoader(torch.from_numpy(_sequences(case, folder).astype(np.int64)), batch_size=case.rows, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    stamps: list[float] = []
    for batch in loader:
        optimizer.zero_grad()
        accelerator.backward(model(input_ids=batch, labels=batch).loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        _stamp(stamps)
    return _speed(case, stamps)


def nanogpt(case: Case, precision: str, folder: str) -> float:
    """Its own train.py, compiled on a GPU as by its default; on a CPU it has no autocast, so bf16 is a patch of one line there."""
    import pickle
    import re
    import shutil

    copy, shape = Path(folder, f"nanogpt-{precision}"), case.shape
    shutil.copytree(os.environ["NANOGPT"], copy)
    if precision == "bf16" and not CARD:
        script = (copy / "train.py").read_text()
        patched = script.replace("ctx = nullcontext() if device_type == 'cpu' else ", "ctx = ")
        assert patched != script
        (copy / "train.py").write_text(patched)
    data = copy / "data/bench"
    data.mkdir()
    for name in ("train", "val"):
        shutil.copy(f"{folder}/train.bin", data / f"{name}.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": case.vocabulary}))
    options = {
        "dataset": "bench", "device": "cuda" if CARD else "cpu", "compile": CARD, "n_layer": shape.layers, "n_head": shape.heads, "n_embd": shape.hidden,
        "block_size": shape.context_tokens, "batch_size": case.rows, "gradient_accumulation_steps": 1, "max_iters": case.steps, "eval_interval": 10**9,
        "eval_iters": 1, "log_interval": 1, "dtype": "bfloat16" if precision == "bf16" else "float32",
    }  # fmt: skip
    command = [sys.executable, "train.py", *(f"--{name}={value}" for name, value in options.items())]
    said = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout
    times = [float(one) for one in re.findall(r"iter \d+: .* time ([\d.]+)ms", said)][WARM + 1 :]
    return case.step_tokens / statistics.median(times) * 1e3


def fits_a_small_card() -> str:
    """Trains 1b for three steps in a process that may take 24 GiB of the card, with the micro-batch that the plan of the hardware gives."""
    torch.cuda.set_per_process_memory_fraction(SMALL_CARD / torch.cuda.get_device_properties(0).total_memory)
    case = Case(replace(SIZES["1b"], context_tokens=1024), 49_152, 8, 3, ("bf16",))
    plan = fits(case.shape, case.vocabulary, sequence=case.shape.context_tokens, processes=1, card_bytes=SMALL_CARD)
    fit = max((one for one in plan if one.checkpointing), key=lambda one: one.micro_batch)
    micro_batch = min(fit.micro_batch, case.rows)
    tokens = np.random.default_rng(0).integers(2, case.vocabulary, (case.rows * case.steps, case.shape.context_tokens), dtype=np.uint16)
    stamps = _train(case, tokens, "bf16", checkpointing=True, micro_batch=micro_batch)
    return f"1b, bf16, gradient checkpointing, {micro_batch} sequences at a time: {len(stamps)} steps, peak {peak_memory_bytes() / GIB:.1f} of 24 GiB"


LOOPS: dict[str, Callable[[Case, str, str], float]] = {"ours": ours, "transformers' Trainer": trainer, "accelerate": accelerate_loop, "nanoGPT": nanogpt}

if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["fits"]:
            print(json.dumps(fits_a_small_card()))
        case [loop, name, precision, folder]:
            print(json.dumps(LOOPS[loop](CASES[name], precision, folder)))
