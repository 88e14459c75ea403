"""The engine `server`: a model behind one or several OpenAI-compatible URLs (vLLM, SGLang, llama.cpp, a hosted one), asked over HTTP.

How much is asked at once and what is asked again is pace.py; what goes over the wire is wire.py. The key goes into one header and through nothing else.
"""

import asyncio
import logging
import math
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from functools import cache, cached_property
from pathlib import Path

import httpx2

from espalier.errors import EspalierError
from espalier.params import did_you_mean
from espalier.prompts import Messages, is_open
from espalier.settings import Server
from espalier.teachers.base import Completion, Done, Request, never
from espalier.teachers.chat import ChatForm, open_chat
from espalier.teachers.key import Key
from espalier.teachers.pace import Call, Failure, Outcome, Pace
from espalier.teachers.wire import open_body, read_reply, read_served, request_body, said

WAIT_S = 0.5  # the first wait after a failure
LOOK_S = 20.0  # patience with a list of models
MAX_BYTES = 2**24  # of an answer; more is no reply to a request of ours
AGAIN = (408, 409, 425, 429)  # of 4xx, those that may go well next time
CONGESTED = (429, 503)
STOPS = {  # statuses that every request would get, and what to do
    401: "the endpoint wants another key: set the environment variable {variable} ({state})",
    403: "the endpoint refuses this key: look at its rights, or set the environment variable {variable} ({state})",
    404: "look at server.urls (most servers want /v1 at the end) and server.model",
}
Answer = tuple[int, httpx2.Headers, bytes]

for _name in ("httpx2", "httpcore2"):  # they log headers and reason phrases of a server, which may echo the key
    logging.getLogger(_name).setLevel(logging.WARNING)


class ServerTeacher:
    """A model behind URLs; see teachers/base.py for the interface. Requests are answered one by one, in any order."""

    def __init__(self, settings: Server, *, fingerprint: str, key: Key, folder: Path, wait_s: float = WAIT_S) -> None:
        """fingerprint: that of the pin; folder: holds the tokenizer, which is read for open user turns alone; wait_s: the first wait after a failure."""
        self.fingerprint = fingerprint
        self._settings, self._key, self._folder = settings, key, folder
        self._pace = Pace(settings, wait_s=wait_s)
        self._stop: Callable[[], bool] = never

    def stop_when(self, wanted: Callable[[], bool]) -> None:
        """Once `wanted()` is true, no request is sent any more, and none again."""
        self._stop = wanted

    def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion for each request, in their order. Raises: as `stream`."""
        return self.stream(requests, lambda completions: None)

    def stream(self, requests: Sequence[Request], done: Done) -> list[Completion]:
        """As generate; `done` has every completion as soon as it is whole.

        Raises: EspalierError when going on makes no sense: a key or model that is refused, too many errors or retries, no URL that answers.
        """
        return asyncio.run(self._run(requests, done))

    def score(self, pairs: Sequence[tuple[Messages, str]]) -> list[tuple[float, int]]:
        """Raises: EspalierError, always."""
        raise EspalierError("teacher.engine is server: an endpoint offers no likelihoods of given replies; use hf where replies are scored")

    async def _run(self, requests: Sequence[Request], done: Done) -> list[Completion]:
        async with _client(self._key) as client:

            async def ask(url: str, request: Request) -> Outcome:
                path, body = self._post(request)
                answer = await _fetch(client, "POST", f"{url}/{path}", self._key, timeout_s=self._settings.timeout_s, json=body)
                return answer if isinstance(answer, Failure) else _judge(url, answer, self._key)

            return await Call(requests, done, ask, pace=self._pace, stop=self._stop).run()

    def _post(self, request: Request) -> tuple[str, dict[str, object]]:
        """The path below the URL, and the body."""
        model = self._settings.model
        if not is_open(request.messages):
            return "chat/completions", request_body(request, model=model)
        (prompt,) = self._chat.prompts([request.messages])
        return "completions", open_body(request, prompt, model=model, end_ids=self._chat.end_ids(request.messages))

    @cached_property
    def _chat(self) -> ChatForm:
        return open_chat(self._folder)


def ask_served(settings: Server, *, key: Key) -> dict[str, object]:
    """What the URLs say of the model, by which a change of it is noticed: name, id, root, max_model_len (the last three where given).

    Raises: EspalierError when no URL answers, one refuses the key, one does not serve the model, or they differ.
    """
    found = asyncio.run(_look(settings, key))
    told = {url: answer for url, answer in found.items() if not isinstance(answer, Failure)}
    if not told:
        reasons = "; ".join(f"{url}: {answer.reason}" for url, answer in found.items())
        raise EspalierError(f"params.yaml: no URL of server.urls lists its models ({reasons}); start the server, or mend server.urls")
    (first, served), *others = told.items()
    for url, other in others:
        if other != served:
            raise EspalierError(f"params.yaml: server.urls serve different models: {first} says {served}, {url} says {other}; name those that serve the same")
    return {"model": settings.model, **served}


def _client(key: Key) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(headers=key.headers, verify=_tls(), timeout=None, limits=httpx2.Limits())  # time and number are ours to limit


@cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads all root certificates: 90 ms, so once a process


async def _fetch(client: httpx2.AsyncClient, method: str, url: str, key: Key, *, timeout_s: float, json: object = None) -> Answer | Failure:
    """The whole answer, or why there is none."""
    try:
        async with asyncio.timeout(timeout_s), client.stream(method, url, json=json) as response:
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    return Failure(f"an answer of more than {MAX_BYTES:,} bytes")
            return response.status_code, response.headers, bytes(body)
    except TimeoutError:
        return Failure(f"no whole answer within {timeout_s:g} s", congested=True, answered=False)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:  # refused, reset, half a body, a body that is not what its header says
        return Failure(said(f"{type(error).__name__} {error}", redact=key.redact), answered=False)


def _judge(url: str, answer: Answer, key: Key) -> Outcome:
    status, headers, body = answer
    if status == 200:
        try:
            reply = read_reply(body)
        except ValueError as error:
            return Failure(key.redact(f"not a whole reply: {error}"))
        return replace(reply, text=key.redact_reply(reply.text))
    words = f"{status}: {said(body.decode(errors='replace'), redact=key.redact)}"
    if status in STOPS or 300 <= status < 400:
        return _stop(url, status, words, key)
    if 400 <= status < 500 and status not in AGAIN:
        return Completion("", "error", 0, 0, 0.0, words)
    return Failure(words, congested=status in CONGESTED, retry_after_s=_retry_after_s(headers.get("Retry-After", ""), time.time()))


def _stop(url: str, status: int, words: str, key: Key) -> Failure:
    hint = STOPS.get(status, "name the place that it leads to in server.urls")
    state = "it is set" if key.value else "it is not set"
    return Failure(f"{url} answers {words}; {hint.format(variable=key.variable, state=state)}", stop=True)


def _retry_after_s(value: str, now_s: float) -> float:
    """Seconds to wait by a Retry-After header (seconds or a date); 0 where it says nothing. Source: RFC 9110, section 10.2.3.

    >>> _retry_after_s("1.5", 0.0), _retry_after_s("Thu, 01 Jan 1970 00:01:00 GMT", 50.0), _retry_after_s("soon", 0.0)
    (1.5, 10.0, 0.0)
    """
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now_s
        except (ValueError, OverflowError):
            return 0.0
    return max(seconds, 0.0) if math.isfinite(seconds) else 0.0


async def _look(settings: Server, key: Key) -> dict[str, dict[str, object] | Failure]:
    async with _client(key) as client:
        urls = [url.rstrip("/") for url in settings.urls]
        patience_s = min(settings.timeout_s, LOOK_S)
        answers = await asyncio.gather(*(_fetch(client, "GET", f"{url}/models", key, timeout_s=patience_s) for url in urls))
    return {url: answer if isinstance(answer, Failure) else _served(url, answer, settings.model, key) for url, answer in zip(urls, answers, strict=True)}


def _served(url: str, answer: Answer, model: str, key: Key) -> dict[str, object] | Failure:
    status, _, body = answer
    if status == 404:
        return {}  # it has no list
    if status != 200:
        outcome = _judge(url, answer, key)
        if isinstance(outcome, Failure) and outcome.stop:
            raise EspalierError(outcome.reason)
        return Failure(outcome.reason if isinstance(outcome, Failure) else outcome.error)
    try:
        models = read_served(key.redact_reply(body.decode(errors="replace")).encode())
    except ValueError as error:
        return Failure(key.redact(f"not a list of models: {error}"))
    if model not in models:
        raise EspalierError(key.redact(f'params.yaml: server.model is "{model}", which {url} does not serve; {did_you_mean(model, models)}'))
    return models[model]
