"""JSON texts and schemas from strangers: read within bounds of size, depth and numbers; jsonschema decides what is valid. Touches no network.

Source: JSON Schema draft 2020-12, by the library jsonschema (imported when a schema is met).
"""

import json
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from espalier.errors import ParamsError, shown

MOST_LETTERS = 20_000  # of a JSON text and of a schema
MOST_DEPTH = 32
MOST_DIGITS = 30  # of a number
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[{]|[\]}]")


class NotJson(ValueError):
    """A text is no JSON value within the bounds; the message says why."""


def read_json(text: str) -> Any:
    """The value of a text that is one JSON value and nothing else. Raises: NotJson.

    Beyond the standard library: NaN, Infinity, numbers too large for a float or with more than 30 digits and nesting beyond 32 are refused.
    """
    if len(text) > MOST_LETTERS:
        raise NotJson(f"has {len(text):,} letters, more than {MOST_LETTERS:,}")
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub('""', text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > MOST_DEPTH:
        raise NotJson(f"is nested {deepest} deep, more than {MOST_DEPTH}")
    try:
        return json.loads(text, parse_int=_whole, parse_float=_finite, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise NotJson(f"is no JSON at line {error.lineno}, column {error.colno}: {error.msg}") from error


def check_schema(schema: Any, *, where: str) -> str:
    """A loaded schema as canonical JSON. Raises: ParamsError when it is no schema, refers to what it does not hold, or could take long to check.

    Patterns may not repeat a repetition or hold more than two open repetitions (`(a+)+` takes ages on a short text).
    """
    try:
        text = json.dumps(schema, ensure_ascii=False, sort_keys=True)
        read_json(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ParamsError(f"{where} is {shown(schema)}; it must be a JSON schema within bounds ({error})") from error
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ParamsError(f"{where}.{error.json_path[2:]} is {shown(error.instance)}; {error.message[:200]}") from error
    for pattern in _found_patterns(schema):
        if _is_slow(pattern):
            raise ParamsError(f"{where} has the pattern {shown(pattern)}; a repetition within a repetition can take ages: write a plainer one")
    for target in _found(schema, "$ref"):
        if not isinstance(target, str) or not target.startswith("#/$defs/") or target.count("/") > 2 or target[8:] not in schema.get("$defs", {}):
            raise ParamsError(f"{where} refers to {shown(target)}; it must be #/$defs/NAME, with NAME in the $defs of the schema")
    for key in ("$dynamicRef", "$id", "$anchor", "$dynamicAnchor"):
        if next(_found(schema, key), None) is not None:
            raise ParamsError(f"{where} uses {key}; schemas here refer by #/$defs/NAME only: take it out")
    return text


def schema_fault(value: Any, schema: str) -> str | None:
    """Why a value is not valid against a schema that passed `check_schema`: the first fault by place; None when it is valid."""
    try:
        fault = min(_validator(schema).iter_errors(value), key=lambda error: [str(step) for step in error.absolute_path], default=None)
    except (RecursionError, OverflowError):
        return "the value cannot be checked: the schema refers to itself without end"
    return None if fault is None else f"{fault.json_path} {_short(fault.message)}"


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(json.loads(schema), registry=Registry())  # an empty registry fetches nothing


def _short(message: str) -> str:
    return message if len(message) <= 120 else f"{message[:60]} ... {message[-50:]}"


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise NotJson(f"holds a number of more than {MOST_DIGITS} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if len(digits) > MOST_DIGITS or value in (float("inf"), float("-inf")):
        raise NotJson(f"holds the number {digits[:20]}, which is too large or too long")
    return value


def _no_constant(word: str) -> Any:
    raise NotJson(f"holds {word}, which is no JSON")


def _found(schema: Any, key: str) -> Iterator[Any]:
    """The values of a key anywhere in a schema (also below properties that are named so: refusing those too is on the safe side)."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == key:
                yield value
            yield from _found(value, key)
    elif isinstance(schema, list):
        for value in schema:
            yield from _found(value, key)


def _found_patterns(schema: Any) -> Iterator[str]:
    yield from (pattern for pattern in _found(schema, "pattern") if isinstance(pattern, str))
    for patterns in _found(schema, "patternProperties"):
        yield from patterns if isinstance(patterns, dict) else ()


def _is_slow(pattern: str) -> bool:
    """Whether a pattern could take more than quadratic time; one that does not compile is slow too."""
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return True
    plain = re.sub(r"\[(?:\\.|[^\]\\])+\]", "c", re.sub(r"\\.", "c", pattern))
    plain = re.sub(r"\((?:\?[:=!P<][^)>]*>?)?", "(", plain)
    repeated_group = re.search(r"\)(?:[*+]|\{\d*,?\d*\})", plain)
    return bool(repeated_group) or len(re.findall(r"[*+]|\{\d*,\d*\}", plain)) > 2
