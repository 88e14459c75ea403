"""Causal attention on the CPU with its backward pass, for the training pass of fused.py.

In fp32 by the library's flash kernel. In bf16 that is slow (its backward pass took a third of a step), so scores are made for as many sequences at a time
as stay in the processor's cache, and made again for the backward pass: nothing of size T x T is kept, unless all of it is one such tile.
Source: arXiv 2205.14135, section 3 (tiles).
Letters: B sequences, T tokens of each, H heads, K key-value heads, h dimensions of a head.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

CACHE_BYTES = 4 << 20  # of scores at a time

_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def packed_mask(position_ids: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, 1, T, T), or (1, 1, T, T) where every sequence is one document: 0 where a token sees another, -inf elsewhere. Documents begin at position 0."""
    documents = (position_ids == 0).cumsum(1)
    if bool((documents[:, -1] == documents[:, 0]).all()):
        documents = documents[:1]
    sees = (documents[:, :, None] == documents[:, None]).tril()
    return torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, -torch.inf)[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
    """q (B, H, T, h), k and v (B, K, T, h) -> (B, H, T, h), and what `attend_backward` takes beside it."""
    k, v = _spread(k, q), _spread(v, q)
    if q.dtype == torch.float32:
        return _flash(q, k, v, 0.0, False, attn_mask=mask)
    made, tiles = torch.empty(q.shape, dtype=q.dtype), list(_tiles(q))
    for rows in tiles:
        shares = _shares(q[rows], k[rows], _of(mask, rows))
        torch.matmul(shares, v[rows], out=made[rows])
    return made, shares if len(tiles) == 1 else None


def attend_backward(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, made: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of q, k and v from that of what `attend` made."""
    few, k, v = k.shape[1], _spread(k, q), _spread(v, q)
    if q.dtype == torch.float32:
        d_q, d_k, d_v = _flash_backward(grad, q, k, v, made, kept, 0.0, False, attn_mask=mask)
    else:
        d_q, d_k, d_v = (torch.empty(q.shape, dtype=q.dtype) for _ in range(3))
        scale = q.shape[-1] ** -0.5
        for rows in _tiles(q):
            shares = _shares(q[rows], k[rows], _of(mask, rows)) if kept is None else kept
            torch.matmul(shares.mT, grad[rows], out=d_v[rows])
            d_scores = torch._softmax_backward_data(grad[rows] @ v[rows].mT, shares, -1, shares.dtype)
            torch.matmul(d_scores, k[rows], out=d_q[rows]).mul_(scale)
            torch.matmul(d_scores.mT, q[rows], out=d_k[rows]).mul_(scale)
    return d_q, _gather(d_k, few), _gather(d_v, few)


def _shares(q: Tensor, k: Tensor, mask: Tensor) -> Tensor:
    """(b, H, T, T) for b sequences: how much each token takes of each other, 0..1."""
    return (q * q.shape[-1] ** -0.5 @ k.mT).add_(mask).softmax(-1)


def _tiles(q: Tensor) -> Iterator[slice]:
    """As many sequences at a time as have at most CACHE_BYTES of scores, and at least one."""
    sequence_bytes = q.shape[1] * q.shape[2] ** 2 * q.element_size()
    size = max(CACHE_BYTES // sequence_bytes, 1)
    return (slice(at, at + size) for at in range(0, len(q), size))


def _of(mask: Tensor, rows: slice) -> Tensor:
    return mask[rows] if len(mask) > 1 else mask


def _spread(few: Tensor, many: Tensor) -> Tensor:
    """Keys or values of K heads for queries of H: each serves neighbours."""
    times = many.shape[1] // few.shape[1]
    return few.repeat_interleave(times, 1) if times > 1 else few


def _gather(many: Tensor, few: int) -> Tensor:
    """The gradient of `_spread`."""
    return many.unflatten(1, (few, -1)).sum(2) if many.shape[1] > few else many
