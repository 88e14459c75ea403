"""Constraints on the form of an answer that a program can check: a mapping as it stands in YAML -> a constraint -> the sentence that asks for it.

    {kind: max_words, n: 60}            {kind: keyword, word: river, n: 2}        {kind: json_schema, schema: {...}}

`checks` says whether a text keeps one, `conflicts` which of them exclude each other.
Source: IFEval, Zhou et al. 2023 (arXiv 2311.07911), table 1: the kinds of verifiable instructions.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from espalier.errors import ParamsError, bare, shown
from espalier.params import did_you_mean
from espalier.verifiers.json_values import check_schema

MOST_N = 10_000
KEYS: dict[str, tuple[str, ...]] = {
    "max_words": ("n",),
    "min_words": ("n",),
    "max_sentences": ("n",),
    "paragraphs": ("n",),
    "bullets": ("n",),
    "numbered": ("n",),
    "keyword": ("word", "n"),
    "forbid": ("words",),
    "starts_with": ("text",),
    "ends_with": ("text",),
    "lowercase": (),
    "uppercase": (),
    "no_commas": (),
    "title": (),
    "one_of": ("values",),
    "json": (),
    "json_schema": ("schema",),
}
KINDS = tuple(KEYS)


@dataclass(frozen=True, slots=True)
class Constraint:
    """`n` counts (0 where the kind has none); `words` holds the word, words, text or values; `schema` is canonical JSON or ""."""

    kind: str
    n: int = 0
    words: tuple[str, ...] = ()
    schema: str = ""


def parse_constraint(value: Any, *, where: str) -> Constraint:
    """A constraint of a loaded YAML mapping; `where` names its place for messages ("leaf.yaml: checks[0]").

    Raises: ParamsError for an unknown kind or key, a missing one, or a value out of range.
    """
    if not isinstance(value, dict):
        raise ParamsError(f"{where} is {shown(value)}; it must be a mapping such as {{kind: max_words, n: 60}}")
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise ParamsError(f"{where}.kind is {shown(kind)}; it must be one of {', '.join(KINDS)}")
    if kind not in KEYS:
        raise ParamsError(f"{where}.kind is {shown(kind)}; {did_you_mean(kind, KINDS)}")
    for key in value:
        if key != "kind" and key not in KEYS[kind]:
            known = KEYS[kind]
            raise ParamsError(f"{where}.{bare(key)} is no key of {kind}; {did_you_mean(str(key), known) if known else 'it has none: take it out'}")
    for key in KEYS[kind]:
        if key not in value:
            raise ParamsError(f"{where}.{key} is missing; {kind} needs {' and '.join(KEYS[kind])}: add it")
    n = _count(value["n"], f"{where}.n") if "n" in value else 0
    words = tuple(word for key in KEYS[kind] if key in _READ for word in _READ[key](value[key], f"{where}.{key}"))
    schema = check_schema(value["schema"], where=f"{where}.schema") if "schema" in value else ""
    return Constraint(kind, n, words, schema)


def as_mapping(constraint: Constraint) -> dict[str, Any]:
    """The mapping that `parse_constraint` reads the same constraint from.

    >>> as_mapping(Constraint("keyword", 2, ("river",)))
    {'kind': 'keyword', 'word': 'river', 'n': 2}
    """
    words = list(constraint.words)
    values = {"n": constraint.n, "words": words, "values": words, "schema": json.loads(constraint.schema or "null")}
    values |= {"word": words[0], "text": words[0]} if words else {}
    return {"kind": constraint.kind, **{key: values[key] for key in KEYS[constraint.kind]}}


def instruction(constraint: Constraint) -> str:
    """The sentence that asks for it.

    >>> instruction(Constraint("max_words", 60))
    'Answer in at most 60 words.'
    """
    return _SENTENCES[constraint.kind](constraint)


def _several(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _listed(words: tuple[str, ...], last: str) -> str:
    quoted = [f'"{word}"' for word in words]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {last} {quoted[-1]}"


_SENTENCES: Mapping[str, Callable[[Constraint], str]] = {
    "max_words": lambda one: f"Answer in at most {_several(one.n, 'word', 'words')}.",
    "min_words": lambda one: f"Answer in at least {_several(one.n, 'word', 'words')}.",
    "max_sentences": lambda one: f"Answer in at most {_several(one.n, 'sentence', 'sentences')}.",
    "paragraphs": lambda one: (
        "Write exactly one paragraph." if one.n == 1 else f"Write exactly {one.n} paragraphs, with a blank line between one and the next."
    ),
    "bullets": lambda one: f'Write exactly {_several(one.n, "bullet point", "bullet points")}, each on a line of its own that begins with "- ".',
    "numbered": lambda one: f'Write a numbered list of exactly {_several(one.n, "item", "items")}, each on a line of its own: "1. ", "2. " and so on.',
    "keyword": lambda one: f'Use the word "{one.words[0]}" at least {"once" if one.n == 1 else f"{one.n} times"}.',
    "forbid": lambda one: f"Do not use the {'word' if len(one.words) == 1 else 'words'} {_listed(one.words, 'or')}.",
    "starts_with": lambda one: f'Begin your answer with exactly these words: "{one.words[0]}"',
    "ends_with": lambda one: f'End your answer with exactly these words and nothing after them: "{one.words[0]}"',
    "lowercase": lambda one: "Write the whole answer in lowercase letters, without any capital letter.",
    "uppercase": lambda one: "Write the whole answer in capital letters.",
    "no_commas": lambda one: "Do not use any comma.",
    "title": lambda one: "Put a title on the first line, wrapped in double angle brackets, such as <<A Title>>.",
    "one_of": lambda one: f"Answer with one of these and nothing else: {_listed(one.words, 'or')}.",
    "json": lambda one: "Answer with one JSON value and nothing else, without a code fence.",
    "json_schema": lambda one: f"Answer with one JSON value that is valid against this JSON schema, and nothing else, without a code fence: {one.schema}",
}


def _count(value: Any, at: str) -> int:
    if type(value) is not int or not 1 <= value <= MOST_N:
        raise ParamsError(f"{at} is {shown(value)}; it must be a whole number in 1 .. {MOST_N:,}")
    return value


def _text(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, str) or not value.strip() or "\n" in value.strip():
        raise ParamsError(f"{at} is {shown(value)}; it must be text on one line: write it in quotes")
    return (value.strip(),)


def _texts(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ParamsError(f"{at} is {shown(value)}; it must be a list of one or more: write one")
    found = tuple(text for i, one in enumerate(value) for text in _text(one, f"{at}[{i}]"))
    repeated = [text for i, text in enumerate(found) if text.casefold() in {other.casefold() for other in found[:i]}]
    if repeated:
        raise ParamsError(f"{at} names {shown(repeated[0])} twice; take one out")
    return found


def _word(value: Any, at: str) -> tuple[str, ...]:
    found = _text(value, at)
    if not (found[0][0].isalnum() and found[0][-1].isalnum()):
        raise ParamsError(f"{at} is {shown(value)}; a word begins and ends with a letter or a digit")
    return found


def _words(value: Any, at: str) -> tuple[str, ...]:
    return tuple(word for i, one in enumerate(_texts(value, at)) for word in _word(one, f"{at}[{i}]"))


_READ: Mapping[str, Callable[[Any, str], tuple[str, ...]]] = {"word": _word, "words": _words, "text": _text, "values": _texts}
