"""The engine `hf`: a model of ours through transformers, on the CPU or a GPU (bf16 there)."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from espalier.heap import keep_freed_memory
from espalier.model import load_model
from espalier.prompts import Messages
from espalier.teachers.base import NOT_BEGUN, Completion, Request, never
from espalier.teachers.chat import ChatForm, open_chat
from espalier.teachers.decoders import decoder_of
from espalier.teachers.memory import answered_bytes, free_bytes, rows_that_fit, scored_bytes, sizes_of
from espalier.teachers.pin import fingerprint
from espalier.teachers.sampler import Sampled, Sampling, log_likelihoods, sample

Given = TypeVar("Given")


class HfTeacher:
    """A model folder in Hugging Face layout; see teachers/base.py for the interface."""

    def __init__(self, folder: Path, *, batch: int | None = None, chat: Callable[[Path], ChatForm] = open_chat) -> None:
        """At most `batch` rows go through the model at a time, fewer where memory is short (teachers/memory.py); `self.batch` is how many it was last.
        chat: what reads the folder's chat form.

        Raises: InputMissing, CorruptInput, ParamsError (a tokenizer without a chat form).
        """
        self.fingerprint = fingerprint(folder)
        self._most, self.batch = batch, 0
        self._stop: Callable[[], bool] = never
        self._chat = chat(folder)
        self._model = load_model(folder).eval()
        if torch.cuda.is_available():
            self._model = self._model.to(torch.device("cuda"), torch.bfloat16)
        else:
            keep_freed_memory()
        self._decoder, self._sizes = decoder_of(self._model), sizes_of(self._model)
        self._room: int = self._model.config.max_position_embeddings

    def stop_when(self, wanted: Callable[[], bool]) -> None:
        """Once `wanted()` is true, no further batch goes through the model."""
        self._stop = wanted

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order; requests with the same sampling share batches."""
        completions: dict[int, Completion] = {}
        kinds = [(r.temperature, r.top_p, r.max_tokens, self._chat.end_ids(r.messages)) for r in requests]
        for kind in sorted(set(kinds)):
            places = [place for place, one in enumerate(kinds) if one == kind]
            made = self._generate([requests[place] for place in places])
            completions.update(zip(places, made, strict=True))
        return [completions[i] for i in range(len(requests))]

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[tuple[float, int]]:
        """Log-probability in nats and number of tokens of each reply, the end token included."""
        prompts, replies = self._ids(pairs)
        return list(zip(self._sums(prompts, replies), map(len, replies), strict=True))

    def score_within(self, pairs: Sequence[tuple[Messages, str]]) -> list[tuple[float, int]]:
        """As score; NaN where prompt and reply together exceed the model's context."""
        prompts, replies = self._ids(pairs)
        fitting = [i for i, (prompt, reply) in enumerate(zip(prompts, replies, strict=True)) if len(prompt) + len(reply) <= self._room]
        sums = dict(zip(fitting, self._sums([prompts[i] for i in fitting], [replies[i] for i in fitting]), strict=True))
        return [(sums.get(i, math.nan), len(reply)) for i, reply in enumerate(replies)]

    def _ids(self, pairs: Sequence[tuple[Messages, str]]) -> tuple[list[list[int]], list[list[int]]]:
        return self._chat.prompts([messages for messages, _ in pairs]), self._chat.replies([reply for _, reply in pairs])

    def _sums(self, prompts: list[list[int]], replies: list[list[int]]) -> list[float]:
        longest = max((len(prompt) + len(reply) for prompt, reply in zip(prompts, replies, strict=True)), default=1)
        row_bytes = scored_bytes(self._sizes, tokens=longest)
        return self._within_memory(lambda batch: log_likelihoods(self._model, prompts, replies, pad_id=self._chat.pad_id, batch=batch), row_bytes)

    def _generate(self, requests: Sequence[Request]) -> list[Completion]:
        first = requests[0]
        prompts = self._chat.prompts([request.messages for request in requests])
        fitting = [i for i, prompt in enumerate(prompts) if len(prompt) < self._room]
        asked, seeds = [prompts[i] for i in fitting], [requests[i].seed for i in fitting]
        sampling = Sampling(first.temperature, first.top_p, first.max_tokens, self._room, self._chat.end_ids(first.messages), self._chat.pad_id)
        row_bytes = answered_bytes(self._sizes, prompt=max(map(len, asked), default=1), reply=min(first.max_tokens, self._room))
        made = self._within_memory(lambda batch: sample(self._decoder, asked, seeds, sampling, batch=batch, stop=self._stop), row_bytes)
        texts = self._chat.decode([reply.ids if reply else [] for reply in made])
        done = {i: _completion(len(prompts[i]), reply, text) for i, reply, text in zip(fitting, made, texts, strict=True)}
        return [done.get(i) or _too_long(len(prompt), self._room) for i, prompt in enumerate(prompts)]

    def _within_memory(self, work: Callable[[int], list[Given]], row_bytes: int) -> list[Given]:
        """What `work` gives with the batch that fits, halved for good as often as the GPU runs out of memory all the same."""
        device = self._model.device
        while True:
            fitting = rows_that_fit(row_bytes, free_bytes(device), device=device.type)
            self.batch = batch = min(fitting, self._most or fitting)
            try:
                return work(batch)
            except torch.cuda.OutOfMemoryError:
                if batch == 1:
                    raise
            self._most = batch // 2
            torch.cuda.empty_cache()


def _completion(prompt_tokens: int, reply: Sampled | None, text: str) -> Completion:
    if reply is None:
        return NOT_BEGUN
    tokens = len(reply.ids) + reply.ended
    return Completion(text, "stop" if reply.ended else "length", prompt_tokens, tokens, reply.logprob / max(tokens, 1))


def _too_long(prompt_tokens: int, room: int) -> Completion:
    return Completion("", "error", prompt_tokens, 0, 0.0, f"the prompt's {prompt_tokens} tokens leave no room for a reply in the model's {room}")
