"""What a student takes of a card's memory, and how much of a batch fits: arithmetic before the first step, checked against torch in tests/test_hardware.py.

Weights, gradients and optimizer state are fp32, the forward pass is autocast to bf16, attention is fused (no T x T matrix of scores is kept). What is kept for
the backward pass was counted with torch's saved-tensor hooks on transformers' Llama: `activation_bytes`.

Letters: d hidden width, f width of the SwiGLU block, T tokens a sequence, V vocabulary.
"""

from dataclasses import dataclass, fields
from itertools import product

from espalier.sizes import Shape, count_parameters, layer_matrix_parameters

GIB = 2**30
FP32, BF16 = 4, 2
RESERVED = GIB  # bytes of a card that are never ours: the CUDA context and what falls between blocks (an assumption, not measured)
SHARDINGS = ("ddp", "fsdp")
LOGITS = 12  # bytes a token and word: bf16 logits, their fp32 log-softmax, and the gradient in both while the loss goes backward


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


def step_memory(shape: Shape, vocabulary: int, *, micro_batch: int, sequence: int, processes: int, sharding: str, checkpointing: bool) -> Memory:
    """The memory of a step of `micro_batch` sequences of `sequence` tokens on each of `processes` cards.

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
        copies=BF16 * (every if sharding == "ddp" else 2 * whole),
        exchange=0 if processes == 1 else FP32 * (every if sharding == "ddp" else whole),
        activations=tokens * activation_bytes(shape, checkpointing=checkpointing),
        logits=tokens * vocabulary * LOGITS,
    )


def activation_bytes(shape: Shape, *, checkpointing: bool) -> int:
    """Bytes a token that all layers keep for the backward pass.

    checkpointing: a layer keeps its input alone (4 d), and one layer at a time is computed again. Source: Chen et al. 2016, arXiv 1604.06174.
    """
    width = shape.head * shape.key_value_heads
    layer = 30 * shape.hidden + 8 * shape.feed_forward + 4 * width + 4 * shape.heads + 8
    return FP32 * shape.hidden * shape.layers + layer if checkpointing else layer * shape.layers


def fits(shape: Shape, vocabulary: int, *, sequence: int, processes: int, card_bytes: int) -> list[Fit]:
    """How each way of training fills a card: ddp and fsdp, without and with gradient checkpointing."""
    found = []
    for sharding, checkpointing in product(SHARDINGS if processes > 1 else SHARDINGS[:1], (False, True)):
        way = {"sequence": sequence, "processes": processes, "sharding": sharding, "checkpointing": checkpointing}
        none, one = (step_memory(shape, vocabulary, micro_batch=n, **way) for n in (0, 1))
        room = card_bytes - RESERVED - none.total
        n = max(room // (one.total - none.total), 0)
        found.append(Fit(sharding, checkpointing, n, step_memory(shape, vocabulary, micro_batch=max(n, 1), **way)))
    return found
