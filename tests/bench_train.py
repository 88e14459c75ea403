"""The training speeds that LOG.md reports: `make bench-train`. Every loop on the same tokens, batch and number of updates, each in a process of its own.

Two sizes: `small`, about 7.4 M parameters at 256 tokens a sequence, 32 sequences a step, and `tiny`, the student of params.yaml, 8 sequences of 128. Each loop at
fp32 and bf16 where it has both; the better one counts. Tokens/s: the median over the steps after the third. $NANOGPT: a checkout of karpathy/nanoGPT.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SIZES = {"small": (256, 8, 688, 256, 32, 4096, 14), "tiny": (96, 3, 264, 128, 8, 610, 120)}  # width, layers, feed-forward, tokens, sequences a step, vocabulary, steps
WARM = 3
WANTED = {"small": 1.1, "tiny": 1.5}  # times the best peer; times the Trainer


def main() -> None:
    """Print the table."""
    peaks = {name: peak_gflops(name) for name in ("fp32", "bf16")}
    print(f"{len(os.sched_getaffinity(0))} cores; torch.mm of 2048 x 2048: {peaks['fp32']:,.0f} GFLOP/s fp32, {peaks['bf16']:,.0f} bf16\n")
    print("| size | loop | fp32 tokens/s | bf16 tokens/s | share of the peak | ours is faster by | wanted |\n|---|---|---|---|---|---|---|", flush=True)
    for size, (_, _, _, length, rows, vocabulary, steps) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            tokens = np.random.default_rng(0).zipf(1.3, rows * length * steps).astype(np.int64) % (vocabulary - 2) + 2
            tokens.astype(np.uint16).tofile(f"{folder}/train.bin")
            best = 0.0
            for loop in ("ours", "transformers' Trainer", "accelerate", "nanoGPT"):
                speeds = {precision: _run(loop, size, precision, folder) for precision in peaks}
                top = max(speeds, key=lambda one: speeds[one])
                best = best or speeds[top]
                share = f"{speeds[top] * flops_a_token(size) / peaks[top] / 1e9:.0%}" if loop != "nanoGPT" else ""
                wanted = f"{WANTED[size]}" if (size == "small" and loop != "ours") or loop.endswith("Trainer") else ""
                ratio = f"{best / speeds[top]:.2f}" if speeds[top] else "failed"
                print(f"| {size} | {loop} | {speeds['fp32']:,.0f} | {speeds['bf16']:,.0f} | {share} | {ratio} | {wanted} |", flush=True)


def flops_a_token(size: str) -> float:
    """Of one update; see sizes.train_flops."""
    from espalier.sizes import train_flops

    shape, vocabulary = shape_of(size), SIZES[size][5]
    return train_flops(shape, vocabulary, shape.context_tokens)


def peak_gflops(precision: str) -> float:
    """What torch.mm reaches here with matrices of 2048 x 2048: the median of 20."""
    import torch

    one = torch.randn(2048, 2048, dtype=torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = []
    for _ in range(23):
        begun = time.perf_counter()
        one @ one
        seconds.append(time.perf_counter() - begun)
    return 2 * 2048**3 / statistics.median(seconds[3:]) / 1e9


def shape_of(size: str):
    """As sizes.Shape."""
    from espalier.sizes import Shape

    hidden, layers, feed_forward, length, *_ = SIZES[size]
    return Shape(hidden, layers, feed_forward, length, head=32, key_value_heads=hidden // 32, rope_theta=1e4)


def _run(loop: str, size: str, precision: str, folder: str) -> float:
    made = subprocess.run([sys.executable, "-m", "tests.bench_train", loop, size, precision, folder], capture_output=True, text=True)
    if made.returncode:
        print(made.stderr[-2000:], file=sys.stderr)
    return 0.0 if made.returncode else json.loads(made.stdout.splitlines()[-1])


def _speed(size: str, stamps: list[float]) -> float:
    """Tokens/s from the times at which updates were done."""
    _, _, _, length, rows, *_ = SIZES[size]
    return rows * length / statistics.median(np.diff(stamps[WARM:]))


def _sequences(size: str, folder: str) -> np.ndarray:
    return np.fromfile(f"{folder}/train.bin", dtype=np.uint16).astype(np.int64).reshape(-1, SIZES[size][3])


def ours(size: str, precision: str, folder: str) -> float:
    """The loop of the stage train, with its two optimizers and one document a sequence."""
    from espalier.settings import Optimizer
    from espalier.tokens import Packed
    from espalier.train import train_model

    tokens, rows = _sequences(size, folder), SIZES[size][4]
    data = Packed(tokens.astype(np.uint16), np.zeros(tokens.shape, dtype=np.int32), np.ones(tokens.shape, dtype=bool))
    optimizer = Optimizer(tokens.size, rows * tokens.shape[1], 1e-3, 4e-3, 0.1, "wsd", 0.05, 0.3)
    stamps: list[float] = []
    train_model(_model(size), data, optimizer, seed=0, precision=precision, checkpoints=None, progress=lambda step, steps: stamps.append(time.perf_counter()))
    return _speed(size, stamps)


def trainer(size: str, precision: str, folder: str) -> float:
    """transformers' Trainer as its documentation has it."""
    import torch
    from transformers import Trainer, TrainerCallback, TrainingArguments

    rows, stamps = [{"input_ids": torch.from_numpy(one), "labels": torch.from_numpy(one)} for one in _sequences(size, folder)], []

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            stamps.append(time.perf_counter())

    arguments = TrainingArguments(
        f"{folder}/out", per_device_train_batch_size=SIZES[size][4], max_steps=SIZES[size][6], bf16=precision == "bf16", use_cpu=True, report_to=[],
        save_strategy="no", logging_strategy="no", disable_tqdm=True, optim="adamw_torch_fused", max_grad_norm=1.0,
    )  # fmt: skip
    Trainer(model=_model(size), args=arguments, train_dataset=rows, callbacks=[Clock()]).train()
    return _speed(size, stamps)


def accelerate_loop(size: str, precision: str, folder: str) -> float:
    """The loop of accelerate's quick tour."""
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16" else "no", cpu=True)
    model = _model(size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    loader = torch.utils.data.DataLoader(torch.from_numpy(_sequences(size, folder)), batch_size=SIZES[size][4], shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    stamps = []
    for batch in loader:
        optimizer.zero_grad()
        accelerator.backward(model(input_ids=batch, labels=batch).loss)
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        stamps.append(time.perf_counter())
    return _speed(size, stamps)


def nanogpt(size: str, precision: str, folder: str) -> float:
    """Its own train.py; on a CPU that has no autocast, so bf16 is a patch of one line."""
    import pickle
    import re
    import shutil

    hidden, layers, _, length, rows, vocabulary, steps = SIZES[size]
    copy = Path(folder, f"nanogpt-{precision}")
    shutil.copytree(os.environ["NANOGPT"], copy)
    script = (copy / "train.py").read_text()
    patched = script.replace("ctx = nullcontext() if device_type == 'cpu' else ", "ctx = ")
    assert patched != script
    if precision == "bf16":
        (copy / "train.py").write_text(patched)
    data = copy / "data/bench"
    data.mkdir()
    for name in ("train", "val"):
        shutil.copy(f"{folder}/train.bin", data / f"{name}.bin")
    (data / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": vocabulary}))
    options = {
        "dataset": "bench", "device": "cpu", "compile": False, "n_layer": layers, "n_head": hidden // 32, "n_embd": hidden, "block_size": length, "batch_size": rows,
        "gradient_accumulation_steps": 1, "max_iters": steps, "eval_interval": 10**9, "eval_iters": 1, "dtype": "bfloat16" if precision == "bf16" else "float32",
    }  # fmt: skip
    command = [sys.executable, "train.py", *(f"--{name}={value}" for name, value in options.items())]
    said = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=True).stdout
    times = [float(one) for one in re.findall(r"iter \d+: .* time ([\d.]+)ms", said)][WARM + 1 :]
    return rows * length / statistics.median(times) * 1e3


def _model(size: str):
    from espalier.model import build_model

    return build_model(shape_of(size), vocabulary=SIZES[size][5], pad_id=0, end_id=1, seed=0)


LOOPS = {"ours": ours, "transformers' Trainer": trainer, "accelerate": accelerate_loop, "nanoGPT": nanogpt}

if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case [loop, size, precision, folder]:
            print(json.dumps(LOOPS[loop](size, precision, folder)))
