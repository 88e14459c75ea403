"""One training loop for teachers and students, on accelerate: CPU, one GPU, or several processes.

Packed sequences with documents kept apart, a data order that hangs on the seed (order.py), a learning rate by schedule.py, gradient clipping, spikes told by
spikes.py, checkpoints that continue exactly. Shapes: N packed sequences, B sequences a step, T tokens a sequence.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from transformers import LlamaForCausalLM

from espalier.checkpoints import latest_checkpoint, save_checkpoint
from espalier.errors import CorruptInput, EspalierError, ParamsError
from espalier.fused import IGNORED, fused
from espalier.heap import keep_freed_memory
from espalier.muon import Muon
from espalier.order import mixed_order, part_of, phased_order
from espalier.parallel import distribute, gradients_stay, in_any, whole
from espalier.schedule import schedule
from espalier.settings import Optimizer, Phase
from espalier.spikes import WINDOW, Spike, Watch, find_spike
from espalier.tokens import Packed

BETAS = (0.9, 0.95)  # AdamW
MOMENTUM = 0.95  # Muon
CLIP_NORM = 1.0

Look = Callable[[float, float], Spike | None]


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the loss curve: tokens seen so far (padding included), loss in nats a token, share of the peak rates, gradient norm before clipping."""

    step: int
    tokens: int
    loss_nats: float
    rate_share: float
    gradient_norm: float


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
    phases: Sequence[Phase] = (),
    watch: Watch | None = None,
) -> list[Step]:
    """Train `model` in place on data that pass `check_data`; the curve has one entry a step. progress: called with each entry and the number of steps.

    micro_batch: sequences that go through the model of a process at a time, their gradients added up to those of the whole step; 0 for all of a step's.
    Several processes (launch.py) read the same sequences in the same order as one does, each its part of every step; sharding: ddp or fsdp (parallel.py).
    phases: read the branches of `data` one after the other (order.py); none for one mix. watch: what to do about spikes; None looks for none.

    Raises: EspalierError when the loss is no number; ParamsError for sequences that processes cannot share evenly, and for phases that cannot be read.
    A checkpoint of the same run is continued.
    """
    AcceleratorState._reset_state()  # it keeps the first precision of a process, which may train in both
    accelerator = Accelerator(mixed_precision=_mixed(precision), cpu=not torch.cuda.is_available())
    rows, steps = _measure(data, optimizer, accelerator.num_processes)
    wrapped = distribute(model, accelerator, sharding=sharding)
    optimizers = make_optimizers(model, optimizer, pick_precision(precision))
    curve = [Step(*entry) for entry in latest_checkpoint(checkpoints.folder, model, optimizers)] if checkpoints else []
    groups = [group for one in optimizers for group in one.param_groups]
    peaks = [group["lr"] for group in groups]
    wrapped.train()
    with _lean(model, accelerator, sharding):
        for step, places in enumerate(_order(data, phases, rows=rows, steps=steps, seed=seed)):
            if step < len(curve):
                continue
            share = schedule(step, steps, warmup=optimizer.warmup_share, decay=optimizer.decay_share, kind=optimizer.schedule)
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = peak * share
            parts = _cut(part_of(places, accelerator.process_index, accelerator.num_processes), micro_batch or rows)
            batches = [prepare_batch(data.tokens_NT[part], data.documents_NT[part], data.targets_NT[part], accelerator.device) for part in parts]
            loss, norm, spike = _step(accelerator, wrapped, optimizers, batches, _look(curve, watch, places), skip=watch is not None and watch.skip)
            if not math.isfinite(loss):
                raise EspalierError(f"train: the loss is {loss} at step {step + 1} of {steps}; lower the learning rates of its optimizer")
            if watch and spike:
                watch.report(spike)
            curve.append(Step(step + 1, (step + 1) * rows * data.tokens_NT.shape[1], loss, share, norm))
            progress(curve[-1], steps)
            if checkpoints and (step + 1) % checkpoints.every_steps == 0 and step + 1 < steps:
                save_checkpoint(checkpoints.folder, model, optimizers, curve)
    model.eval()
    return curve


def check_data(data: Packed, *, vocabulary: int, context_tokens: int) -> None:
    """Raises: CorruptInput for no sequences, and for a token that the model has no word for; ParamsError for sequences longer than the model sees."""
    n, length = data.tokens_NT.shape
    if not n:
        raise CorruptInput("train: the training set holds no sequences; run `dvc repro`, so that the stages before fill it or say why they cannot")
    if length > context_tokens:
        raise ParamsError(f"params.yaml: tokens.context_tokens is {length:,}, but the model sees {context_tokens:,}; lower it, or take a larger model")
    highest = int(data.tokens_NT.max())
    if highest >= vocabulary:
        raise CorruptInput(
            f"train: the training set holds token {highest:,}, but the model's tokenizer has {vocabulary:,} (0 .. {vocabulary - 1:,}); "
            "it was packed with another one: run `dvc repro`, which packs it again"
        )


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
    """fp32 or bf16 for `auto`: bf16 on a GPU and on a CPU that multiplies it, where students of both are alike and bf16 takes half the time (LOG.md)."""
    fast = torch.cuda.is_available() or torch.cpu.get_capabilities().get("avx512_bf16", False)
    return precision if precision != "auto" else "bf16" if fast else "fp32"


def _mixed(precision: str) -> str:
    return "bf16" if pick_precision(precision) == "bf16" else "no"


def make_optimizers(model: LlamaForCausalLM, optimizer: Optimizer, precision: str) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers; AdamW, without weight decay, for the embedding and the norms."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    inside = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = Muon(inside, lr=optimizer.matrix_learning_rate, weight_decay=optimizer.weight_decay, momentum=MOMENTUM, dtype=dtype)
    return [muon, torch.optim.AdamW(others, lr=optimizer.learning_rate, betas=BETAS, weight_decay=0.0, fused=True)]


def _measure(data: Packed, optimizer: Optimizer, processes: int) -> tuple[int, int]:
    """Sequences of a step, and steps. Raises: ParamsError."""
    length = data.tokens_NT.shape[1]
    rows = max(optimizer.batch_tokens // length, 1)
    if rows % processes:
        raise ParamsError(f"params.yaml: a step has {rows} sequences of {length} tokens, train.processes is {processes}; make batch_tokens a multiple of both")
    return rows, max(optimizer.tokens // (rows * length), 1)


def _lean(model: LlamaForCausalLM, accelerator: Accelerator, sharding: str) -> AbstractContextManager[None]:
    """The pass of fused.py where it is the faster one and can be: on a CPU, with the whole model and all activations at hand."""
    whole_model = accelerator.num_processes == 1 or sharding == "ddp"
    if accelerator.device.type != "cpu" or model.is_gradient_checkpointing or not whole_model:
        return nullcontext()
    keep_freed_memory()
    return fused(model, torch.bfloat16 if accelerator.mixed_precision == "bf16" else torch.float32)


def _order(data: Packed, phases: Sequence[Phase], *, rows: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """The sequences of each step."""
    if not phases:
        return mixed_order(len(data.tokens_NT), rows=rows, steps=steps, seed=seed)
    assert data.branches_N is not None, "phases need data that is packed by branch"
    return phased_order(data.branches_N, phases, rows=rows, steps=steps, seed=seed)


def _step(
    accelerator: Accelerator, model: torch.nn.Module, optimizers: list[torch.optim.Optimizer], batches: list[dict[str, torch.Tensor]], look: Look, *, skip: bool
) -> tuple[float, float, Spike | None]:
    """One update: loss, gradient norm, and what `look` says of them.

    skip: an update with a spike in any process is left out in all of them; else no number is waited for before the update.
    """
    loss, norm = _backward(accelerator, model, batches)
    spike = look(float(loss), float(norm)) if skip else None
    left_out = skip and in_any(spike is not None)
    for optimizer in optimizers:
        if not left_out:
            optimizer.step()
        optimizer.zero_grad()
    return float(loss), float(norm), spike if skip else look(float(loss), float(norm))


def _backward(accelerator: Accelerator, model: torch.nn.Module, batches: list[dict[str, torch.Tensor]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss, and norm of all gradients before they are clipped, as every process sees them.

    The loss is the mean over the target tokens of all batches of all processes, so that it does not hang on how a step is cut.
    """
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
    return accelerator.reduce(loss_sum, "mean"), whole(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM))


def _look(curve: Sequence[Step], watch: Watch | None, places: np.ndarray) -> Look:
    """Tells whether the step after `curve` is a spike, by its loss and gradient norm."""
    if watch is None:
        return lambda loss, norm: None
    before = [(step.loss_nats, step.gradient_norm) for step in curve[-WINDOW:]]
    return lambda loss, norm: find_spike(watch, before, loss_nats=loss, gradient_norm=norm, step=len(curve) + 1, places=places.tolist())


def _cut(places: np.ndarray, size: int) -> list[np.ndarray]:
    """`places` in pieces of `size`."""
    return [places[at : at + size] for at in range(0, len(places), size)]
