"""What goes over the wire to an OpenAI-compatible endpoint and back: the body of a request, and strict reading of what is answered.

A body that is not whole and right in every field that we use is refused with a ValueError that says why; nothing is guessed.
Source: the OpenAI API reference, "Chat completions", "Completions", "Structured outputs" and "Models"; max_model_len is vLLM's.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from espalier.teachers.base import Completion, Request

FINISHES = {"stop": "stop", "length": "length"}
REFUSED = ("content_filter", "tool_calls", "function_call")  # final: the same request would end so again
SERVED = {"id": str, "root": str, "max_model_len": int}  # of a model's entry; its `created` is the time of the server's start
SAID, SHOWN = 200, 60  # characters of a server's words, and of a wrong value, that go into a message


def request_body(request: Request, *, model: str) -> dict[str, object]:
    """The JSON of one request for a chat completion."""
    body = {"messages": [{"role": role, "content": text} for role, text in request.messages], **_drawn(request, model)}
    if request.logprob:
        body["logprobs"] = True
    if request.schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"name": "reply", "schema": json.loads(request.schema), "strict": True}}
    return body


def open_body(request: Request, prompt: Sequence[int], *, model: str, end_ids: Sequence[int]) -> dict[str, object]:
    """The JSON of one request that leaves the user's turn open: a plain completion of token ids, which a chat completion cannot be.

    `stop_token_ids` is vLLM's and SGLang's; an endpoint without it stops by its own generation config.
    """
    return {"prompt": list(prompt), "stop_token_ids": list(end_ids), **_drawn(request, model)}


def _drawn(request: Request, model: str) -> dict[str, object]:
    return {
        "model": model,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "max_tokens": request.max_tokens,
        "seed": request.seed,
    }


def read_reply(body: bytes) -> Completion:
    """The completion in a body. Raises: ValueError for anything but one whole choice with text, finish reason and usage."""
    whole = _parse(body)
    choices = _take(whole, "choices", list)
    if len(choices) != 1:
        raise ValueError(f"{len(choices)} choices; 1 is wanted")
    usage = _take(whole, "usage", dict)
    prompt_tokens, tokens = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    finish = _take(choices[0], "finish_reason", str)
    if finish in REFUSED:
        return Completion("", "error", prompt_tokens, tokens, 0.0, f"finish_reason {finish}")
    if finish not in FINISHES:
        raise ValueError(f"finish_reason {_shown(finish)}; stop or length is wanted")
    text = _take(choices[0], "text", str) if "text" in choices[0] else _take(_take(choices[0], "message", dict), "content", str)
    text.encode()  # half a surrogate pair is no text, and sqlite would refuse it
    return Completion(text, FINISHES[finish], prompt_tokens, tokens, _logprob_mean(choices[0].get("logprobs")))


def read_served(body: bytes) -> dict[str, dict[str, object]]:
    """What a list of models says of each, by name. Raises: ValueError for what is no such list."""
    models = _take(_parse(body), "data", list)
    return {_take(entry, "id", str): {name: _take(entry, name, kind) for name, kind in SERVED.items() if entry.get(name) is not None} for entry in models}


def said(text: str, *, redact: Callable[[str], str]) -> str:
    """The start of what a server said, on one line and without control characters; its `message` where the text is JSON with one.

    redact: takes secrets out; called after the text is decoded and before it is cut, so that no half of one stays.
    """
    try:
        found = json.loads(text)
        found = found.get("error", found) if isinstance(found, dict) else found
        text = str(found["message"]) if isinstance(found, dict) and "message" in found else text
    except (ValueError, RecursionError):
        pass
    return "".join(letter if letter.isprintable() else " " for letter in " ".join(redact(text).split()))[:SAID] or "no words"


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_number)
    except RecursionError as error:
        raise ValueError("nested without end") from error


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON")


def _take(value: object, name: str, kind: type) -> Any:
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) is not kind:
        raise ValueError(f"{name} is {_shown(found)}; {kind.__name__} is wanted")
    return found


def _shown(value: object) -> str:
    """A value in a message, never a part of one: half a secret would pass by its redaction."""
    if isinstance(value, dict | list) or len(shown := repr(value)) > SHOWN:
        return f"a {type(value).__name__} of {len(value)}" if isinstance(value, dict | list | str) else "a huge number"
    return shown


def _count(usage: dict[str, object], name: str) -> int:
    found = _take(usage, name, int)
    if not 0 <= found < 2**31:
        raise ValueError(f"{name} is {found}; a count is wanted")
    return found


def _logprob_mean(logprobs: object) -> float:
    """Nats a token, 0.0 where the server gives none."""
    if logprobs is None or _is_empty(logprobs):
        return 0.0
    values = [entry.get("logprob") if isinstance(entry, dict) else None for entry in _take(logprobs, "content", list)]
    for value in values:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"logprob is {_shown(value)}; a number is wanted")
    return sum(values) / len(values)


def _is_empty(logprobs: object) -> bool:
    return isinstance(logprobs, dict) and not logprobs.get("content")
