"""The generation step evolve: problems become harder or other ones; a failed evolution gives the parent back.

Each row takes one operation of its recipe, in turn. Where the world can carry it out by itself (one more checkable constraint, one level up), no teacher is
asked. A reply without a contract is the whole new problem; one with a contract (tags, json) is a new query about the same context.
Source: Evol-Instruct with elimination, WizardLM (arXiv 2304.12244, section 3.2).
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import polars

from espalier.generate import Ask, Row, Sampling, ask_rows, draws, read_row
from espalier.prompts import Prompt
from espalier.seeds import digest
from espalier.teachers.base import Completion


class Evolver(Protocol):
    """What a world knows of evolution; see worlds.py."""

    def gain(self, parent: Row, child: str, operation: str) -> str | None: ...
    def evolve(self, row: Row, operation: str, *, seed: int) -> dict[str, str] | None: ...


def evolve_queries(
    rows: polars.DataFrame, prompt: Prompt | None, operations: Sequence[str], sampling: Sampling, ask: Ask, *, world: Evolver
) -> polars.DataFrame:
    """Replace problems by evolved ones. An evolved row has a new id and the parent's as parent_id.

    Adds `operation` ("" where the parent stayed) and `eliminated` (why an evolution was dropped, "" where none was).
    """
    if prompt is None:
        return rows.with_columns(polars.lit("").alias("operation"), polars.lit("").alias("eliminated"))
    table = [row | {"operation": operation_of(row, operations), "eliminated": ""} for row in rows.iter_rows(named=True)]
    own = [world.evolve(row, str(row["operation"]), seed=sampling.seed) if row["status"] == "ok" else None for row in table]
    asked = [row for row, made in zip(table, own, strict=True) if made is None]
    replies = iter(ask_rows(asked, draws("evolve", sampling.gen), prompt, sampling, ask))
    evolved = [_judged(row, next(replies), prompt, world) if made is None else _child(row, made) for row, made in zip(table, own, strict=True)]
    return polars.DataFrame(evolved, schema={**rows.schema, "operation": polars.String, "eliminated": polars.String}).sort("id")


def operation_of(row: Mapping[str, object], operations: Sequence[str]) -> str:
    """The evolve operation whose turn it is for a row."""
    return operations[int(str(row["index"])) % len(operations)]


def _judged(row: dict[str, object], reply: Completion | None, prompt: Prompt, world: Evolver) -> dict[str, object]:
    """The child, or the parent with the reason why there is none."""
    if reply is None:
        return row | {"operation": ""}
    read = read_row(row, reply, prompt)
    text, operation = str(read["query"]), str(row["operation"])
    reason = str(read["detail"]) if read["status"] != "ok" else world.gain(row, text, operation)
    if reason:
        return row | {"operation": "", "eliminated": f"{operation}: {reason}", "spent_tokens": read["spent_tokens"]}
    whole = {"context": ""} if prompt.reply.kind == "text" else {}
    parts = {name: str(read[name]) for name in prompt.reply.parts}
    return _child(row | {"spent_tokens": read["spent_tokens"]}, {"solution": ""} | whole | parts)


def _child(row: dict[str, object], parts: Mapping[str, str]) -> dict[str, object]:
    return row | parts | {"id": digest(row["id"], "evolve", row["operation"]), "parent_id": row["id"]}
