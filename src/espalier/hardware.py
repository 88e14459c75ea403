"""What a student takes of a card's memory, and how much of a batch fits: arithmetic before the first step, checked against torch in tests/test_hardware.py.

Weights, gradients and optimizer state are fp32, the forward pass is autocast to bf16 or stays in fp32, attention is fused (no T x T matrix of scores is kept).
What is kept for the backward pass was counted with torch's saved-tensor hooks on transformers' Llama: `activation_bytes`.

Letters: d hidden width, f width of the SwiGLU block, T tokens a sequence, V vocabulary.
"""

import re
from dataclasses import dataclass, fields
from itertools import product

from espalier.sizes import Shape, count_parameters, layer_matrix_parameters

GIB = 2**30
FP32, BF16 = 4, 2
BYTES = {"fp32": FP32, "bf16": BF16}
RESERVED = GIB  # bytes of a card that are never ours: the CUDA context and what falls between blocks (an assumption, not measured)
SHARDINGS = ("ddp", "fsdp")
LOGITS = {"bf16": 12, "fp32": 16}  # bytes a token and word: logits, their fp32 log-softmax, and the gradient of both while the loss goes backward
# TFLOP/s of dense matrix products in bf16 (sums in fp32) and fp32 (no TF32), by a part of the name that CUDA gives the card; the first that fits counts.
# Source: NVIDIA's architecture white papers (Ampere GA102, Ada, Blackwell) and data sheets, at boost clock and without sparsity.
PEAK_TFLOPS = {
    "RTX 3090": (71.0, 35.6),
    "RTX 4090": (165.2, 82.6),
    "RTX 5090": (209.5, 104.8),
    "A100": (312.0, 19.5),
    "H100 PCIe": (756.0, 51.0),
    "H100 NVL": (835.0, 60.0),
    "H100": (989.4, 66.9),
    "H200": (989.4, 66.9),
    "L40S": (362.0, 91.6),
    "NVIDIA L4": (121.0, 30.3),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one card at the peak of a step. copies: weights in bf16 for the forward pass; exchange: what the cards send each other."""

    weights: int
    gradients: int
    optimizer: int
    copies: int
    exchange: int
    activations: int
    logits: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, slots=True)
class Fit:
    """What one way of training does with a card. micro_batch: the most sequences that fit, 0 for none; memory: of these, or of one sequence when none fits."""

    sharding: str
    checkpointing: bool
    micro_batch: int
    memory: Memory


def known_peak(card: str, precision: str) -> float:
    """FLOP/s that a card can do at most in fp32 or bf16 matrix products, by the makers' tables; 0 for a card that is in none.

    >>> known_peak("NVIDIA GeForce RTX 4090", "fp32"), known_peak("NVIDIA H100 80GB HBM3", "bf16"), known_peak("NVIDIA GeForce RTX 4090 D", "bf16")
    (82600000000000.0, 989400000000000.0, 0.0)
    """
    bf16, fp32 = next((peaks for name, peaks in PEAK_TFLOPS.items() if re.search(rf"{name}(?! (Ti|D|Laptop))\b", card)), (0.0, 0.0))
    return float(round(1e12 * (bf16 if precision == "bf16" else fp32)))


def step_memory(
    shape: Shape,
    vocabulary: int,
    *,
    micro_batch: int,
    sequence: int,
    processes: int,
    sharding: str,
    checkpointing: bool,
    precision: str = "bf16",
    packed: bool = False,
) -> Memory:
    """The memory of a step of `micro_batch` sequences of `sequence` tokens on each of `processes` cards.

    packed: sequences hold several documents that are kept apart, which costs a mask in every layer.
    ddp: every card holds everything, and buckets as large as the gradients when there are several (torch's DistributedDataParallel). fsdp: a card holds its
    part, and of one layer at a time the whole. Muon keeps one number for a weight of a matrix in the layers, AdamW two for every other.
    """
    every, inside = count_parameters(shape, vocabulary), shape.layers * layer_matrix_parameters(shape)
    parts = processes if sharding == "fsdp" else 1
    whole = max(layer_matrix_parameters(shape), vocabulary * shape.hidden)  # the largest unit that is gathered
    tokens = micro_batch * sequence
    return Memory(
        weights=FP32 * every // parts,
        gradients=FP32 * every // parts,
        optimizer=FP32 * (inside + 2 * (every - inside)) // parts,
        copies=0 if precision == "fp32" else BF16 * (every if sharding == "ddp" else 2 * whole),
        exchange=0 if processes == 1 else FP32 * (every if sharding == "ddp" else whole),
        activations=tokens * activation_bytes(shape, checkpointing=checkpointing, precision=precision, mask_tokens=sequence if packed else 0),
        logits=tokens * vocabulary * LOGITS[precision],
    )


def activation_bytes(shape: Shape, *, checkpointing: bool, precision: str = "bf16", mask_tokens: int = 0) -> int:
    """Bytes a token that all layers keep for the backward pass.

    checkpointing: a layer keeps its input alone (4 d), and one layer at a time is computed again. Source: Chen et al. 2016, arXiv 1604.06174.
    mask_tokens: tokens of a sequence whose documents are kept apart; every layer then keeps the mask's line of T numbers, and keys and values once a query head
    (with a mask transformers' SDPA repeats them). 0 without a mask.
    """
    d, f, width, size = shape.hidden, shape.feed_forward, shape.head * shape.key_value_heads, BYTES[precision]
    layer = (32 * d + 16 * f + 8 * width if precision == "fp32" else 30 * d + 8 * f + 4 * width) + 4 * shape.heads + 8
    layer += size * (mask_tokens + 2 * (d - width)) if mask_tokens else 0
    return FP32 * shape.hidden * shape.layers + layer if checkpointing else layer * shape.layers


def fits(shape: Shape, vocabulary: int, *, sequence: int, processes: int, card_bytes: int) -> list[Fit]:
    """How each way of training on packed sequences in bf16 fills a card: ddp and fsdp, without and with gradient checkpointing."""
    found = []
    for sharding, checkpointing in product(SHARDINGS if processes > 1 else SHARDINGS[:1], (False, True)):
        way = {"sequence": sequence, "processes": processes, "sharding": sharding, "checkpointing": checkpointing, "packed": True}
        none, one = (step_memory(shape, vocabulary, micro_batch=n, **way) for n in (0, 1))
        n = most_sequences(none.total, one.total, card_bytes)
        found.append(Fit(sharding, checkpointing, n, step_memory(shape, vocabulary, micro_batch=max(n, 1), **way)))
    return found


def most_sequences(none_bytes: int, one_bytes: int, card_bytes: int) -> int:
    """How many sequences fit a card at a time, given what a step takes with none and with one."""
    return max((card_bytes - RESERVED - none_bytes) // (one_bytes - none_bytes), 0)
