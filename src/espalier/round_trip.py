"""The way back: the teacher is shown context and answer of every whole row and writes the question that it belongs to, in the column asked_back.

The score `round_trip` compares that question with the original. It is asked in the step answer, not in `score`: the engine is loaded there, replies go through
the completion cache and are counted as the other tokens are, and scoring again asks nobody. Asked greedily, so that it does not depend on gen.temperature.

Source: consistency of a question with the one made of its answer: Alberti et al. 2019, arXiv 1906.05416 (there answer -> question -> answer).
"""

from collections.abc import Mapping
from dataclasses import replace

import polars

from espalier.errors import ParamsError
from espalier.generate import Ask, Row, Sampling, is_asked, request_of
from espalier.params import FILE, did_you_mean
from espalier.prompts import Prompt
from espalier.replies import Unparsed, read_parts
from espalier.teachers.base import Completion, Request


def ask_back(rows: polars.DataFrame, prompt: Prompt | None, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    """Add asked_back: the question that the teacher writes for each whole row; "" where it is not asked or its reply holds none. None asks nobody."""
    table = list(rows.iter_rows(named=True))
    places = [i for i, row in enumerate(table) if prompt and is_asked(row, prompt)]
    replies = dict(zip(places, ask([back_request(table[i], prompt, sampling) for i in places]), strict=True)) if prompt and places else {}
    questions = [_question(replies[i], prompt) if prompt and i in replies else "" for i in range(len(table))]
    tokens = [replies[i].tokens if i in replies else 0 for i in range(len(table))]
    spent = rows["spent_tokens"] + polars.Series(tokens, dtype=rows.schema["spent_tokens"])
    return rows.with_columns(spent.alias("spent_tokens"), polars.Series("asked_back", questions, dtype=polars.String))


def back_request(row: Row, prompt: Prompt, sampling: Sampling) -> Request:
    """What is asked for an answered row."""
    return replace(request_of(row, "round trip", prompt, sampling), temperature=0.0, top_p=1.0)


def check_round_trip(name: str, prompts: Mapping[str, Prompt]) -> None:
    """Raises: ParamsError when there is no such prompt, or it cannot serve: one of the step query for one text, which shows the answer and not the question."""
    at = f"{FILE}: gen.round_trip"
    if name not in prompts:
        fitting = [one for one, prompt in prompts.items() if "answer" in prompt.inputs]
        raise ParamsError(f'{at} names the prompt "{name}", for which there is no file; {did_you_mean(name, fitting)}')
    prompt = prompts[name]
    if prompt.step != "query" or prompt.reply.n > 1 or not {"answer"} <= set(prompt.inputs) <= {"answer", "context"}:
        raise ParamsError(f'{at} names "{name}", a prompt of the step {prompt.step} with the inputs {", ".join(prompt.inputs)}; it must be one of query '
                          "for one text that shows answer, and context at most")  # fmt: skip


def _question(reply: Completion, prompt: Prompt) -> str:
    if reply.finish != "stop":
        return ""
    try:
        return read_parts(prompt.reply, reply.text, 0)["query"]
    except Unparsed:
        return ""
