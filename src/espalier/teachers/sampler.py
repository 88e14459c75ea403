"""Batched sampling from a causal language model, and likelihoods of given replies.

The library's own generate() spends most of its time outside the model at these sizes. Here equal prompts are read once and shared, every row has its own
counter-based random numbers (so a row's reply does not depend on the order of the others), and finished rows leave the batch.
Shapes: B rows, T tokens of the longest text or steps of the longest reply, V ids.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import PreTrainedModel

from espalier.teachers.base import never
from espalier.teachers.decoders import Decoder, padded

LEAVING = 8  # finished rows leave when they are an eighth of the batch; a quarter, a sixteenth or at once are as fast (LOG.md)


@dataclass(frozen=True, slots=True)
class Sampled:
    """A reply's ids without the end token; `ended` is false when its limit cut it off. logprob: sum over the ids and the end token, nats."""

    ids: list[int]
    ended: bool
    logprob: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature 0 is greedy; top_p keeps the smallest set of ids with that probability.

    max_tokens: longest reply, the end token included; context_tokens: longest prompt and reply together; end_ids: each of them ends a reply.
    """

    temperature: float
    top_p: float
    max_tokens: int
    context_tokens: int
    end_ids: tuple[int, ...]
    pad_id: int


@torch.inference_mode()
def sample(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    seeds: Sequence[int],
    sampling: Sampling,
    *,
    batch: int,
    stop: Callable[[], bool] = never,
) -> list[Sampled | None]:
    """One reply for each (prompt, seed), in their order; rows of similar length go through the model together, `batch` at a time.

    Every prompt must leave room for one id in the context. None for those of the batches that were not begun because `stop()` was true; what is left makes
    the same batches when it is asked alone.
    """
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), tuple(prompts[i]), i))
    replies: list[Sampled | None] = [None] * len(prompts)
    for at in range(0, len(order), batch):
        if stop():
            break
        rows = order[at : at + batch]
        made = _sample_batch(decoder, [tuple(prompts[i]) for i in rows], [seeds[i] for i in rows], sampling)
        for i, reply in zip(rows, made, strict=True):
            replies[i] = reply
    return replies


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], *, pad_id: int, batch: int) -> list[float]:
    """The summed log-probability (nats) of each reply after its prompt."""
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]) + len(replies[i]), i))
    sums = [0.0] * len(prompts)
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        texts = [[*prompts[i], *replies[i]] for i in rows]
        ids_BT, mask_BT = padded(texts, pad_id, left=False, device=model.device)
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits.float()
        logprobs_BT = torch.log_softmax(logits_BTV[:, :-1], -1).gather(-1, ids_BT[:, 1:, None])[..., 0]
        for row, i in enumerate(rows):
            sums[i] = float(logprobs_BT[row, len(prompts[i]) - 1 : len(texts[row]) - 1].sum())
    return sums


def _sample_batch(decoder: Decoder, prompts: list[tuple[int, ...]], seeds: list[int], sampling: Sampling) -> list[Sampled]:
    limits_B = np.minimum(sampling.context_tokens - np.array(list(map(len, prompts))), sampling.max_tokens)
    ids_BT = np.zeros((len(prompts), limits_B.max()), dtype=np.int64)
    lengths_B, ended_B, logprobs_B = np.zeros(len(prompts), dtype=np.int64), np.zeros(len(prompts), dtype=bool), np.zeros(len(prompts))
    open_B, seeds_B = np.ones(len(prompts), dtype=bool), np.asarray(seeds, dtype=np.uint64)
    rows = np.arange(len(prompts))  # those in the model, some finished ones among them
    batch = decoder.read(prompts, more=ids_BT.shape[1] - 1, pad_id=sampling.pad_id)
    for place in range(ids_BT.shape[1]):
        chosen, chances = _choose(batch.logits_BV, _uniform(seeds_B[rows], place), sampling)
        ids_BT[rows, place] = ids = chosen.cpu().numpy()
        logprobs_B[rows] += np.where(open_B[rows], chances.cpu().numpy(), 0)
        ended_B[rows] |= open_B[rows] & np.isin(ids, sampling.end_ids)
        lengths_B += open_B & ~ended_B
        open_B &= ~ended_B & (place + 1 < limits_B)
        going = np.flatnonzero(open_B[rows])
        if not len(going):
            break
        if (len(rows) - len(going)) * LEAVING >= len(rows):
            kept = torch.from_numpy(going).to(chosen.device)
            batch.keep(kept)
            rows, chosen = rows[going], chosen[kept]
        batch.step(chosen)
    return [Sampled(ids[:n], *row) for ids, n, *row in zip(ids_BT.tolist(), lengths_B, ended_B.tolist(), logprobs_B.tolist(), strict=True)]


def _choose(logits_BV: torch.Tensor, uniform_B: np.ndarray, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The next id of every row, and its log-probability at temperature 1."""
    logprobs_BV = torch.log_softmax(logits_BV.float(), -1)
    if sampling.temperature == 0:
        chosen_B = logprobs_BV.argmax(-1)
    else:
        shares_BV = torch.softmax(logits_BV.float() / sampling.temperature, -1)
        if sampling.top_p < 1:
            shares_BV = _nucleus(shares_BV, sampling.top_p)
        sums_BV = shares_BV.cumsum(-1, dtype=torch.float64)  # in fp32 the sum over a large vocabulary would swallow its rare ids
        wanted_B1 = torch.from_numpy(uniform_B).to(sums_BV.device)[:, None] * sums_BV[:, -1:]
        chosen_B = torch.searchsorted(sums_BV, wanted_B1, right=True)[:, 0].clamp(max=logits_BV.shape[1] - 1)
    return chosen_B, logprobs_BV.gather(-1, chosen_B[:, None])[:, 0]


def _nucleus(shares_BV: torch.Tensor, top_p: float) -> torch.Tensor:
    """Zero for all ids but the likeliest ones that reach `top_p` together. Source: arXiv 1904.09751, section 3.1."""
    ordered_BV, order_BV = shares_BV.sort(-1, descending=True)
    ordered_BV[ordered_BV.cumsum(-1) - ordered_BV >= top_p] = 0
    return torch.zeros_like(shares_BV).scatter_(-1, order_BV, ordered_BV)


def _uniform(seeds_B: np.ndarray, place: int) -> np.ndarray:
    """A number in 0..1 for each seed and place: splitmix64, a counter-based generator. Source: Steele et al., OOPSLA 2014, figure 16."""
    golden, first, second = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
    with np.errstate(over="ignore"):
        z_B = seeds_B + golden * np.uint64(place + 1)
        z_B = (z_B ^ (z_B >> np.uint64(30))) * first
        z_B = (z_B ^ (z_B >> np.uint64(27))) * second
    return ((z_B ^ (z_B >> np.uint64(31))) >> np.uint64(11)).astype(np.float64) * 2.0**-53
