"""What the sampler asks of a model: read prompts, then take one id a row at a time. Any causal language model offers it; Llamas have a lean way of their own.

Shapes: B rows, U different prompts, T tokens of the longest prompt, V ids.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

import numpy as np
import torch
from transformers import DynamicCache, PreTrainedModel

from espalier.teachers.llama import LlamaDecoder, is_plain_llama


class Batch(Protocol):
    """Rows in the model. logits_BV: those of the id that follows what a row holds so far."""

    logits_BV: torch.Tensor

    def step(self, ids_B: torch.Tensor) -> None:
        """Take one id for each row."""

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all rows but these; logits_BV is that of the last step."""


class Decoder(Protocol):
    """A model that makes such batches."""

    def read(self, prompts: Sequence[tuple[int, ...]], *, more: int, pad_id: int) -> Batch:
        """A batch with each prompt read; equal prompts that are neighbours are read once. At most `more` ids are taken for a row."""


def decoder_of(model: PreTrainedModel) -> Decoder:
    """The leanest decoder that computes what the model does."""
    return LlamaDecoder(model) if is_plain_llama(model) else LibraryDecoder(model)


class LibraryDecoder:
    """A model called as it is."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model

    def read(self, prompts: Sequence[tuple[int, ...]], *, more: int, pad_id: int) -> "LibraryBatch":
        """See Decoder; memory grows with the ids that are taken."""
        return LibraryBatch(self._model, prompts, pad_id=pad_id)


class LibraryBatch:
    """Rows in the library's own cache, padded on the left."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[tuple[int, ...]], *, pad_id: int) -> None:
        """Read the prompts; see Decoder.read."""
        self._model, self._cache = model, DynamicCache(config=model.config)
        different = [(prompt, len(list(same))) for prompt, same in groupby(prompts)]
        ids_UT, mask_UT = padded([prompt for prompt, _ in different], pad_id, left=True, device=model.device)
        logits_UV = self._run(ids_UT, mask_UT, (mask_UT.cumsum(1) - 1).clamp(min=0))
        rows = torch.repeat_interleave(torch.tensor([count for _, count in different], device=model.device))
        self._cache.batch_select_indices(rows)
        self.logits_BV, self._mask_BT = logits_UV[rows], mask_UT[rows]

    def step(self, ids_B: torch.Tensor) -> None:
        """See Batch."""
        self._mask_BT = torch.cat([self._mask_BT, self._mask_BT.new_ones(len(ids_B), 1)], 1)
        self.logits_BV = self._run(ids_B[:, None], self._mask_BT, self._mask_BT.sum(1, keepdim=True) - 1)

    def keep(self, rows: torch.Tensor) -> None:
        """See Batch."""
        self._cache.batch_select_indices(rows)
        self._mask_BT = self._mask_BT[rows]

    def _run(self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=self._cache, use_cache=True, logits_to_keep=1
        )
        return output.logits[:, -1]


def padded(texts: Sequence[Sequence[int]], pad_id: int, *, left: bool, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask (1 = a real token), both (rows, longest)."""
    longest = max(map(len, texts))
    ids, mask = np.full((len(texts), longest), pad_id, dtype=np.int64), np.zeros((len(texts), longest), dtype=np.int64)
    for row, text in enumerate(texts):
        place = slice(longest - len(text), longest) if left else slice(0, len(text))
        ids[row, place], mask[row, place] = text, 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)
