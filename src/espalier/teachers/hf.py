"""The engine `hf`: a model of ours through transformers, on the CPU or a GPU (bf16 there)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from espalier.model import load_model
from espalier.prompts import Messages
from espalier.teachers.base import NOT_BEGUN, Completion, Request, never
from espalier.teachers.chat import open_chat
from espalier.teachers.decoders import decoder_of
from espalier.teachers.pin import fingerprint
from espalier.teachers.sampler import Sampled, Sampling, log_likelihoods, sample

BATCH = 512  # rows in the model at a time


class HfTeacher:
    """A model folder in Hugging Face layout ; see teachers/base.py for the interface."""

    def __init__(self, folder: Path, *, batch: int = BATCH) -> None:
        """`batch` rows go through the model at a time. Raises: InputMissing, CorruptInput, ParamsError (a tokenizer without a chat form)."""
        self.fingerprint = fingerprint(folder)
        self._batch = batch
        self._stop: Callable[[], bool] = never
        self._chat = open_chat(folder)
        self._model = load_model(folder).eval()
        if torch.cuda.is_available():
            self._model = self._model.to(torch.device("cuda"), torch.bfloat16)
        self._decoder = decoder_of(self._model)

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
        prompts = self._chat.prompts([messages for messages, _ in pairs])
        replies = self._chat.replies([reply for _, reply in pairs])
        sums = log_likelihoods(self._model, prompts, replies, pad_id=self._chat.pad_id, batch=self._batch)
        return [(total, len(reply)) for total, reply in zip(sums, replies, strict=True)]

    def _generate(self, requests: Sequence[Request]) -> list[Completion]:
        room = self._model.config.max_position_embeddings
        first = requests[0]
        prompts = self._chat.prompts([request.messages for request in requests])
        fitting = [i for i, prompt in enumerate(prompts) if len(prompt) < room]
        sampling = Sampling(first.temperature, first.top_p, first.max_tokens, room, self._chat.end_ids(first.messages), self._chat.pad_id)
        made = sample(self._decoder, [prompts[i] for i in fitting], [requests[i].seed for i in fitting], sampling, batch=self._batch, stop=self._stop)
        texts = self._chat.decode([reply.ids if reply else [] for reply in made])
        done = {i: _completion(len(prompts[i]), reply, text) for i, reply, text in zip(fitting, made, texts, strict=True)}
        return [done.get(i) or _too_long(len(prompt), room) for i, prompt in enumerate(prompts)]


def _completion(prompt_tokens: int, reply: Sampled | None, text: str) -> Completion:
    if reply is None:
        return NOT_BEGUN
    tokens = len(reply.ids) + reply.ended
    return Completion(text, "stop" if reply.ended else "length", prompt_tokens, tokens, reply.logprob / max(tokens, 1))


def _too_long(prompt_tokens: int, room: int) -> Completion:
    return Completion("", "error", prompt_tokens, 0, 0.0, f"the prompt's {prompt_tokens} tokens leave no room for a reply in the model's {room}")
