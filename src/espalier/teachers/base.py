"""What every engine offers: requests in, completions out, and likelihoods of given replies.

A failed request is a completion with a status, not an exception.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from espalier.prompts import Messages


@dataclass(frozen=True, slots=True)
class Request:
    """One reply that is wanted. `seed` belongs to the row, the step and the sample, so that k answers differ and yet repeat exactly.

    schema: the JSON schema, as text, that engines with structured output hold the reply to (vllm, server; others pass it by); "" for free text.
    logprob: whether the completion's logprob_mean will be looked at; it costs vLLM up to 30 % of its speed (LOG.md). No part of the cache key: it decides no
    word, and one seed always wants it or never does.
    """

    messages: Messages
    temperature: float
    top_p: float
    max_tokens: int
    seed: int
    schema: str = ""
    logprob: bool = True


@dataclass(frozen=True, slots=True)
class Completion:
    """A reply. finish: stop | length | error; logprob_mean: nats a token under the model at temperature 1, 0.0 where it was not asked for
    or an endpoint gives none.

    tokens and logprob_mean count the end token, but for endpoints that leave it out.
    """

    text: str
    finish: str
    prompt_tokens: int
    tokens: int
    logprob_mean: float
    error: str = ""


NOT_BEGUN = Completion("", "error", 0, 0, 0.0, "not begun, the run was interrupted")
Done = Callable[[Mapping[int, Completion]], None]  # completions by the places of their requests


class Teacher(Protocol):
    """An engine with a model in it."""

    @property
    def fingerprint(self) -> str:
        """What the model is: changes when its weights do."""

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order."""

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[tuple[float, int]]:
        """For each (messages, reply): the reply's log-probability in nats, the end token included, and its number of tokens."""


@runtime_checkable
class Streaming(Protocol):
    """What an engine also offers that finishes requests one by one or batch by batch, so that each can be kept at once."""

    def stream(self, requests: Sequence[Request], done: Done) -> list[Completion]:
        """As generate; before it returns or raises, `done` has had every finished completion once, in any order: those that hang on each other together."""


@runtime_checkable
class Stoppable(Protocol):
    """What an engine also offers that can leave a part of its requests undone when the run is interrupted; others finish what they were given."""

    def stop_when(self, wanted: Callable[[], bool]) -> None:
        """From now on, once `wanted()` is true, begin no more requests: those under way are finished, the others come back as NOT_BEGUN."""


@runtime_checkable
class Batched(Protocol):
    """What an engine also says that puts a fixed number of requests through its model at a time."""

    batch: int


def never() -> bool:
    """Nobody wants a stop."""
    return False


def chunked(requests: Sequence[Request], size: int) -> Iterable[Sequence[Request]]:
    """`requests` in pieces of `size`, in order."""
    return (requests[at : at + size] for at in range(0, len(requests), size))
