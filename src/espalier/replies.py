"""How the reply of a teacher becomes the parts of a row: the contract of a prompt file's key `reply`.

    kind: text         the whole reply (what a file without the key means)
    kind: tags         each of `fields` between <field> and </field>
    kind: json         one JSON object with each of `fields` as a string
    kind: candidates   a JSON list of `n` objects {"text", "probability"}; rows that share a call take one each
                       (verbalized sampling, arXiv 2510.01171, section 3)

The first field is the step's own text. `optional` names further fields, of tags and json, that a reply may leave out; they are "" then.
Replies are hostile: whatever comes in, a mapping or an Unparsed comes out.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import ParamsError
from espalier.gates import GATES
from espalier.params import did_you_mean

KINDS = ("text", "tags", "json", "candidates")
REPLY_KEYS = {"kind", "fields", "optional", "n", "gates"}
FIELDS = ("context", "query", "answer", "solution")  # columns that a reply may fill; solution: see plan.py
MOST_LETTERS = 200_000  # a longer reply is no sample; parsing it would only cost time
MOST_CANDIDATES = 50


class Unparsed(Exception):
    """A reply that does not hold what it must; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The contract. n: rows that one reply serves; banned: the openings that the gate banned_opening stops."""

    kind: str
    fields: tuple[str, ...]
    n: int
    gates: tuple[str, ...]
    banned: tuple[str, ...]
    optional: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """All fields that a reply gives, the optional ones last."""
        return (*self.fields, *self.optional)


def parse_contract(value: Any, *, step: str, banned: tuple[str, ...], file: str) -> Reply:
    """The contract of a prompt file for a step's own column; None stands for a file without the key. Raises: ParamsError."""
    own = "query" if step == "evolve" else step
    value = {"kind": "text"} if value is None else value
    if not isinstance(value, dict):
        raise ParamsError(f"{file}: reply is {value}; it must be a mapping with kind, fields, optional, n, gates")
    for key in value:
        if key not in REPLY_KEYS:
            raise ParamsError(f"{file}: reply.{key} is not known; {did_you_mean(str(key), REPLY_KEYS)}")
    kind, fields, n, gates = value.get("kind", "text"), value.get("fields", [own]), value.get("n", 1), value.get("gates", [])
    if kind not in KINDS:
        raise ParamsError(f'{file}: reply.kind is "{kind}"; {did_you_mean(str(kind), KINDS)}')
    if not _are_of(fields, FIELDS) or fields[:1] != [own] or (kind in ("text", "candidates") and fields != [own]):
        raise ParamsError(f"{file}: reply.fields is {fields}; it must begin with {own} and may hold, in tags and json, {', '.join(FIELDS)}")
    if type(n) is not int or not 1 <= n <= MOST_CANDIDATES or (n > 1) != (kind == "candidates"):
        raise ParamsError(f"{file}: reply.n is {n}; it must lie in 2..{MOST_CANDIDATES} for candidates, and be left out for other kinds")
    if kind == "candidates" and step != "query":
        raise ParamsError(f"{file}: reply.kind candidates serves the step query alone, this is {step}; ask for one text here")
    if not _are_of(gates, GATES):
        raise ParamsError(f"{file}: reply.gates is {gates}; known: {', '.join(GATES)}")
    optional = _optional(value.get("optional", []), kind, fields, file)
    return Reply(kind, tuple(fields), n, tuple(gates), banned if "banned_opening" in gates else (), optional)


def schema_of(reply: Reply) -> str:
    """The JSON schema that an engine with structured output is held to, as canonical text; "" for replies that are no JSON."""
    if reply.kind == "json":
        return json.dumps(_object({name: {"type": "string"} for name in reply.parts}, required=reply.fields), sort_keys=True)
    if reply.kind == "candidates":
        one = _object({"text": {"type": "string"}, "probability": {"type": "number"}}, required=("text", "probability"))
        return json.dumps({"type": "array", "minItems": reply.n, "maxItems": reply.n, "items": one}, sort_keys=True)
    return ""


def read_parts(reply: Reply, text: str, turn: int) -> dict[str, str]:
    """Field -> text, blanks at the ends cut off. turn: which candidate. Raises: Unparsed."""
    if len(text) > MOST_LETTERS:
        raise Unparsed(f"the reply has {len(text):,} letters; at most {MOST_LETTERS:,} are read")
    if reply.kind == "text":
        return {reply.fields[0]: text}
    if reply.kind == "tags":
        return {name: _between(text, name, optional=name in reply.optional) for name in reply.parts}
    value = _json_in(text)
    if reply.kind == "json":
        return {name: "" if name in reply.optional and _is_left_out(value, name) else _string(value, name) for name in reply.parts}
    if not isinstance(value, list) or len(value) != reply.n:
        raise Unparsed(f"the reply holds {len(value) if isinstance(value, list) else 'no'} candidates; {reply.n} are wanted")
    _check_probability(value[turn])
    return {reply.fields[0]: _string(value[turn], "text")}


def stopped_by(reply: Reply, text: str) -> str | None:
    """The first gate that stops a text, with its reason."""
    return next((reason for name in reply.gates if (reason := GATES[name](text, reply.banned))), None)


def _optional(found: Any, kind: str, fields: Sequence[str], file: str) -> tuple[str, ...]:
    """The names of the key `optional`, none of them one of the other fields."""
    if found and kind not in ("tags", "json"):
        raise ParamsError(f"{file}: reply.optional is {found}, but the kind {kind} has one field; take it out, or ask for tags or json")
    others = [name for name in FIELDS if name not in fields]
    if not _are_of(found, others):
        raise ParamsError(f"{file}: reply.optional is {found}; it must be a list of {', '.join(others)}")
    return tuple(found)


def _are_of(found: Any, known: Collection[str]) -> bool:
    """Whether a value is a list of known names."""
    return isinstance(found, list) and all(isinstance(name, str) and name in known for name in found)


def _object(properties: Mapping[str, object], *, required: Sequence[str]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _is_left_out(value: Any, name: str) -> bool:
    return isinstance(value, dict) and (value.get(name) is None or value.get(name) == "")


def _between(text: str, name: str, *, optional: bool) -> str:
    """What stands between the tags; a last closing tag may be missing where a model stops early."""
    start = text.find(f"<{name}>")
    if start < 0:
        if optional:
            return ""
        raise Unparsed(f"the reply has no <{name}>")
    start += len(name) + 2
    end = text.find(f"</{name}>", start)
    found = text[start : end if end >= 0 else len(text)].strip()
    if not found and optional:
        return ""
    if not found or re.search(r"</?(?:context|query|answer|solution)>", found):
        raise Unparsed(f"<{name}> is empty or holds other tags")
    return found


def _json_in(text: str) -> Any:
    """The first JSON object or list of a reply: models put words or a code fence around it."""
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=-1)
    if start < 0:
        raise Unparsed("the reply holds no JSON")
    try:
        return json.JSONDecoder(strict=False).raw_decode(text, start)[0]
    except (ValueError, RecursionError) as error:
        raise Unparsed(f"the reply's JSON cannot be read ({type(error).__name__})") from error


def _string(value: Any, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) in (int, float):
        found = str(found)
    if not isinstance(found, str) or not found.strip():
        raise Unparsed(f'the reply\'s JSON has no text "{name}"')
    return found.encode("utf-8", "replace").decode().strip()  # JSON may spell half a surrogate pair, which no file can hold


def _check_probability(value: Any) -> None:
    found = value.get("probability") if isinstance(value, dict) else None
    if type(found) not in (int, float) or not 0 <= found <= 1:  # which NaN is not either
        raise Unparsed("a candidate has no probability in 0..1")
