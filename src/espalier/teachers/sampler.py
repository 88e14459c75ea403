"""Batched sampling from a causal language model with a KV cache, and likelihoods of given replies.

The library's own generate() spends most of its time outside the model at these sizes. Here equal prompts are read once and shared, every row has its own
counter-based random numbers (so a row's reply does not depend on the order of the others), and finished rows leave the batch.
Shapes: B rows, U different prompts, T tokens of the longest prompt, V ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel


@dataclass(frozen=True, slots=True)
class Sampled:
    """A reply's ids without the end token; `ended` is false when max_tokens cut it off. logprob: sum over the ids and the end token, nats."""

    ids: list[int]
    ended: bool
    logprob: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """temperature 0 is greedy; top_p keeps the smallest set of ids with that probability; max_tokens counts the end token."""

    temperature: float
    top_p: float
    max_tokens: int
    end_id: int
    pad_id: int


@torch.inference_mode()
def sample(model: PreTrainedModel, prompts: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling, *, batch: int) -> list[Sampled]:
    """One reply for each (prompt, seed), in their order; rows of similar length go through the model together, `batch` at a time."""
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), tuple(prompts[i]), i))
    replies: list[Sampled | None] = [None] * len(prompts)
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        made = _sample_batch(model, [tuple(prompts[i]) for i in rows], [seeds[i] for i in rows], sampling)
        for i, reply in zip(rows, made, strict=True):
            replies[i] = reply
    return [reply for reply in replies if reply is not None]


@torch.inference_mode()
def log_likelihoods(model: PreTrainedModel, prompts: Sequence[Sequence[int]], replies: Sequence[Sequence[int]], *, pad_id: int, batch: int) -> list[float]:
    """The summed log-probability (nats) of each reply after its prompt."""
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]) + len(replies[i]), i))
    sums = [0.0] * len(prompts)
    for at in range(0, len(order), batch):
        rows = order[at : at + batch]
        texts = [[*prompts[i], *replies[i]] for i in rows]
        ids_BT, mask_BT = _padded(texts, pad_id, left=False, device=model.device)
        logits_BTV = model(input_ids=ids_BT, attention_mask=mask_BT).logits.float()
        logprobs_BT = torch.log_softmax(logits_BTV[:, :-1], -1).gather(-1, ids_BT[:, 1:, None])[..., 0]
        for row, i in enumerate(rows):
            sums[i] = float(logprobs_BT[row, len(prompts[i]) - 1 : len(texts[row]) - 1].sum())
    return sums


def _sample_batch(model: PreTrainedModel, prompts: list[tuple[int, ...]], seeds: list[int], sampling: Sampling) -> list[Sampled]:
    cache, logits_BV, mask_BT = _read(model, prompts, sampling.pad_id)
    alive = np.arange(len(prompts))
    seeds_B = np.asarray(seeds, dtype=np.uint64)
    ids: list[list[int]] = [[] for _ in prompts]
    logprobs = np.zeros(len(prompts))
    ended = np.zeros(len(prompts), dtype=bool)
    for place in range(sampling.max_tokens):
        chosen_B, logprobs_B = _choose(logits_BV, _uniform(seeds_B[alive], place), sampling)
        logprobs[alive] += logprobs_B
        done = chosen_B == sampling.end_id
        ended[alive[done]] = True
        for row, token in zip(alive[~done], chosen_B[~done], strict=True):
            ids[row].append(int(token))
        if done.all() or place + 1 == sampling.max_tokens:
            break
        if done.any():
            kept = torch.from_numpy(np.flatnonzero(~done)).to(mask_BT.device)
            cache.batch_select_indices(kept)
            mask_BT, alive, chosen_B = mask_BT[kept], alive[~done], chosen_B[~done]
        mask_BT = torch.cat([mask_BT, mask_BT.new_ones(len(alive), 1)], 1)
        output = model(
            input_ids=torch.from_numpy(chosen_B)[:, None].to(mask_BT.device),
            attention_mask=mask_BT,
            position_ids=mask_BT.sum(1, keepdim=True) - 1,
            past_key_values=cache,
            use_cache=True,
        )
        logits_BV = output.logits[:, -1]
    return [Sampled(*row) for row in zip(ids, map(bool, ended), map(float, logprobs), strict=True)]


def _read(model: PreTrainedModel, prompts: list[tuple[int, ...]], pad_id: int) -> tuple[DynamicCache, torch.Tensor, torch.Tensor]:
    """Read every different prompt once and hand each row its share: cache, logits_BV, mask_BT."""
    different = sorted(set(prompts))
    place = {prompt: row for row, prompt in enumerate(different)}
    ids_UT, mask_UT = _padded(different, pad_id, left=True, device=model.device)
    positions_UT = (mask_UT.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    output = model(input_ids=ids_UT, attention_mask=mask_UT, position_ids=positions_UT, past_key_values=cache, use_cache=True, logits_to_keep=1)
    rows_B = torch.tensor([place[prompt] for prompt in prompts], device=ids_UT.device)
    cache.batch_select_indices(rows_B)
    return cache, output.logits[:, -1][rows_B], mask_UT[rows_B]


def _choose(logits_BV: torch.Tensor, uniform_B: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """The next id of every row, and its log-probability at temperature 1."""
    logprobs_BV = torch.log_softmax(logits_BV.float(), -1)
    if sampling.temperature == 0:
        chosen_B = logprobs_BV.argmax(-1)
    else:
        shares_BV = torch.softmax(logits_BV.double() / sampling.temperature, -1)
        if sampling.top_p < 1:
            shares_BV = _nucleus(shares_BV, sampling.top_p)
        sums_BV = shares_BV.cumsum(-1)
        wanted_B1 = torch.from_numpy(uniform_B).to(sums_BV.device)[:, None] * sums_BV[:, -1:]
        chosen_B = torch.searchsorted(sums_BV, wanted_B1, right=True)[:, 0].clamp(max=logits_BV.shape[1] - 1)
    return chosen_B.cpu().numpy(), logprobs_BV.gather(-1, chosen_B[:, None])[:, 0].cpu().numpy()


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


def _padded(texts: Sequence[Sequence[int]], pad_id: int, *, left: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (1 = a real token), both (rows, longest)."""
    longest = max(map(len, texts))
    ids, mask = np.full((len(texts), longest), pad_id, dtype=np.int64), np.zeros((len(texts), longest), dtype=np.int64)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), longest) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
