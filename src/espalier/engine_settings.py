"""The sections of params.yaml that belong to one engine each; see settings.py."""

from dataclasses import dataclass
from typing import Annotated

from espalier.ranges import OneOf, Share, Within


@dataclass(frozen=True, slots=True)
class Server:
    urls: tuple[str, ...]
    model: str
    key_variable: str
    max_concurrency: Annotated[int, Within(1, 4096)]
    timeout_s: Annotated[float, Within(0, 86400, above=True)]
    retries: Annotated[int, Within(0, 100)]
    error_share_stop: Share


@dataclass(frozen=True, slots=True)
class Vllm:
    tensor_parallel: Annotated[int, Within(1, 64)]
    replicas: Annotated[int, Within(1, 64)]
    memory_share: Annotated[float, Within(0, 1, above=True)]
    context_tokens: Annotated[int, Within(0, 10**7)]


@dataclass(frozen=True, slots=True)
class Ray:
    address: str
    replicas: Annotated[int, Within(1, 10**4)]
    engine: Annotated[str, OneOf(("hf", "vllm"))]
    gpus: Annotated[float, Within(0, 64)]
    batch_requests: Annotated[int, Within(1, 10**5)]
    retries: Annotated[int, Within(0, 1000)]
