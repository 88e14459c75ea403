"""One row for each sample that is asked for: leaf, attributes, seed examples, a document, and an id that every later draw hangs on.

Prefix-stable: asking for more rows keeps the first ones, so the completion cache answers them. Rows of one leaf share a call, `Ask.rows_per_call` of them
at a time, where the query prompt wants several candidates in one reply; all that decides what a call asks is then the same for them.

Columns: id, root_id, parent_id, call (the id that the seeds of context and query hang on), turn (which candidate of the call), recipe, index, leaf, branch,
task, topic, requirements, verifier, checks, example, examples, document, pool, source, attributes. Long ones that no prompt of the recipe uses are empty.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars

from espalier.attributes import Attributes, walk
from espalier.prompts import Prompt
from espalier.seeds import digest, number, shuffled
from espalier.settings import Recipe

MOST_EXAMPLES = 3  # LAB shows three (arXiv 2403.01081, section 3.1; instructlab/sdg uses exactly three of a knowledge example's pairs)

MOST_POOL = 6  # seed problems that a prompt with a pool shows (arXiv 2212.10560, section 2.2)


@dataclass(frozen=True, slots=True)
class Ask:
    """What a recipe's prompts want of the plan: the inputs that they use, and how many rows share a call."""

    inputs: frozenset[str]
    rows_per_call: int


def ask_of(prompts: Iterable[Prompt]) -> Ask:
    """What a recipe's prompts want of the plan."""
    prompts = list(prompts)
    return Ask(frozenset(name for prompt in prompts for name in prompt.inputs), max((prompt.reply.n for prompt in prompts), default=1))


@dataclass(frozen=True, slots=True)
class Tables:
    """What a plan is made of: leaves and seeds as the stage taxonomy writes them, and passages of documents."""

    leaves: polars.DataFrame
    seeds: polars.DataFrame
    documents: Sequence[str]


def plan_rows(name: str, recipe: Recipe, tables: Tables, attributes: Attributes, ask: Ask, *, rows: int, seed: int) -> polars.DataFrame:
    """`rows` rows for one recipe, sorted by id. A recipe whose teacher picks the leaf has an empty leaf and none of its columns."""
    order = shuffled(tables.leaves["leaf"].to_list(), seed, "plan") if recipe.leaves == "taxonomy" else [""]
    known = {row["leaf"]: row for row in tables.leaves.iter_rows(named=True)}
    examples = _examples_by_leaf(tables.seeds, ask)
    starts = {leaf: number(seed, "attributes", leaf) if leaf else 0 for leaf in order}  # leaves walk from different places
    documents = shuffled(tables.documents, seed, "documents") if "source" in ask.inputs else []
    problems = [first for several in examples.values() for first, _, _ in several] if "pool" in ask.inputs else []
    made: dict[str, list[object]] = {column: [] for column in COLUMNS}
    for index in range(rows):
        leaf, place = order[index % len(order)], index // len(order)
        turn = place % ask.rows_per_call
        call = digest(seed, "row", name, leaf, place - turn)
        row = digest(seed, "row", name, leaf, place) if turn else call
        about = known.get(leaf, NO_LEAF)
        shown = examples[leaf][number(call, "example") % len(examples[leaf])] if leaf else ("", "", "")
        pool = json.dumps([problems[number(call, "pool", i) % len(problems)] for i in range(MOST_POOL)], ensure_ascii=False) if problems else ""
        source = documents[(index - turn * len(order)) // ask.rows_per_call % len(documents)] if documents else ""
        combination = json.dumps(walk(attributes, starts[leaf] + place - turn, seed=seed), sort_keys=True, ensure_ascii=False)
        values = (row, row, "", call, turn, name, index, leaf, *(about[one] for one in ABOUT), *shown, pool, source, combination)
        for column, value in zip(made.values(), values, strict=True):
            column.append(value)
    return polars.DataFrame(made).sort("id")


ABOUT = ("branch", "task", "topic", "requirements", "verifier", "checks")
NO_LEAF = dict.fromkeys(ABOUT, "")
COLUMNS = ("id", "root_id", "parent_id", "call", "turn", "recipe", "index", "leaf", *ABOUT, "example", "examples", "document", "pool", "source", "attributes")


def _examples_by_leaf(seeds: polars.DataFrame, ask: Ask) -> dict[str, list[tuple[str, str, str]]]:
    """For each leaf, and each of the seed examples that a row may be built on: its problem, the list of it and those after it, its document."""
    by_leaf: dict[str, list[dict[str, str]]] = {}
    for row in seeds.filter(~polars.col("held_out")).iter_rows(named=True):
        by_leaf.setdefault(row["leaf"], []).append({"context": row["context"], "question": row["query"], "answer": row["answer"]})
    return {leaf: [_shown(examples, place, ask) for place in range(len(examples))] for leaf, examples in by_leaf.items()}


def _shown(examples: Sequence[Mapping[str, str]], place: int, ask: Ask) -> tuple[str, str, str]:
    first = examples[place]
    several = [examples[(place + i) % len(examples)] for i in range(min(MOST_EXAMPLES, len(examples)))]
    text = json.dumps(several, ensure_ascii=False) if "examples" in ask.inputs else ""
    return f"{first['context']} {first['question']}".strip(), text, first["context"]


def plan_metrics(rows: polars.DataFrame) -> dict[str, float]:
    """Numbers on a plan: rows, leaves asked for (0 when the teacher picks), attribute combinations."""
    asked = rows.filter(polars.col("leaf") != "")["leaf"]
    return {"rows": rows.height, "leaves": asked.n_unique() if len(asked) else 0, "combinations": rows["attributes"].n_unique()}
