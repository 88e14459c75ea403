"""How many rows fit into a model at a time.

A row takes, in bytes, with n bytes a number (4 in fp32, 2 in bf16):
    to be answered   2 x n x (layers + 1) x key-value heads x head dimensions x (prompt + reply)      keys and values; one layer's twice while rows leave
                     + n x (4 x width + 3 x feed-forward) x prompt                                    while its prompt is read
                     + 48 x vocabulary                                                                while its next id is drawn
    to be scored     (n x (4 x width + 3 x feed-forward) + (n + 8) x vocabulary) x (prompt + reply)
and rows may take a share of the memory that is free: the rest is for what the sums leave out (masks, pieces that fit nowhere, other programs).
"""

from dataclasses import dataclass

import psutil
import torch
from transformers import PreTrainedModel

SHARES = {"cpu": 0.5, "cuda": 0.8}  # of the free memory; other programs live in a computer's too
MOST = {"cpu": 512, "cuda": 4096}  # on the CPU 256 to 1,024 are as fast, 2,000 a fifth slower (LOG.md)
DRAWING = 48  # bytes for each id of the vocabulary: logits, log-probabilities, shares, their order and sums


@dataclass(frozen=True, slots=True)
class Sizes:
    """What decides the memory of a row. number: bytes of one."""

    layers: int
    kv_heads: int
    dimensions: int
    width: int
    feed_forward: int
    vocabulary: int
    number: int


def sizes_of(model: PreTrainedModel) -> Sizes:
    """The sizes of a loaded model; where its config is silent, those of a plain transformer."""
    config = model.config.get_text_config()
    width, heads = config.hidden_size, config.num_attention_heads
    return Sizes(
        layers=config.num_hidden_layers,
        kv_heads=getattr(config, "num_key_value_heads", None) or heads,
        dimensions=getattr(config, "head_dim", None) or width // heads,
        width=width,
        feed_forward=getattr(config, "intermediate_size", None) or 4 * width,
        vocabulary=config.vocab_size,
        number=model.dtype.itemsize,
    )


def answered_bytes(sizes: Sizes, *, prompt: int, reply: int) -> int:
    """Memory for a row with a prompt and a reply of that many tokens."""
    keys = 2 * sizes.number * (sizes.layers + 1) * sizes.kv_heads * sizes.dimensions * (prompt + reply)
    return keys + _read_bytes(sizes) * prompt + DRAWING * sizes.vocabulary


def scored_bytes(sizes: Sizes, *, tokens: int) -> int:
    """Memory for a row whose every token gets a likelihood."""
    return (_read_bytes(sizes) + (sizes.number + 8) * sizes.vocabulary) * tokens


def rows_that_fit(row_bytes: int, free_bytes: int, *, device: str) -> int:
    """How many rows to take at a time on a kind of device; at least 1, which may not fit."""
    return max(1, min(MOST[device], int(SHARES[device] * free_bytes) // row_bytes))


def free_bytes(device: torch.device) -> int:
    """The memory that is free now, with what torch holds and does not use."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return psutil.virtual_memory().available


def _read_bytes(sizes: Sizes) -> int:
    """A token on its way through a layer."""
    return sizes.number * (4 * sizes.width + 3 * sizes.feed_forward)
