"""One qna.yaml against version 3 of InstructLab's schema; `taxonomy` makes a tree of them.

A skill's seed example is {question, answer, context?}; a knowledge leaf's is {context, questions_and_answers: 3 or more x {question, answer}}. Keys that the
schema does not know are refused, except beside question and answer of a knowledge pair, where the schema lets them pass. One rule is not in the schema: a
skill's examples have all a context (grounded) or none (freeform). Text of blanks alone counts as empty.
Source: instructlab/schema v3 (compositional_skills.json, knowledge.json, version.json); at least 5 seed examples a leaf.
"""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import LeafError, ParamsError, bare, shown
from espalier.old_qna import OLD, changes_to_v3, label_of
from espalier.params import did_you_mean, load_yaml

SKILL_KEYS = {"version", "created_by", "task_description", "seed_examples"}
KNOWLEDGE_KEYS = {"version", "created_by", "domain", "document_outline", "document", "seed_examples"}
DOCUMENT_KEYS = {"repo", "commit", "patterns"}
VERSION, LEAST_EXAMPLES, LEAST_PAIRS = 3, 5, 3


@dataclass(frozen=True, slots=True)
class SeedExample:
    """One worked example of a leaf; `context` is empty for freeform skills."""

    context: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Qna:
    """What a qna.yaml says of its leaf; a knowledge leaf's task is `domain: document_outline`, as version 3 gives it no task_description."""

    task: str
    examples: tuple[SeedExample, ...]


def load_mapping(text: str, *, file: str) -> dict[Any, Any]:
    """The keys and values of a YAML text. Raises: LeafError with line and column for what is no YAML or no mapping."""
    try:
        value = load_yaml(text, file=file)
    except ParamsError as error:
        raise _not_yaml(error.__cause__, file) from error
    if not isinstance(value, dict):
        raise LeafError(file, "the top level", f"is {shown(value)}; it must be a mapping: write the keys version, created_by, ...", reason="no mapping")
    return value


def parse_qna(value: Mapping[Any, Any], *, file: str, knowledge: bool) -> Qna:
    """The task and the examples of a loaded qna.yaml. Raises: LeafError at the first thing that the schema refuses."""
    keys = KNOWLEDGE_KEYS if knowledge else SKILL_KEYS
    if type(value.get("version")) not in (int, float) or value["version"] != VERSION:
        raise _other_version(value, keys, file, knowledge=knowledge)
    check_keys(value, keys, keys, file=file)
    texts = {key: text_at(value[key], key, file=file) for key in sorted(keys - {"version", "document", "seed_examples"})}
    if knowledge:
        _check_document(value["document"], file)
    read = _knowledge_examples if knowledge else _skill_example
    entries = _list_at(value["seed_examples"], "seed_examples", file, least=LEAST_EXAMPLES)
    found = [read(entry, f"seed example {i}", file) for i, entry in enumerate(entries, 1)]
    _refuse_repeats(found, "seed example", file)
    examples = tuple(example for several in found for example in several)
    if not knowledge:
        _check_contexts(examples, file)
    return Qna(f"{texts['domain']}: {texts['document_outline']}" if knowledge else texts["task_description"], examples)


def check_keys(value: Any, wanted: set[str], known: set[str] | None, *, file: str, at: str = "") -> None:
    """Refuses what is no mapping, lacks a wanted key or has one that is not known (None: others pass). `at` names the place in the file."""
    if not isinstance(value, dict):
        raise LeafError(file, at, f"is {shown(value)}; it must be a mapping with {', '.join(sorted(wanted))}", reason="wrong type")
    for key in value:
        if known is not None and key not in known:
            raise LeafError(file, _join(at, key), f"is no key here; rename it or take it out; {did_you_mean(bare(key), known)}", reason="unknown key")
    for key in sorted(wanted - set(value)):
        raise LeafError(file, _join(at, key), "is missing; add it", reason="missing key")


def text_at(value: Any, at: str, *, file: str) -> str:
    """The text as written, without blank lines before and blanks behind it. Raises: LeafError for what is no text or blank."""
    if not isinstance(value, str):
        mend = "write it" if value is None else "put it in quotes"
        raise LeafError(file, at, f"is {shown(value)}; it must be text: {mend}", reason="no text")
    if not value.strip():
        raise LeafError(file, at, "is blank; it must be text: write it", reason="no text")
    text = re.sub(r"\A(?:[^\S\n]*\n)+", "", value).rstrip()
    return text if "\n" in text else text.strip()  # the first line of code or of a list keeps the indentation that the others have


def _not_yaml(cause: BaseException | None, file: str) -> LeafError:
    from ruamel.yaml.constructor import DuplicateKeyError

    mark = getattr(cause, "problem_mark", None)
    at = f"line {mark.line + 1}, column {mark.column + 1}," if mark else "the text"
    problem = str(getattr(cause, "problem", None) or cause)[:100]
    if isinstance(cause, DuplicateKeyError):
        return LeafError(file, at, f"repeats a key ({problem}); keep one of the two", reason="repeated key")
    mend = "mend the line; text with a colon, a # or quotes in it goes in quotes or, indented, under a |"
    return LeafError(file, at, f"is not YAML ({problem}); {mend}", reason="not YAML")


def _other_version(value: Mapping[Any, Any], keys: set[str], file: str, *, knowledge: bool) -> LeafError:
    """Says all that must change; where that is the number alone, also what version 3 would refuse then."""
    changes = [f"write `version: {VERSION}`", *changes_to_v3(value, keys)]
    if len(changes) == 1:
        try:
            parse_qna({**value, "version": VERSION}, file=file, knowledge=knowledge)
        except LeafError as error:
            changes.append(f"then {error.field} {error.words}")
    reason = "old version" if label_of(value) in OLD else "unknown version"
    return LeafError(file, "version", f"is {label_of(value)}; espalier reads version {VERSION}: {'; '.join(changes)}", reason=reason)


def _check_document(value: Any, file: str) -> None:
    check_keys(value, DOCUMENT_KEYS, DOCUMENT_KEYS, file=file, at="document")
    for key in ("repo", "commit"):
        text_at(value[key], f"document {key}", file=file)
    patterns = [text_at(one, f"document pattern {i}", file=file) for i, one in enumerate(_list_at(value["patterns"], "document patterns", file, least=1), 1)]
    _refuse_repeats(patterns, "document pattern", file)


def _skill_example(entry: Any, at: str, file: str) -> tuple[SeedExample, ...]:
    check_keys(entry, {"question", "answer"}, {"question", "answer", "context"}, file=file, at=at)
    context = text_at(entry["context"], _join(at, "context"), file=file) if "context" in entry else ""
    return (SeedExample(context, *_pair(entry, at, file)),)


def _knowledge_examples(entry: Any, at: str, file: str) -> tuple[SeedExample, ...]:
    """One example for each question of a context."""
    keys = {"context", "questions_and_answers"}
    check_keys(entry, keys, keys, file=file, at=at)
    context = text_at(entry["context"], _join(at, "context"), file=file)
    examples = []
    for i, pair in enumerate(_list_at(entry["questions_and_answers"], _join(at, "questions_and_answers"), file, least=LEAST_PAIRS), 1):
        check_keys(pair, {"question", "answer"}, None, file=file, at=f"{at}, pair {i}")
        examples.append(SeedExample(context, *_pair(pair, f"{at}, pair {i}", file)))
    _refuse_repeats(examples, f"{at}, pair", file)
    return tuple(examples)


def _pair(entry: Mapping[str, Any], at: str, file: str) -> tuple[str, str]:
    return text_at(entry["question"], _join(at, "question"), file=file), text_at(entry["answer"], _join(at, "answer"), file=file)


def _check_contexts(examples: Sequence[SeedExample], file: str) -> None:
    grounded = sum(bool(example.context) for example in examples)
    if grounded not in (0, len(examples)):
        words = f"have a context in {grounded} of {len(examples)}; all have one (grounded) or none (freeform): split the leaf into two folders"
        raise LeafError(file, "seed_examples", words, reason="mixed contexts")


def _list_at(value: Any, at: str, file: str, *, least: int) -> list[Any]:
    if not isinstance(value, list):
        raise LeafError(file, at, f"is {shown(value)}; it must be a list of {least} or more: write one", reason="wrong type")
    if len(value) < least:
        raise LeafError(file, at, f"holds {len(value)}; it must hold at least {least}: add {least - len(value)}", reason="too few")
    return value


def _refuse_repeats(values: Sequence[Hashable], at: str, file: str) -> None:
    first: dict[Hashable, int] = {}
    for i, value in enumerate(values, 1):
        if first.setdefault(value, i) != i:
            raise LeafError(file, f"{at} {i}", f"is the same as {first[value]}; replace one", reason="repeated")


def _join(at: str, key: object) -> str:
    name = bare(key)
    return f"{at}, {name}" if at else name
