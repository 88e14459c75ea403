"""Prompt files: what a teacher is asked in each step, as data with a contract and its own tests.

A file `<step>.<name>.yaml` holds
    step       context | query | evolve | answer
    about      one sentence
    branches   optional: the step asks only rows of these branches, the others pass it
    needs      optional: the step asks only rows in which none of these inputs is empty, the others pass it
    inputs     the variables that the messages use, no more and no fewer (see INPUTS)
    messages   list of {role, content}; content is Jinja2, an undefined variable is an error. A last message of the role open_user (content "") leaves the
               user's turn open: the teacher writes it (Magpie, arXiv 2406.08464, section 2.1)
    reply      optional: how the reply becomes text, and the gates that stop it; see replies.py
    examples   list of {inputs, messages} and, where the reply has a contract, {reply, gives}: what the messages must render to and what is read out of a
               reply; run whenever the file is loaded
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import SandboxedEnvironment

from espalier.errors import ParamsError
from espalier.params import did_you_mean, load_yaml
from espalier.ranges import STEPS
from espalier.replies import Reply, Unparsed, parse_contract, read_parts
from espalier.taxonomy import BRANCHES

# What a row can offer to a prompt, beside the attributes of the recipe.
INPUTS = {
    "context": "text written by the step context, empty if there is none",
    "query": "text written by the steps query and evolve",
    "answer": "text written by the step answer; for the prompt of gen.round_trip alone",
    "task": "the leaf's task in a few words",
    "topic": "the leaf's topic in a few words, where no attribute of that name is walked through",
    "verifier": "how the leaf's answers are checked (math, choice, checks, ...), empty if they are not",
    "requirements": "what every answer of the leaf must hold to, as sentences; empty if nothing",
    "example": "the problem of one of the leaf's seed examples",
    "examples": "list of three of the leaf's seed examples, each with context, question and answer",
    "document": "the context of one of the leaf's seed examples, empty if it has none",
    "source": "a passage of the documents that taxonomy.documents names",
    "pool": "list of problems, seed examples and accepted ones; the step then runs in rounds of gen.round_rows",
    "banned_openings": "the world's banned openings, one after the other",
    "operation": "the evolve operation of this round",
}
LISTS = {"examples": "[]", "pool": "[]"}  # inputs that rows hold as JSON
REQUIRED = {"step", "about", "inputs", "messages", "examples"}
NO_COLUMNS = {"banned_openings", "operation"}  # inputs that are not held by the rows
KEYS = REQUIRED | {"branches", "needs", "reply"}
OPEN_USER = "open_user"
ROLES = ("system", "user", "assistant", OPEN_USER)

_JINJA = SandboxedEnvironment(undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True)

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A checked prompt file. `branches` and `needs` are empty when the step asks every row; `messages` holds (role, template) pairs."""

    id: str
    step: str
    branches: tuple[str, ...]
    inputs: tuple[str, ...]
    messages: Messages
    reply: Reply
    needs: tuple[str, ...] = ()

    def as_json(self) -> dict[str, object]:
        """Everything that decides what a teacher is asked; see `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Prompt":
        """The prompt that `as_json` gave."""
        messages = tuple((role, content) for role, content in value["messages"])
        reply = {name: tuple(part) if isinstance(part, list) else part for name, part in value["reply"].items()}
        branches, inputs, needs = (tuple(value[name]) for name in ("branches", "inputs", "needs"))
        return cls(value["id"], value["step"], branches, inputs, messages, Reply(**reply), needs)

    def passes(self, row: Mapping[str, object]) -> str | None:
        """Why a row is not asked but passes the step; None where it is asked. The row has a branch ("" = the teacher picks the leaf) and what is needed."""
        if self.branches and row["branch"] not in self.branches:
            return f"the prompt lets the branch {row['branch'] or 'none'} pass"
        empty = next((name for name in self.needs if row[name] in ("", LISTS.get(name))), None)
        return empty and f"the prompt needs {empty}, and the row has none"

    def asks(self, row: Mapping[str, object]) -> bool:
        """Whether a row is asked, or passes."""
        return self.passes(row) is None

    def render(self, values: Mapping[str, object]) -> Messages:
        """The (role, text) messages for one row, without blanks at the ends. Raises: KeyError for a value that is not there."""
        given = {name: values[name] for name in self.inputs}
        return tuple((role, _template(content).render(given).strip()) for role, content in self.messages)


def is_open(messages: Messages) -> bool:
    """Whether the teacher is to write the user's turn."""
    return messages[-1][0] == OPEN_USER


def parse_prompt(text: str, *, file: str, attributes: Mapping[str, object], banned: tuple[str, ...] = ()) -> Prompt:
    """The prompt of one file, its examples run; banned: the world's banned openings.

    Raises: ParamsError with file, what was found and what is wanted.
    """
    value = load_yaml(text, file=file)
    if not isinstance(value, dict):
        raise ParamsError(f"{file}: found no mapping; a prompt file has the keys {', '.join(sorted(KEYS))}")
    _check_keys(value, file)
    step = value["step"]
    name = re.sub(r"^.*/|\.yaml$", "", file)
    if step not in STEPS or not name.startswith(f"{step}."):
        raise ParamsError(f'{file}: step is "{step}"; it must be one of {", ".join(STEPS)} and begin the file\'s name')
    prompt = Prompt(
        id=name,
        step=step,
        branches=_names(value.get("branches"), "branches", file),
        inputs=_names(value["inputs"], "inputs", file),
        messages=_messages(value["messages"], file),
        reply=parse_contract(value.get("reply"), step=step, banned=banned, file=file),
        needs=_names(value.get("needs"), "needs", file),
    )
    _check_inputs(prompt, file, attributes)
    for number, example in enumerate(value["examples"], 1):
        _run_example(prompt, example, f"{file}: example {number}")
    return prompt


def _check_keys(value: Mapping[str, Any], file: str) -> None:
    for key in value:
        if key not in KEYS:
            raise ParamsError(f"{file}: {key} is no key of a prompt file; {did_you_mean(str(key), KEYS)}")
    for key in sorted(REQUIRED - set(value)):
        raise ParamsError(f"{file}: the key {key} is missing")
    for key in ("messages", "examples"):
        if not isinstance(value[key], list) or not value[key]:
            raise ParamsError(f"{file}: {key} must be a list with at least one entry")


def _names(value: Any, key: str, file: str) -> tuple[str, ...]:
    """A list of words, or nothing; branches must be those of the taxonomy, needs columns of the rows."""
    names = [] if value is None else value
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ParamsError(f"{file}: {key} is {value}; it must be a list of names")
    for name in names if key == "branches" else ():
        if name not in BRANCHES:
            raise ParamsError(f'{file}: branches names "{name}"; {did_you_mean(name, BRANCHES)}')
    for name in names if key == "needs" else ():
        if name not in set(INPUTS) - NO_COLUMNS:
            raise ParamsError(f'{file}: needs names "{name}"; {did_you_mean(name, set(INPUTS) - NO_COLUMNS)}')
    return tuple(names)


def _messages(values: Sequence[Any], file: str) -> Messages:
    messages = tuple(_message(value, file) for value in values)
    for place, (role, content) in enumerate(messages, 1):
        if role == OPEN_USER and (content or place < len(messages)):
            raise ParamsError(f"{file}: message {place} is {OPEN_USER}; it must be the last and have no content, for the teacher writes it")
    return messages


def _message(message: Any, file: str) -> tuple[str, str]:
    if not isinstance(message, dict) or set(message) != {"role", "content"} or message["role"] not in ROLES:
        raise ParamsError(f"{file}: a message is {message}; it must have a role ({', '.join(ROLES)}) and a content")
    return message["role"], str(message["content"])


def _check_inputs(prompt: Prompt, file: str, attributes: Mapping[str, object]) -> None:
    """Declared and used inputs are the same set, and each is something that a row offers."""
    try:
        used = {name for _, content in prompt.messages for name in meta.find_undeclared_variables(_JINJA.parse(content))}
    except TemplateError as error:
        raise ParamsError(f"{file}: not a Jinja2 template ({error}); mend the content") from error
    known = {**INPUTS, **attributes}
    for name in prompt.inputs:
        if name not in known:
            raise ParamsError(f'{file}: inputs names "{name}", which no row offers; {did_you_mean(name, known)}')
    for name in sorted(used - set(prompt.inputs)):
        raise ParamsError(f'{file}: the messages use "{name}", which inputs does not declare; declare it or take it out')
    for name in sorted(set(prompt.inputs) - used):
        raise ParamsError(f'{file}: inputs declares "{name}", which no message uses; take it out or use it')


def _run_example(prompt: Prompt, example: Any, at: str) -> None:
    wanted = {"inputs", "messages"} | ({"reply", "gives"} if prompt.reply.kind != "text" else set())
    if not isinstance(example, dict) or set(example) != wanted or not isinstance(example["inputs"], dict | None):
        raise ParamsError(f"{at}: found {example}; it must have {' and '.join(sorted(wanted))}")
    try:
        rendered = [text for _, text in prompt.render({name: _given(value) for name, value in (example["inputs"] or {}).items()})]
    except KeyError as error:
        raise ParamsError(f"{at}: cannot be rendered, {error} is missing") from error
    except (TemplateError, TypeError, ValueError, ArithmeticError) as error:
        raise ParamsError(f"{at}: cannot be rendered, {error}") from error
    if rendered != example["messages"]:
        raise ParamsError(f"{at}: renders to {rendered}; the file says {example['messages']}")
    if "reply" in example:
        _run_reply(prompt, example, at)


def _run_reply(prompt: Prompt, example: Mapping[str, Any], at: str) -> None:
    """The contract reads out of the example's reply what the file says; for candidates a list, one entry for each row that shares the call."""
    try:
        parts = [read_parts(prompt.reply, str(example["reply"]), turn) for turn in range(prompt.reply.n)]
    except Unparsed as error:
        raise ParamsError(f"{at}: its reply cannot be read, {error}") from error
    if (parts if prompt.reply.n > 1 else parts[0]) != example["gives"]:
        raise ParamsError(f"{at}: its reply gives {parts if prompt.reply.n > 1 else parts[0]}; the file says {example['gives']}")


def _given(value: Any) -> object:
    """An input of an example: lists stay lists, everything else is text."""
    return value if isinstance(value, list) else str(value)


def _template(content: str) -> Any:
    if content not in _TEMPLATES:
        _TEMPLATES[content] = _JINJA.from_string(content)
    return _TEMPLATES[content]


_TEMPLATES: dict[str, Any] = {}
