"""The shapes in which training records come: which field is the prompt, which the reply.

    pairs          instruction (input) output | prompt completion | question (context) answer | query (context) answer | problem solution, and their like
    conversations  messages of role and content, conversations of from and value: the last turn is the reply, the one before it the prompt
    preferences    a prompt or a conversation with `chosen`: the chosen one is the reply
    nested         instances of input and output (Self-Instruct); qas of q and a under one context (SQuAD)
    text           a text alone: a document

The first shape that fits a record speaks; records of one file may differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import bare, shown

REPLIES = ("output", "completion", "response", "answer", "answers", "solution", "chosen")
CONTEXTS = ("input", "context")
PROMPTS = ("instruction", "prompt", "question", "query", "problem")
TURNS = ("messages", "conversations", "conversation")
MOST_NAMED = 8  # fields in a reason


@dataclass(frozen=True, slots=True)
class Fields:
    """What is asked and said. shape: the fields that were read; context and query: "" in a document."""

    shape: str
    context: str
    query: str
    answer: str


class Unfit(Exception):
    """A record that holds no prompt and reply. `reason` is what such records are counted by, the message says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def find_fields(record: Mapping[str, Any], *, prompt_field: str | None, answer_field: str | None) -> list[Fields]:
    """The prompts and replies of a record: one, or as many as are nested in it. The two fields, where given, are read instead of what is known.

    Raises: Unfit with reason no_fields, not_text, no_prompt or no_reply.
    """
    if prompt_field or answer_field:
        return [_named(record, prompt_field, answer_field)]
    prompt = next((name for name in PROMPTS if record.get(name) is not None), None)
    turns = next((name for name in TURNS if isinstance(record.get(name), list)), None)
    if turns:
        return [_conversation(record, turns)]
    if prompt and isinstance(record.get("instances"), list):
        return [_pair(f"{prompt} instances", one, prompt, record[prompt]) for one in _parts(record, "instances")]
    if isinstance(record.get("qas"), list):
        context = _text(record.get("context"), "context")
        return [Fields("context qas", context, _wanted(one.get("q"), "q", "no_prompt"), _text(one.get("a"), "a")) for one in _parts(record, "qas")]
    if prompt:
        return [_pair(prompt, record, prompt, record[prompt])]
    if "text" in record:
        return [Fields("text", "", "", _text(record["text"], "text"))]
    raise Unfit("no_fields", f"found {_fields(record)}; wanted is a known shape, or --prompt-field and --answer-field")


def _named(record: Mapping[str, Any], prompt_field: str | None, answer_field: str | None) -> Fields:
    missing = [name for name in (prompt_field, answer_field) if name and name not in record]
    if missing:
        raise Unfit("no_fields", f"found {_fields(record)}; wanted is {missing[0]}")
    if not answer_field:
        return _pair(str(prompt_field), record, str(prompt_field), record[prompt_field])
    query = _wanted(record[prompt_field], prompt_field, "no_prompt") if prompt_field else ""
    return Fields(f"{prompt_field} {answer_field}" if prompt_field else answer_field, "", query, _text(record[answer_field], answer_field))


def _pair(shape: str, record: Mapping[str, Any], name: str, prompt: object) -> Fields:
    reply = next((one for one in REPLIES if one in record and one != name), None)
    if reply is None:
        raise Unfit("no_reply", f"found {_fields(record)}; wanted beside {name} is one of {', '.join(REPLIES)}")
    beside = next((one for one in CONTEXTS if one in record), None)
    context = _text(record[beside], beside) if beside else ""
    return Fields(f"{shape} {reply}", context, _wanted(prompt, name, "no_prompt"), _text(record[reply], reply))


def _conversation(record: Mapping[str, Any], name: str) -> Fields:
    turns = [_turn(turn, name) for turn in record[name]]
    if "chosen" in record:
        said, shape = _text(record["chosen"], "chosen"), f"{name} chosen"
    else:
        said, shape = (turns.pop() if turns else ""), name
    if not turns or not turns[-1].strip():
        raise Unfit("no_prompt", f"found {len(turns) + 1} turns in {name}; wanted is a prompt before the reply")
    return Fields(shape, "\n".join(turns[:-1]), turns[-1], said)


def _turn(turn: object, name: str) -> str:
    if not isinstance(turn, Mapping):
        raise Unfit("not_text", f"a turn of {name} is {shown(turn)}; wanted is role and content, or from and value")
    return _text(turn.get("content", turn.get("value")), f"a turn of {name}")


def _parts(record: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    parts = record[name]
    if not parts or not all(isinstance(part, Mapping) for part in parts):
        raise Unfit("no_reply", f"{name} is {shown(parts)}; wanted is a list of objects")
    return parts


def _wanted(value: object, name: str, reason: str) -> str:
    text = _text(value, name)
    if not text.strip():
        raise Unfit(reason, f"{name} is empty")
    return text


def _text(value: object, name: str) -> str:
    """Text as it stands, nothing as "", numbers as written; a turn by its content, a list by its first text or its last turn."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping) and ("content" in value or "value" in value):
        return _text(value.get("content", value.get("value")), name)
    if isinstance(value, Sequence) and value and not isinstance(value, bytes):
        if all(isinstance(one, str) for one in value):
            return value[0]
        if all(isinstance(one, Mapping) for one in value):
            return _text(value[-1], name)
    raise Unfit("not_text", f"{name} is {shown(value)}; wanted is text")


def _fields(record: Mapping[str, Any]) -> str:
    return ", ".join(map(bare, list(record)[:MOST_NAMED])) or "no fields"
