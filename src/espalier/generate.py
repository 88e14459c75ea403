"""The four generation steps: context, query, evolve, answer. Each asks a teacher for one more part of every row.

A row that fails stays, with a status that says why (error, truncated, empty), and later steps pass it on. A recipe that has no prompt for a step passes all its
rows on. Only cheap gates act here; everything statistical is left to `score`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars

from espalier.prompts import Prompt
from espalier.seeds import digest, number
from espalier.settings import Gen
from espalier.teachers.base import Completion, Request

Ask = Callable[[Sequence[Request]], list[Completion]]
TEXT_COLUMNS = ("context", "query", "answer", "finish", "status", "detail")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How replies are drawn, and what they hang on."""

    gen: Gen
    seed: int


def start_rows(plan: polars.DataFrame) -> polars.DataFrame:
    """Plan rows with the columns that the steps fill in."""
    empty = [polars.lit("").alias(name) for name in TEXT_COLUMNS if name not in ("finish", "status")]
    return plan.with_columns(*empty, polars.lit("stop").alias("finish"), polars.lit("ok").alias("status"), polars.lit(0).alias("spent_tokens"))


def write_contexts(rows: polars.DataFrame, prompt: Prompt | None, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    """Fill the column context of the rows that the prompt asks."""
    return _fill(rows, "context", prompt, sampling, ask)


def write_queries(rows: polars.DataFrame, prompt: Prompt | None, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    """Fill the column query."""
    return _fill(rows, "query", prompt, sampling, ask)


def evolve_queries(
    rows: polars.DataFrame, prompt: Prompt | None, operations: Sequence[str], sampling: Sampling, ask: Ask, *, gains: Callable[[str, str], bool]
) -> polars.DataFrame:
    """Replace problems by evolved ones; each row takes one operation, in turn. A failed evolution gives the parent back.

    gains: whether the second text poses a problem, and another one than the first (no information gain is exact where the world can parse).
    Adds column `operation` ("" where the parent stayed); an evolved row has the parent's id as parent_id.
    Source: elimination evolving, WizardLM (arXiv 2304.12244, section 3.2).
    """
    if prompt is None:
        return rows.with_columns(polars.lit("").alias("operation"))
    asked = [row | {"operation": operation_of(row, operations)} for row in rows.iter_rows(named=True)]
    replies = _ask_rows(asked, draws("evolve", sampling.gen), prompt, sampling, ask)
    evolved = [_evolved(row, reply, gains) for row, reply in zip(asked, replies, strict=True)]
    return polars.DataFrame(evolved, schema={**rows.schema, "operation": polars.String}).sort("id")


def write_answers(rows: polars.DataFrame, prompt: Prompt, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    """Fill answer, answers (`gen.answers` of them, the first is the answer), finish, token counts and mean log-probability.

    A row's samples are asked one after the other, so that an engine reads their common prompt once.
    """
    table, k = list(rows.iter_rows(named=True)), sampling.gen.answers
    replies = _ask_rows(table, draws("answer", sampling.gen), prompt, sampling, ask)
    answered = [_answered(row, replies[place * k : (place + 1) * k]) for place, row in enumerate(table)]
    added = {"answers": polars.List(polars.String), "prompt_tokens": polars.Int64, "answer_tokens": polars.Int64, "logprob_mean": polars.Float64}
    return polars.DataFrame(answered, schema={**rows.schema, **added}).sort("id")


def draws(step: str, gen: Gen) -> list[str]:
    """One name for each reply that a step wants of a row; the reply's random numbers hang on it.

    >>> draws("answer", Gen(0.7, 1.0, 48, 2, 2000)), draws("query", Gen(0.7, 1.0, 48, 2, 2000))
    (['answer 0', 'answer 1'], ['query'])
    """
    return [f"{step} {sample}" for sample in range(gen.answers)] if step == "answer" else [step]


def operation_of(row: Mapping[str, object], operations: Sequence[str]) -> str:
    """The evolve operation whose turn it is for a row."""
    return operations[int(str(row["index"])) % len(operations)]


def is_asked(row: Mapping[str, object], prompt: Prompt) -> bool:
    """Whether a prompt is put to a row: the row is whole so far, and of the prompt's branches."""
    return row["status"] == "ok" and prompt.asks(str(row["branch"]))


def request_of(row: Mapping[str, object], draw: str, prompt: Prompt, sampling: Sampling) -> Request:
    """What is asked for a row; `draw` is one of `draws`. For `evolve` the row must hold the operation."""
    values = {name: str(value) for name, value in row.items()} | json.loads(str(row["attributes"]))
    gen = sampling.gen
    return Request(prompt.render(values), gen.temperature, gen.top_p, gen.max_tokens, number(sampling.seed, draw, row["id"]))


def measure(rows: polars.DataFrame) -> dict[str, float]:
    """Numbers on one step's rows: how many, how many are whole, and what the teacher wrote for them so far."""
    statuses = rows["status"]
    return {
        "rows": rows.height,
        "ok_share": _share(statuses, "ok"),
        "truncated_share": _share(statuses, "truncated"),
        "error_share": _share(statuses, "error"),
        "spent_tokens": int(rows["spent_tokens"].sum()),
    }


def _share(statuses: polars.Series, status: str) -> float:
    return float((statuses == status).mean() or 0.0)


def _fill(rows: polars.DataFrame, column: str, prompt: Prompt | None, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    if prompt is None:
        return rows
    table = list(rows.iter_rows(named=True))
    replies = _ask_rows(table, draws(column, sampling.gen), prompt, sampling, ask)
    filled = [row if reply is None else row | {column: reply.text} | _state(row, reply) for row, reply in zip(table, replies, strict=True)]
    return polars.DataFrame(filled, schema=rows.schema).sort("id")


def _ask_rows(
    rows: Sequence[Mapping[str, object]], draws: Sequence[str], prompt: Prompt, sampling: Sampling, ask: Ask
) -> list[Completion | None]:
    """For each row one completion for each of `draws`, which name what the draw's seed hangs on; None where the row is not whole or the prompt passes it."""
    places = [place for place, row in enumerate(rows) if is_asked(row, prompt)]
    completions = iter(ask([request_of(rows[place], draw, prompt, sampling) for place in places for draw in draws]))
    found = {(place, draw): next(completions) for place in places for draw in draws}
    return [found.get((place, draw)) for place in range(len(rows)) for draw in draws]


def _state(row: Mapping[str, object], reply: Completion) -> dict[str, object]:
    """finish, status, detail and tokens after one more reply."""
    if reply.finish == "error":
        status, detail = "error", reply.error
    elif reply.finish == "length":
        status, detail = "truncated", f"cut off after {reply.tokens} tokens"
    else:
        status, detail = ("ok", "") if reply.text.strip() else ("empty", "the reply has no text")
    return {"finish": reply.finish, "status": status, "detail": detail, "spent_tokens": int(str(row["spent_tokens"])) + reply.tokens}


def _evolved(row: dict[str, object], reply: Completion | None, gains: Callable[[str, str], bool]) -> dict[str, object]:
    parent = f"{row['context']} {row['query']}".strip()
    spent = int(str(row["spent_tokens"])) + (reply.tokens if reply else 0)
    if reply is None or reply.finish != "stop" or not gains(parent, reply.text):
        return row | {"operation": "", "spent_tokens": spent}
    child = digest(row["id"], "evolve", row["operation"])
    return row | {"context": "", "query": reply.text, "id": child, "parent_id": row["id"], "spent_tokens": spent}


def _answered(row: dict[str, object], replies: list[Completion | None]) -> dict[str, object]:
    first = replies[0]
    if first is None:
        return row | {"answers": [], "prompt_tokens": 0, "answer_tokens": 0, "logprob_mean": 0.0}
    spent = int(str(row["spent_tokens"])) + sum(reply.tokens for reply in replies[1:] if reply)
    return (
        row
        | {"answer": first.text, "answers": [reply.text for reply in replies if reply]}
        | {"prompt_tokens": first.prompt_tokens, "answer_tokens": first.tokens, "logprob_mean": first.logprob_mean}
        | _state(row | {"spent_tokens": spent}, first)
    )
