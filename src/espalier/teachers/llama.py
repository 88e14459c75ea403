"""A lean decoder for Llama checkpoints: the library's logits, at a fraction of the time that its modules take around the arithmetic at small sizes.

Matrices that read the same input are one (the model's own become views of it), keys and values are written in place, prompts are padded on the right and read
in pieces that stay in the processor's cache, and of the last layer only each prompt's last token is computed (its keys and values apart).
Shapes: B rows, U different prompts, T tokens of the longest prompt of a piece, S places for keys, C width, H heads of D dimensions, K of them for keys and
values, V ids.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch.nn.functional import linear, pad, scaled_dot_product_attention, silu
from transformers import LlamaForCausalLM, PreTrainedModel

READ_TOKENS = {"cpu": 1024, "cuda": 32768}  # tokens of prompts in the model at a time; on the CPU more spill out of its cache (LOG.md)
STATIC_ROPE = ("default", "linear", "llama3")  # rotary tables that do not depend on the length of the text


@dataclass(frozen=True, slots=True)
class Layer:
    """The weights of one layer; qkv and gate_up are those of several matrices, one below the other."""

    norm: torch.Tensor
    qkv: torch.Tensor
    out: torch.Tensor
    mlp_norm: torch.Tensor
    gate_up: torch.Tensor
    down: torch.Tensor


def is_plain_llama(model: PreTrainedModel) -> bool:
    """Whether this module computes all that the model does."""
    config = model.config
    plain = type(model) is LlamaForCausalLM and config.hidden_act == "silu" and not config.attention_bias and not config.mlp_bias
    return plain and config.rope_parameters["rope_type"] in STATIC_ROPE


class LlamaDecoder:
    """Reads prompts and gives batches that go on from them; see teachers/decoders.py for the interface."""

    @torch.no_grad()
    def __init__(self, model: LlamaForCausalLM) -> None:
        """Shares the weights of `model`, which still works."""
        config = model.config
        self.heads, self.kv_heads, self.dimensions = config.num_attention_heads, config.num_key_value_heads, model.model.layers[0].self_attn.head_dim
        self.layers = [_layer(layer) for layer in model.model.layers]
        self.embedding, self.norm, self.head, self.epsilon = model.model.embed_tokens.weight, model.model.norm.weight, model.lm_head.weight, config.rms_norm_eps
        self._rotary = model.model.rotary_emb

    def read(self, prompts: Sequence[tuple[int, ...]], *, more: int, pad_id: int) -> "LlamaBatch":
        """A batch with each prompt read, equal neighbours once; room is kept for `more` ids a row."""
        return LlamaBatch(self, prompts, more=more, pad_id=pad_id)

    def tables(self, places: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The rotary cosines and sines (S, 1, D) of that many positions; the sines' first half is negative, as the halves trade places."""
        positions = torch.arange(places, device=self.embedding.device)[None]
        cos_1SD, sin_1SD = self._rotary(self.embedding, positions)
        half = self.dimensions // 2
        return cos_1SD[0, :, None], torch.cat([-sin_1SD[0, :, :half], sin_1SD[0, :, half:]], -1)[:, None]

    def project(self, layer: Layer, x_NC: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries (N, H, D), keys and values (N, K, D), turned to their positions, which repeat after len(cos). Source: RoPE, arXiv 2104.09864, equation 34."""
        qkv = linear(self._scaled(x_NC, layer.norm), layer.qkv).view(-1, len(cos), self.heads + 2 * self.kv_heads, self.dimensions)
        qk, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], 2)
        qk = torch.addcmul(qk * cos, qk.roll(self.dimensions // 2, -1), sin)
        q, k = qk.split([self.heads, self.kv_heads], 2)
        return q.flatten(0, 1), k.flatten(0, 1), v.flatten(0, 1)

    def attend(self, q_NHD: torch.Tensor, keys_NKSD: torch.Tensor, values_NKSD: torch.Tensor, mask_NS: torch.Tensor) -> torch.Tensor:
        """What one token a row takes from the places that its mask shows; the heads that share keys are the queries of one attention."""
        q = q_NHD.view(len(q_NHD), self.kv_heads, -1, self.dimensions)
        return scaled_dot_product_attention(q, keys_NKSD, values_NKSD, attn_mask=mask_NS[:, None, None]).reshape(len(q_NHD), -1)

    def finish(self, layer: Layer, x_NC: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """The rest of a layer after its attention."""
        x_NC = torch.addmm(x_NC, attended, layer.out.t())
        gate, up = linear(self._scaled(x_NC, layer.mlp_norm), layer.gate_up).chunk(2, -1)
        return torch.addmm(x_NC, silu(gate, inplace=True).mul_(up), layer.down.t())

    def logits(self, x_NC: torch.Tensor) -> torch.Tensor:
        """The logits (N, V) after the last layer."""
        return linear(self._scaled(x_NC, self.norm), self.head)

    def _scaled(self, x_NC: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Rows divided by their root mean square. Source: RMSNorm, arXiv 1910.07467, equation 4."""
        mean_square = torch.linalg.vector_norm(x_NC, dim=-1, keepdim=True, dtype=torch.float32).square_().div_(x_NC.shape[1])
        return (x_NC * mean_square.add_(self.epsilon).rsqrt_()).to(x_NC.dtype).mul_(weight)


class LlamaBatch:
    """Rows with their keys and values, which end at the same place. logits_BV: those of the id that follows what a row holds so far."""

    def __init__(self, decoder: LlamaDecoder, prompts: Sequence[tuple[int, ...]], *, more: int, pad_id: int) -> None:
        """Read the prompts; see LlamaDecoder.read."""
        self._decoder, self._pad_id, like = decoder, pad_id, decoder.embedding
        self._lengths_B = torch.tensor([len(prompt) for prompt in prompts], device=like.device)
        self._seen = max(map(len, prompts))
        self._most = self._seen + more
        places_S = torch.arange(self._most, device=like.device)
        self._mask_BS = like.new_zeros(len(prompts), self._most).masked_fill_(places_S < self._seen - self._lengths_B[:, None], -torch.inf)
        self._cos, self._sin = decoder.tables(self._most)
        shape = (len(prompts), decoder.kv_heads, self._places(), decoder.dimensions)
        self._cache = [(like.new_empty(shape), like.new_empty(shape)) for _ in decoder.layers]
        read, at = [], 0
        for piece in _pieces([(prompt, len(list(same))) for prompt, same in groupby(prompts)], READ_TOKENS[like.device.type]):
            rows = sum(count for _, count in piece)
            read.append(self._read([prompt for prompt, _ in piece], [count for _, count in piece], slice(at, at + rows)))
            at += rows
        self.logits_BV = torch.cat(read)

    def step(self, ids_B: torch.Tensor) -> None:
        """Take one id for each row."""
        decoder, place = self._decoder, self._seen
        self._seen += 1
        if place == self._cache[0][0].shape[2]:
            more = self._places() - place
            self._move(lambda tensor: pad(tensor, (0, 0, 0, more)))
        mask, cos, sin = self._mask_BS[:, : self._seen], self._cos[self._lengths_B], self._sin[self._lengths_B]
        x_BC = decoder.embedding[ids_B]
        for layer, (keys, values) in zip(decoder.layers, self._cache, strict=True):
            q, keys[:, :, place], values[:, :, place] = decoder.project(layer, x_BC, cos, sin)
            x_BC = decoder.finish(layer, x_BC, decoder.attend(q, keys[:, :, : self._seen], values[:, :, : self._seen], mask))
        self._lengths_B = self._lengths_B + 1
        self.logits_BV = decoder.logits(x_BC)

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these."""
        self._move(lambda tensor: tensor[rows])
        self._mask_BS, self._lengths_B = self._mask_BS[rows], self._lengths_B[rows]

    def _move(self, move: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Put the keys and values elsewhere, one layer after the other: only one lies in memory twice."""
        for i, (keys, values) in enumerate(self._cache):
            self._cache[i] = move(keys), move(values)

    def _places(self) -> int:
        """How many places to have for keys: a quarter more than are taken, so that memory grows with the replies and keys are seldom moved."""
        return min(self._seen + self._seen // 4 + 8, self._most)

    def _read(self, prompts: Sequence[tuple[int, ...]], counts: Sequence[int], rows: slice) -> torch.Tensor:
        """Read different prompts, padded on the right, and move their keys to the places of their rows. Returns the rows' logits."""
        decoder, device, longest, start = self._decoder, self._mask_BS.device, max(map(len, prompts)), self._seen - max(map(len, prompts))
        size = (len(prompts), longest)
        ids_UT = torch.tensor([[*prompt, *[self._pad_id] * (longest - len(prompt))] for prompt in prompts], device=device)
        row_B = torch.repeat_interleave(torch.tensor(counts, device=device))
        places_T, lengths_B1 = torch.arange(longest, device=device), self._lengths_B[rows, None]
        moved_BT = row_B[:, None] * longest + (places_T - longest + lengths_B1).clamp(min=0)
        last_U = torch.tensor([row * longest + len(prompt) - 1 for row, prompt in enumerate(prompts)], device=device)
        x = decoder.embedding[ids_UT.view(-1)]
        for layer, cache in zip(decoder.layers, self._cache, strict=True):
            q, *parts = decoder.project(layer, x, self._cos[:longest], self._sin[:longest])
            for part, kept in zip(parts, cache, strict=True):
                kept[rows, :, :start] = 0
                kept[rows, :, start : self._seen] = part[moved_BT].transpose(1, 2)
            k, v = (part.unflatten(0, size).transpose(1, 2) for part in parts)
            if layer is decoder.layers[-1]:
                break
            attended = scaled_dot_product_attention(q.unflatten(0, size).transpose(1, 2), _repeated(k, q), _repeated(v, q), is_causal=True)
            x = decoder.finish(layer, x, attended.transpose(1, 2).reshape(len(x), -1))
        mask_UT = self._mask_BS.new_zeros(size).masked_fill_(places_T > (last_U % longest)[:, None], -torch.inf)
        return decoder.logits(decoder.finish(layer, x[last_U], decoder.attend(q[last_U], k, v, mask_UT)))[row_B]


def _layer(layer: torch.nn.Module) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    qkv, gate_up = _joined(attention.q_proj, attention.k_proj, attention.v_proj), _joined(mlp.gate_proj, mlp.up_proj)
    weights = qkv, attention.o_proj.weight, layer.post_attention_layernorm.weight, gate_up, mlp.down_proj.weight
    return Layer(layer.input_layernorm.weight, *weights)


def _joined(*matrices: torch.nn.Linear) -> torch.Tensor:
    """Their weights as one, which theirs become views of: nothing lies in memory twice."""
    joined = torch.cat([matrix.weight for matrix in matrices])
    for matrix, part in zip(matrices, joined.split([len(matrix.weight) for matrix in matrices]), strict=True):
        matrix.weight.data = part
    return joined


def _repeated(few: torch.Tensor, many: torch.Tensor) -> torch.Tensor:
    """Keys or values of K heads for queries of H."""
    times = many.shape[1] // few.shape[1]
    return few.repeat_interleave(times, 1) if times > 1 else few


def _pieces(prompts: Sequence[tuple[tuple[int, ...], int]], most: int) -> Iterator[list[tuple[tuple[int, ...], int]]]:
    """Neighbours that have at most `most` tokens together when they are padded to the longest; a longer prompt comes alone."""
    piece: list[tuple[tuple[int, ...], int]] = []
    longest = 0
    for prompt, count in prompts:
        longest = max(longest, len(prompt))
        if piece and (len(piece) + 1) * longest > most:
            yield piece
            piece, longest = [], len(prompt)
        piece.append((prompt, count))
    yield piece
