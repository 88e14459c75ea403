"""The generation steps context, query and answer: each asks a teacher for one more part of every row. The step evolve is evolve.py.

A row that fails stays, with a status that says why (error, truncated, empty, unparsed, stopped, known), and later steps pass it on. A recipe that has no prompt
for a step passes all its rows on. Only cheap gates act here; everything statistical is left to `score`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars

from espalier.novelty import Pool
from espalier.prompts import LISTS, Prompt
from espalier.replies import Unparsed, read_parts, schema_of, stopped_by
from espalier.seeds import number
from espalier.settings import Gen
from espalier.teachers.base import Completion, Request

Row = Mapping[str, object]
Ask = Callable[[Sequence[Request]], list[Completion]]
Pose = Callable[[Row], dict[str, str] | None]
TEXT_COLUMNS = ("context", "query", "solution", "answer", "finish", "status", "detail")
KEPT_DRAW = "answer 0"  # the one whose log-probability a row keeps
SECOND = "second"  # begins the names of draws at gen.second_temperature
POOL_DRAWS = 2  # accepted problems shown beside seed examples; arXiv 2212.10560, section 2.2


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
    if prompt is None:
        return rows
    return _table(_fill(list(rows.iter_rows(named=True)), "context", prompt, sampling, ask), rows)


def write_queries(rows: polars.DataFrame, prompt: Prompt | None, sampling: Sampling, ask: Ask, *, pose: Pose) -> polars.DataFrame:
    """Fill the column query. pose: a problem made without a teacher, or None where one is asked.

    A prompt that shows a pool is asked in rounds of `gen.round_rows` rows, in the order of the plan; what a round adds to the pool, the next ones are shown.
    """
    if prompt is None:
        return rows
    table = [row | (pose(row) or {}) if row["status"] == "ok" else row for row in rows.iter_rows(named=True)]
    posed = [row for row in table if row["query"]]
    asked = [row for row in table if not row["query"]]
    filled = _fill_in_rounds(asked, prompt, sampling, ask) if "pool" in prompt.inputs else _fill(asked, "query", prompt, sampling, ask)
    return _table([*posed, *filled], rows)


def write_answers(rows: polars.DataFrame, prompt: Prompt, sampling: Sampling, ask: Ask) -> polars.DataFrame:
    """Fill answer, answers (`gen.answers` of them, the first is the answer), second_answers, finish, token counts and mean log-probability.

    A row's samples are asked one after the other, so that an engine reads their common prompt once.
    """
    table, names, k = list(rows.iter_rows(named=True)), draws("answer", sampling.gen), sampling.gen.answers
    replies, n = ask_rows(table, names, prompt, sampling, ask), len(names)
    answered = [_answered(row, replies[place * n : (place + 1) * n], prompt, k=k) for place, row in enumerate(table)]
    lists = dict.fromkeys(("answers", "second_answers"), polars.List(polars.String))
    added = {**lists, "prompt_tokens": polars.Int64, "answer_tokens": polars.Int64, "logprob_mean": polars.Float64}
    return polars.DataFrame(answered, schema={**rows.schema, **added}).sort("id")


def draws(step: str, gen: Gen) -> list[str]:
    """One name for each reply that a step wants of a row; the reply's random numbers hang on it. Second answers come last.

    >>> gen = Gen(0.7, 1.0, 48, 2, 100, 0.7, 2000, 1, 0.0, "")
    >>> draws("answer", gen), draws("query", gen)
    (['answer 0', 'answer 1', 'second 0'], ['query'])
    """
    if step != "answer":
        return [step]
    return [*(f"{step} {sample}" for sample in range(gen.answers)), *(f"{SECOND} {sample}" for sample in range(gen.second_answers))]


def is_asked(row: Row, prompt: Prompt) -> bool:
    """Whether a prompt is put to a row: the row is whole so far, of the prompt's branches, and has what the prompt needs."""
    return row["status"] == "ok" and prompt.asks(row)


def request_of(row: Row, draw: str, prompt: Prompt, sampling: Sampling) -> Request:
    """What is asked for a row; `draw` is one of `draws`. For `evolve` the row must hold the operation. Rows that share a call ask the same up to the query."""
    return _requests_of(row, [draw], prompt, sampling)[0]


def _requests_of(row: Row, draws: Sequence[str], prompt: Prompt, sampling: Sampling) -> list[Request]:
    """As `request_of`, for several draws, which differ in their seeds alone: rendering costs most (LOG.md)."""
    values: dict[str, object] = {name: str(row[name]) for name in prompt.inputs if name in row}
    values |= {name: json.loads(str(row.get(name) or empty)) for name, empty in LISTS.items() if name in prompt.inputs}
    values |= {"banned_openings": "; ".join(prompt.reply.banned)} | json.loads(str(row["attributes"]))
    gen, drawn_for = sampling.gen, row["call"] if prompt.step in ("context", "query") else row["id"]
    messages, schema = prompt.render(values), schema_of(prompt.reply)
    heats = [gen.second_temperature if draw.startswith(SECOND) else gen.temperature for draw in draws]
    return [
        Request(messages, heat, gen.top_p, gen.max_tokens, number(sampling.seed, draw, drawn_for), schema, logprob=draw == KEPT_DRAW)
        for draw, heat in zip(draws, heats, strict=True)
    ]


def ask_rows(rows: Sequence[Row], draws: Sequence[str], prompt: Prompt, sampling: Sampling, ask: Ask) -> list[Completion | None]:
    """For each row one completion for each of `draws`, which name what the draw's seed hangs on; None where the row is not whole or the prompt passes it."""
    places = [place for place, row in enumerate(rows) if is_asked(row, prompt)]
    completions = iter(ask([request for place in places for request in _requests_of(rows[place], draws, prompt, sampling)]))
    found = {(place, draw): next(completions) for place in places for draw in draws}
    return [found.get((place, draw)) for place in range(len(rows)) for draw in draws]


def measure(rows: polars.DataFrame) -> dict[str, float]:
    """Numbers on one step's rows: how many, how many are whole, and what the teacher wrote for them so far."""
    statuses = rows["status"]
    return {
        "rows": rows.height,
        "ok_share": _share(statuses, "ok"),
        "truncated_share": _share(statuses, "truncated"),
        "error_share": _share(statuses, "error"),
        "unparsed_share": _share(statuses, "unparsed"),
        "stopped_share": _share(statuses, "stopped"),
        "known_share": _share(statuses, "known"),
        "spent_tokens": int(rows["spent_tokens"].sum()),
    }


def read_row(row: Row, reply: Completion, prompt: Prompt) -> dict[str, object]:
    """What a reply makes of a row: finish, status, detail, spent tokens, and the parts that its contract reads out of it.

    A reply that cannot be used stands in the contract's first field as it came, so that a reader sees what went wrong. Rows that share a call pay once.
    """
    own = prompt.reply.fields[0]
    spent = int(str(row["spent_tokens"])) + (0 if prompt.reply.n > 1 and row["turn"] else reply.tokens)
    state = {"finish": reply.finish, "spent_tokens": spent, own: reply.text}
    if reply.finish == "error":
        return state | {"status": "error", "detail": reply.error}
    if reply.finish == "length":
        return state | {"status": "truncated", "detail": f"cut off after {reply.tokens} tokens"}
    if not reply.text.strip():
        return state | {"status": "empty", "detail": "the reply has no text"}
    try:
        parts = read_parts(prompt.reply, reply.text, int(str(row["turn"])))
    except Unparsed as error:
        return state | {"status": "unparsed", "detail": str(error)}
    reason = stopped_by(prompt.reply, parts[own])
    return state | parts | ({"status": "stopped", "detail": reason} if reason else {"status": "ok", "detail": ""})


def _share(statuses: polars.Series, status: str) -> float:
    return float((statuses == status).mean() or 0.0)


def _table(made: Sequence[Row], before: polars.DataFrame) -> polars.DataFrame:
    return polars.DataFrame(made, schema=before.schema).sort("id")


def _fill(rows: Sequence[dict[str, object]], column: str, prompt: Prompt, sampling: Sampling, ask: Ask) -> list[dict[str, object]]:
    replies = ask_rows(rows, draws(column, sampling.gen), prompt, sampling, ask)
    return [row if reply is None else row | read_row(row, reply, prompt) for row, reply in zip(rows, replies, strict=True)]


def _fill_in_rounds(rows: Sequence[dict[str, object]], prompt: Prompt, sampling: Sampling, ask: Ask) -> list[dict[str, object]]:
    """The rows with queries; one that is too close to the pool has the status known."""
    seeds = sorted({text for row in rows for text in json.loads(str(row["pool"] or "[]"))})
    pool, size, filled = Pool(seeds, max_overlap=sampling.gen.max_overlap), sampling.gen.round_rows, []
    ordered = sorted(rows, key=lambda row: int(str(row["index"])))
    while ordered:
        some = [row for row in ordered if int(str(row["index"])) // size == int(str(ordered[0]["index"])) // size]
        ordered = ordered[len(some) :]
        made = _fill([_shown(row, pool.texts[len(seeds) :]) for row in some], "query", prompt, sampling, ask)
        for row in made:
            reason = pool.add(str(row["query"])) if row["status"] == "ok" else None
            filled.append(row | ({"status": "known", "detail": reason} if reason else {}))
    return filled


def _shown(row: dict[str, object], accepted: Sequence[str]) -> dict[str, object]:
    """A row whose pool holds some accepted problems too."""
    drawn = {accepted[number(row["id"], "pool", draw) % len(accepted)] for draw in range(POOL_DRAWS)} if accepted else set()
    return row | {"pool": json.dumps([*json.loads(str(row["pool"] or "[]")), *sorted(drawn)], ensure_ascii=False)}


def _answered(row: dict[str, object], replies: list[Completion | None], prompt: Prompt, *, k: int) -> dict[str, object]:
    """A row with the first k replies as its answers, and those after them as its second ones."""
    first = replies[0]
    if first is None:
        return row | {"answers": [], "second_answers": [], "prompt_tokens": 0, "answer_tokens": 0, "logprob_mean": 0.0}
    read = [read_row(row, reply, prompt) for reply in replies if reply]
    spent = int(str(row["spent_tokens"])) + sum(reply.tokens for reply in replies if reply)
    return (
        row
        | read[0]
        | {"answers": [one["answer"] for one in read[:k]], "second_answers": [one["answer"] for one in read[k:]], "spent_tokens": spent}
        | {"prompt_tokens": first.prompt_tokens, "answer_tokens": first.tokens, "logprob_mean": first.logprob_mean}
    )
