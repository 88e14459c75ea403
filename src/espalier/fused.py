"""The training pass of our Llamas in fewer trips to memory: what transformers' modules compute, from the same parameters, with a backward pass written out.

On a CPU half of a step through transformers' modules is elementwise work and casts. Here queries, keys and values are one matrix product, gate and up another;
the residual stream is fp32 and all else has the precision of the run; a step's logits never exist at once, their gradient is made where they are (as in
Liger Kernel, arXiv 2410.10989, section 3.2).
Letters: B sequences, T tokens of each, N = B T, d width, f feed-forward width, H heads and K key-value heads of h dimensions, V ids.
"""

import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable
from torch.nn.functional import embedding, silu
from transformers import LlamaForCausalLM
from transformers.modeling_outputs import CausalLMOutput

from espalier.attention import attend, attend_backward, packed_mask

LOGIT_ROWS = 1024  # tokens whose logits are held at a time
IGNORED = -100  # the label that the loss leaves out


@contextmanager
def fused(model: LlamaForCausalLM, dtype: torch.dtype) -> Iterator[None]:
    """While it lasts a call of `model` gives the loss alone and takes this pass. dtype: of the matrix products, fp32 or bf16. Only for the CPU."""
    before = vars(model).get("forward")  # accelerate's, with its autocast
    model.forward = types.MethodType(lambda self, **batch: _forward(self, dtype, **batch), model)
    try:
        yield
    finally:
        del model.forward
        if before is not None:
            model.forward = before


def last_hidden(model: LlamaForCausalLM, input_ids: Tensor, position_ids: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, T) ids -> (B, T, d), the state whose product with the embedding is the logits. Documents begin at position 0 and see none but themselves."""
    config, core = model.config, model.model
    x = embedding(input_ids, core.embed_tokens.weight, core.padding_idx)
    cos, sin = (table[:, :, None].to(dtype) for table in core.rotary_emb(x, position_ids))
    one, two = sin.chunk(2, -1)
    turned = config.num_attention_heads + config.num_key_value_heads
    tables = (table.expand(-1, -1, turned, -1).contiguous() for table in (cos, torch.cat([-one, two], -1)))  # for every head, so that no inner loop is short
    shared = _Shared(*tables, packed_mask(position_ids, dtype), config.num_attention_heads, config.num_key_value_heads, config.rms_norm_eps, dtype)
    for layer in core.layers:
        mix, mlp = layer.self_attn, layer.mlp
        qkv, out = _joined(dtype, mix.q_proj, mix.k_proj, mix.v_proj), _joined(dtype, mix.o_proj)
        gate_up, down = _joined(dtype, mlp.gate_proj, mlp.up_proj), _joined(dtype, mlp.down_proj)
        x = _Layer.apply(x, shared, layer.input_layernorm.weight, qkv, out, layer.post_attention_layernorm.weight, gate_up, down)
    return _Norm.apply(x, core.norm.weight, shared)


def _forward(
    model: LlamaForCausalLM, dtype: torch.dtype, *, input_ids: Tensor, position_ids: Tensor, labels: Tensor, num_items_in_batch: Tensor | None = None, **_: Any
) -> CausalLMOutput:
    """The loss as transformers gives it: the sum over labels of the next token's cross-entropy, divided by num_items_in_batch (None: their number)."""
    with torch.autocast("cpu", enabled=False):
        hidden = last_hidden(model, input_ids, position_ids, dtype)[:, :-1].reshape(-1, model.config.hidden_size)
        wanted = labels[:, 1:].reshape(-1)
        count = (wanted != IGNORED).sum() if num_items_in_batch is None else num_items_in_batch
        return CausalLMOutput(loss=_CrossEntropy.apply(hidden, model.lm_head.weight.to(dtype), wanted) / count)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all layers take: rotary tables (B, T, H + K, h), the sines' first half negative, the mask, H, K, the norms' epsilon, the precision."""

    cos: Tensor
    sin: Tensor
    mask: Tensor
    heads: int
    kv_heads: int
    eps: float
    dtype: torch.dtype


class _Layer(Function):
    """One decoder layer, (B, T, d) fp32 -> (B, T, d) fp32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shared: _Shared, *weights: Tensor) -> Tensor:
        norm_one, qkv_weight, out, norm_two, gate_up_weight, down = weights
        size, turned = (*x.shape[:2], shared.heads + 2 * shared.kv_heads, -1), shared.heads + shared.kv_heads
        h_one, scale_one = _normalise(x.flatten(0, 1), norm_one, shared)
        qkv = (h_one @ qkv_weight.t()).view(size)
        qk = _rotate(qkv[:, :, :turned], shared)
        q, k, v = (part.transpose(1, 2) for part in (qk[:, :, : shared.heads], qk[:, :, shared.heads :], qkv[:, :, turned:]))
        attended, sums = attend(q, k, v, shared.mask)
        mixed = attended.transpose(1, 2).reshape(len(h_one), -1)
        between = x + (mixed @ out.t()).view_as(x)
        h_two, scale_two = _normalise(between.flatten(0, 1), norm_two, shared)
        gate_up = h_two @ gate_up_weight.t()
        gate, up = gate_up.chunk(2, -1)
        opened = silu(gate)
        inner = opened * up
        ctx.shared = shared
        ctx.save_for_backward(*weights, x, h_one, scale_one, q, k, v, attended, sums, mixed, between, h_two, scale_two, gate_up, opened, inner)
        return between + (inner @ down.t()).view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        norm_one, qkv_weight, out, norm_two, gate_up_weight, down, *made = ctx.saved_tensors
        x, h_one, scale_one, q, k, v, attended, sums, mixed, between, h_two, scale_two, gate_up, opened, inner = made
        shared = ctx.shared
        batch, length, width = x.shape
        dx = grad.reshape(-1, width).clone()

        above = dx.to(shared.dtype)
        d_down, d_inner = above.t() @ inner, above @ down
        d_gate_up = torch.empty_like(gate_up)
        (gate, up), (d_gate, d_up) = gate_up.chunk(2, -1), d_gate_up.chunk(2, -1)
        torch.mul(d_inner, opened, out=d_up)
        torch.ops.aten.silu_backward.grad_input(d_inner.mul_(up), gate, grad_input=d_gate)
        d_gate_up_weight = d_gate_up.t() @ h_two
        d_norm_two = _normalise_backward(d_gate_up @ gate_up_weight, between.view(-1, width), scale_two, norm_two, onto=dx)

        above = dx.to(shared.dtype)
        d_out, d_mixed = above.t() @ mixed, (above @ out).view(batch, length, shared.heads, -1).transpose(1, 2)
        d_q, d_k, d_v = attend_backward(d_mixed, q, k, v, shared.mask, attended, sums)
        d_qk = torch.cat([d_q.transpose(1, 2), d_k.transpose(1, 2)], 2)
        d_qkv = torch.cat([_rotate(d_qk, shared, back=True), d_v.transpose(1, 2)], 2).view(len(h_one), -1)
        d_qkv_weight = d_qkv.t() @ h_one
        d_norm_one = _normalise_backward(d_qkv @ qkv_weight, x.view(-1, width), scale_one, norm_one, onto=dx)
        return dx.view_as(x), None, d_norm_one, d_qkv_weight, d_out, d_norm_two, d_gate_up_weight, d_down


class _Norm(Function):
    """RMSNorm, (B, T, d) fp32 -> (B, T, d) in the precision of the run."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, shared: _Shared) -> Tensor:
        flat = x.flatten(0, 1)
        h, scale = _normalise(flat, weight, shared)
        ctx.save_for_backward(flat, weight, scale)
        return h.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        dx = torch.zeros_like(x)
        d_weight = _normalise_backward(grad.flatten(0, 1), x, scale, weight, onto=dx)
        return dx.view_as(grad), d_weight, None


class _CrossEntropy(Function):
    """(N, d) states, (V, d) head, (N,) labels -> the sum over labels in nats. Both gradients are made on the way, some rows of logits at a time."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
        d_hidden, d_head, total = torch.empty_like(hidden), torch.zeros(head.shape), torch.zeros(())
        for at in range(0, len(hidden), LOGIT_ROWS):
            rows, wanted = hidden[at : at + LOGIT_ROWS], labels[at : at + LOGIT_ROWS]
            counted, place = (wanted != IGNORED)[:, None], wanted.clamp(min=0)[:, None]
            logprobs = (rows @ head.t()).log_softmax(-1, dtype=torch.float32)
            total -= (logprobs.gather(1, place) * counted).sum()
            shares = logprobs.exp_().mul_(counted)
            d_logits = shares.scatter_add_(1, place, -counted.float()).to(hidden.dtype)
            torch.mm(d_logits, head, out=d_hidden[at : at + LOGIT_ROWS])
            d_head += d_logits.t() @ rows
        ctx.save_for_backward(d_hidden, d_head.to(head.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden, d_head = ctx.saved_tensors
        return d_hidden * grad, d_head * grad, None


def _joined(dtype: torch.dtype, *matrices: torch.nn.Linear) -> Tensor:
    """Their weights, one below the other."""
    return torch.cat([matrix.weight for matrix in matrices]).to(dtype)


def _normalise(x: Tensor, weight: Tensor, shared: _Shared) -> tuple[Tensor, Tensor]:
    """(N, d) rows over their root mean square, times `weight`, and their scale before that (N, 1). Source: RMSNorm, arXiv 1910.07467, equation 4."""
    scale = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(shared.eps).rsqrt_()
    return (x * scale).mul_(weight).to(shared.dtype), scale


def _normalise_backward(grad: Tensor, x: Tensor, scale: Tensor, weight: Tensor, *, onto: Tensor) -> Tensor:
    """Adds the gradient of x to `onto`, in place, and gives that of the weight."""
    grad, normal = grad.float(), x * scale
    d_weight = (grad * normal).t() @ grad.new_ones(len(grad))  # the library's sum over rows is ten times slower
    grad = grad * weight
    along = torch.linalg.vecdot(grad, normal).div_(x.shape[-1])[:, None]
    onto.add_(grad.addcmul_(normal, along, value=-1).mul_(scale))
    return d_weight


def _rotate(x: Tensor, shared: _Shared, *, back: bool = False) -> Tensor:
    """(B, T, H + K, h) turned to its positions, or back. Source: RoPE, arXiv 2104.09864, equation 34; a head's halves are the pairs, as in transformers."""
    return (x * shared.cos).addcmul_(x.roll(x.shape[-1] // 2, -1), shared.sin, value=-1 if back else 1)
