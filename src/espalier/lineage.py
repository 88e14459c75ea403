"""The way of one row through a recipe as plain text: what was asked in each step, what came back, its scores, and where it ended.

Works on rows that others have read (commands/show.py) or just made (commands/preview.py).
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.errors import EspalierError, ParamsError
from espalier.evolve import operation_of
from espalier.generate import Sampling, draws, is_asked, request_of
from espalier.prompts import Messages, Prompt
from espalier.ranges import STEPS
from espalier.teachers.base import Completion, Request

Row = Mapping[str, Any]
SCORES = (
    *("verdict", "delivered_leaf", "problem_key", "vote_share", "answer_entropy", "temperature_agreement", "round_trip", "asked_back"),
    *("words", "repeat_share", "echo_share", "is_truncated", "broken_rules", "logprob_mean", "logprob_z", "answer_loss", "answer_loss_z", "ifd", "ifd_z"),
    *("nearest_similarity", "neighbour_cluster", "learned"),
)
SHORTEST = 6  # characters of an id that are enough
CLOSEST = 3  # ids that an error names


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a row. prompt: its id, "" if the recipe has no such step; replies: (how it ended, text), the first part "" where that is not known."""

    name: str
    prompt: str
    messages: Messages
    replies: tuple[tuple[str, str], ...]
    outcome: str


def find_id(given: str, known: Collection[str]) -> str:
    """The one id that begins with `given`. Raises: ParamsError for a prefix that is too short or that several begin with; EspalierError for an unknown one."""
    given = given.lower()
    if len(given) < SHORTEST:
        raise ParamsError(f'"{given}" has {len(given)} characters; give an id, or at least its first {SHORTEST}')
    found = sorted(one for one in known if one.startswith(given))
    if len(found) > 1:
        raise ParamsError(f'"{given}" begins {len(found)} ids ({", ".join(found[:CLOSEST])}); give more characters')
    if not found:
        close = sorted(known, key=lambda one: (-sum(map(str.__eq__, given, one)), one))[:CLOSEST]
        raise EspalierError(f'"{given}" is no id of a row in data/plan or data/evolve; closest are {", ".join(close)}')
    return found[0]


def steps_of(
    rows: Mapping[str, Row], prompts: Mapping[str, Prompt], *, operations: Sequence[str], sampling: Sampling, heard: Mapping[Request, Completion]
) -> list[Step]:
    """The generation steps of a row.

    rows: the row as each step left it, by step; `plan` (with the columns of start_rows) and those after it that there are.
    heard: completions by request, where they are at hand; the other replies are taken from the rows, which do not hold an evolution that failed.
    """
    steps = []
    for before, name in zip(("plan", *STEPS), STEPS, strict=False):
        if name not in rows:
            break
        steps.append(_step(name, rows[before], rows[name], prompts.get(name), operations, sampling, heard))
    return steps


def requests_of(name: str, before: Row, after: Row, prompt: Prompt | None, operations: Sequence[str], sampling: Sampling) -> list[Request]:
    """What a step asks for a row, by what it was before and after; nothing where the recipe has no such step or the prompt lets the row pass.

    A world that poses or evolves by itself asks nothing, which is not seen here.
    """
    if prompt is None or not is_asked(before, prompt):
        return []
    asked = {**before, "pool": after["pool"]}  # which a prompt in rounds was shown more of than the plan holds
    if name == "evolve":
        asked |= {"operation": operation_of(before, operations)}
    return [request_of(asked, draw, prompt, sampling) for draw in draws(name, sampling.gen)]


def row_lines(row: Row) -> list[str]:
    """What a row is: its ids, and what the plan wants of it."""
    told = [("recipe", f"{row['recipe']}, row {row['index']} of its plan"), ("leaf asked", row["leaf"] or "none, the teacher picks")]
    told += [(name, row[name]) for name in ("task", "example", "document") if row[name]]
    if row["attributes"] != "{}":
        told.append(("attributes", row["attributes"]))
    evolved = [f"made of {row['parent_id']}"] if row["parent_id"] else []
    return [" ".join(["row", row["id"], *evolved]), *(_line(name, text) for name, text in told)]


def step_lines(step: Step, *, folder: str) -> list[str]:
    """A step as text; `folder` holds the prompt files."""
    if not step.prompt:
        return [f"{step.name:17}{step.outcome}"]
    lines = [f"{step.name:17}{folder}/{step.prompt}.yaml"]
    lines += [_line(role, text) for role, text in step.messages]
    for number, (ended, text) in enumerate(step.replies, 1):
        name = f"reply {number}" if len(step.replies) > 1 else "reply"
        lines.append(_line(name, f"{text}{f'   [{ended}]' if ended else ''}"))
    return [*lines, *([_line("", step.outcome)] if step.outcome else [])]


def vote_line(answers: Sequence[str]) -> str:
    """How often each answer was given, the most frequent first."""
    return _line("vote", ", ".join(f'{n} x "{answer}"' for answer, n in Counter(answers).most_common()))


def score_lines(row: Row) -> list[str]:
    """The scores that a row has."""
    found = {name: row[name] for name in SCORES if row.get(name) not in (None, [], "")}
    words = {name: ", ".join(value) if isinstance(value, list) else f"{value:.3f}" if isinstance(value, float) else str(value) for name, value in found.items()}
    return ["score", *(_line(name, text) for name, text in words.items())]


def drop_words(stage: str, row: Row) -> str:
    """Why a stage dropped a row."""
    if stage == "dedup":
        return f"dropped by dedup: {row['reason']} duplicate of {row['duplicate_of']} (Jaccard similarity {row['jaccard']:.3f})"
    if stage == "decontaminate":
        return f"dropped by decontaminate: {row['reason']}, {row['benchmark']} item {row['item']} of the split {row['split']} (coverage {row['coverage']:.3f})"
    also = ", ".join(reason for reason in row["reasons"] if reason != row["reason"])
    return f"dropped by {stage}: {row['reason']}{f' (also {also})' if also else ''}"


def plain(text: str) -> str:
    r"""`text` on one line, with everything that could steer a terminal spelt out.

    >>> print(plain("a\nb \x1b[2J ż"))
    a\nb \x1b[2J ż
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


def _step(
    name: str, before: Row, after: Row, prompt: Prompt | None, operations: Sequence[str], sampling: Sampling, heard: Mapping[Request, Completion]
) -> Step:
    if prompt is None:
        return Step(name, "", (), (), "the recipe has no such step")
    if not is_asked(before, prompt):
        why = f"the row is {before['status']}" if before["status"] != "ok" else prompt.passes(before)
        return Step(name, prompt.id, (), (), f"not asked, {why}")
    if name == "query" and after["query"] and after["solution"] and not after["spent_tokens"]:
        return Step(name, prompt.id, (), (("", after["query"]),), "posed by the world, no teacher was asked")
    asked = {**before, "operation": after["operation"] or operation_of(before, operations)} if name == "evolve" else before
    requests = requests_of(name, before, after, prompt, operations, sampling)
    replies = tuple((f"{reply.finish}, {reply.tokens} tokens", reply.text) for request in requests if (reply := heard.get(request)))
    return Step(name, prompt.id, requests[0].messages, replies or _kept_replies(name, after), _outcome(name, asked, after))


def _kept_replies(name: str, after: Row) -> tuple[tuple[str, str], ...]:
    """The replies that the rows hold."""
    if name == "answer":
        return tuple(("", answer) for answer in [*after["answers"], *after["second_answers"]])
    if name == "evolve":
        return (("", after["query"]),) if after["operation"] else ()
    return (("", after[name]),)


def _outcome(name: str, asked: Row, after: Row) -> str:
    if name == "evolve":
        operation = asked["operation"]
        return f"{operation} made {after['id']}" if after["operation"] else f"{after['eliminated'] or operation}; the parent stays"
    return "" if after["status"] == "ok" else f"{after['status']}: {after['detail']}"


def _line(name: str, text: str) -> str:
    return f"  {name:14} {plain(text)}"
