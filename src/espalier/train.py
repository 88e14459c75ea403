"""One training loop for teachers and students, on accelerate: CPU, one GPU, or several processes.

Packed sequences with documents kept apart, warmup-stable-decay schedule, gradient clipping, checkpoints that continue exactly. The data order is a hash of
the seed and the epoch. Shapes: N packed sequences, B sequences a step, T tokens a sequence.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from transformers import LlamaForCausalLM

from espalier.checkpoints import latest_checkpoint, save_checkpoint
from espalier.errors import EspalierError, ParamsError
from espalier.muon import Muon
from espalier.parallel import distribute, gradients_stay
from espalier.seeds import rng
from espalier.settings import Optimizer
from espalier.tokens import Packed

BETAS = (0.9, 0.95)  # AdamW
MOMENTUM = 0.95  # Muon
CLIP_NORM = 1.0
IGNORED = -100  # the label that the loss leaves out


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the loss curve: tokens seen so far (padding included), loss in nats a token, share of the peak rates."""

    step: int
    tokens: int
    loss_nats: float
    rate_share: float


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """Where a run's checkpoints lie, and how many steps apart."""

    folder: Path
    every_steps: int


def train_model(
    model: LlamaForCausalLM,
    data: Packed,
    optimizer: Optimizer,
    *,
    seed: int,
    precision: str,
    checkpoints: Checkpoints | None,
    progress: Callable[[Step, int], None],
    micro_batch: int = 0,
    sharding: str = "ddp",
) -> list[Step]:
    """Train `model` in place; the curve has one entry a step. progress: called with each entry and the number of steps.

    micro_batch: sequences that go through the model of a process at a time, their gradients added up to those of the whole step; 0 for all of a step's.
    Several processes (launch.py) read the same sequences in the same order as one does, each its part of every step; sharding: ddp or fsdp (parallel.py).

    Raises: EspalierError when the loss is no number. A checkpoint of the same run is continued.
    """
    n, length = data.tokens_NT.shape
    rows = max(optimizer.batch_tokens // length, 1)
    steps = max(optimizer.tokens // (rows * length), 1)
    accelerator = Accelerator(mixed_precision=_mixed(precision), cpu=not torch.cuda.is_available())
    processes, mine = accelerator.num_processes, slice(accelerator.process_index, None, accelerator.num_processes)
    if rows % processes:
        raise ParamsError(f"params.yaml: a step has {rows} sequences of {length} tokens, train.processes is {processes}; make batch_tokens a multiple of both")
    wrapped = distribute(model, accelerator, sharding=sharding)
    optimizers = make_optimizers(model, optimizer)
    curve = [Step(*entry) for entry in latest_checkpoint(checkpoints.folder, model, optimizers)] if checkpoints else []
    peaks = [group["lr"] for one in optimizers for group in one.param_groups]
    wrapped.train()
    for step, places in enumerate(_order(n, rows, steps, seed)):
        if step < len(curve):
            continue
        share = schedule(step, steps, warmup=optimizer.warmup_share, decay=optimizer.decay_share)
        for group, peak in zip((group for one in optimizers for group in one.param_groups), peaks, strict=True):
            group["lr"] = peak * share
        parts = _cut(places[mine], micro_batch)
        batches = [prepare_batch(data.tokens_NT[part], data.documents_NT[part], data.targets_NT[part], accelerator.device) for part in parts]
        loss = _step(accelerator, wrapped, optimizers, batches)
        if not math.isfinite(loss):
            raise EspalierError(f"train: the loss is {loss} at step {step + 1} of {steps}; lower the learning rates of its optimizer")
        curve.append(Step(step + 1, (step + 1) * rows * length, loss, share))
        progress(curve[-1], steps)
        if checkpoints and (step + 1) % checkpoints.every_steps == 0 and step + 1 < steps:
            save_checkpoint(checkpoints.folder, model, optimizers, curve)
    model.eval()
    return curve


def schedule(step: int, steps: int, *, warmup: float, decay: float) -> float:
    """Share of the peak rate at `step` (0 .. steps - 1): linear warmup, stable, linear decay to nearly nothing.

    Source: warmup-stable-decay, arXiv 2404.06395, section 4.
    """
    rising = (step + 1) / max(warmup * steps, 1)
    falling = (steps - step) / max(decay * steps, 1)
    return min(1.0, rising, falling)


def prepare_batch(tokens_BT: np.ndarray, documents_BT: np.ndarray, targets_BT: np.ndarray, device: torch.device) -> dict[str, torch.Tensor]:
    """What the model is given: positions restart with every document, which is how transformers knows to keep documents apart.

    Only targets are labels; the first token of a document is none, for nothing of its own document predicts it.
    """
    starts_BT = np.ones_like(documents_BT, dtype=bool)
    starts_BT[:, 1:] = documents_BT[:, 1:] != documents_BT[:, :-1]
    places = np.arange(documents_BT.shape[1])
    positions_BT = places - np.maximum.accumulate(np.where(starts_BT, places, 0), axis=1)
    labels_BT = np.where(targets_BT & ~starts_BT, tokens_BT.astype(np.int64), IGNORED)
    arrays = {"input_ids": tokens_BT.astype(np.int64), "position_ids": positions_BT, "labels": labels_BT}
    return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}


def train_metrics(curve: list[Step], *, epoch_tokens: int) -> dict[str, float]:
    """Numbers of a finished run: steps, tokens, epochs, and the mean loss of the last twentieth of the steps."""
    last = curve[-max(len(curve) // 20, 1) :]
    tokens = curve[-1].tokens
    return {"steps": len(curve), "tokens": tokens, "epochs": tokens / epoch_tokens, "loss_nats": sum(step.loss_nats for step in last) / len(last)}


def pick_precision(precision: str) -> str:
    """fp32 or bf16 for `auto`: bf16 on a GPU; on a CPU it was slower than fp32 at the tiny size (LOG.md)."""
    return precision if precision != "auto" else "bf16" if torch.cuda.is_available() else "fp32"


def _mixed(precision: str) -> str:
    return "bf16" if pick_precision(precision) == "bf16" else "no"


def make_optimizers(model: LlamaForCausalLM, optimizer: Optimizer) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers; AdamW, without weight decay, for the embedding and the norms."""
    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = Muon(inside, lr=optimizer.matrix_learning_rate, weight_decay=optimizer.weight_decay, momentum=MOMENTUM)
    return [muon, torch.optim.AdamW(others, lr=optimizer.learning_rate, betas=BETAS, weight_decay=0.0, fused=True)]


def _step(accelerator: Accelerator, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], batches: list[dict[str, torch.Tensor]]) -> float:
    """One update; the loss is the mean over the target tokens of all batches, so that it does not hang on how a step is cut."""
    processes, shared = accelerator.num_processes, {}
    if processes * len(batches) > 1:  # gradients are averaged over processes, so each divides by its part of the targets
        targets = accelerator.reduce(sum((batch["labels"] != IGNORED).sum() for batch in batches), "sum")
        shared = {"num_items_in_batch": targets / processes}
    loss_sum = torch.zeros((), device=accelerator.device)
    for place, batch in enumerate(batches, 1):
        with gradients_stay(model, place < len(batches)):
            with accelerator.autocast():
                loss = model(**batch, **shared, use_cache=False).loss  # with a cache transformers does not keep packed documents apart
            accelerator.backward(loss)
        loss_sum += loss.detach()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return float(accelerator.reduce(loss_sum, "mean"))


def _cut(places: np.ndarray, size: int) -> list[np.ndarray]:
    """`places` in pieces of `size`; 0 for one piece."""
    return [places[at : at + size] for at in range(0, len(places), size)] if size else [places]


def _order(n: int, rows: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """The sequences of each step: a fresh shuffle each epoch, read on across the end of an epoch."""
    epoch, waiting = 0, np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(waiting) < rows:
            waiting = np.concatenate([waiting, rng(seed, "order", epoch).permutation(n)])
            epoch += 1
        yield waiting[:rows]
        waiting = waiting[rows:]
