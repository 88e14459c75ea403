"""One row for each sample that is asked for: leaf, attributes, seed examples, operations, and an id that every later draw hangs on.

Prefix-stable: asking for more rows keeps the first ones, so the completion cache answers them.
"""

import json
from collections.abc import Mapping, Sequence

import polars

from espalier.attributes import Attributes, walk
from espalier.seeds import digest, number, shuffled
from espalier.settings import Recipe


def plan_rows(
    name: str, recipe: Recipe, leaves: polars.DataFrame, seeds: polars.DataFrame, attributes: Attributes, *, rows: int, seed: int
) -> polars.DataFrame:
    """`rows` rows for one recipe, sorted by id; columns id, root_id, parent_id, recipe, index, leaf, branch, task, example, document, attributes.

    A recipe whose teacher picks the leaf has empty leaf, branch, task, example and document.
    """
    order = shuffled(leaves["leaf"].to_list(), seed, "plan") if recipe.leaves == "taxonomy" else [""]
    known = {row["leaf"]: row for row in leaves.iter_rows(named=True)}
    examples = _examples_by_leaf(seeds)
    made = [_row(name, order[i % len(order)], i, i // len(order), known, examples, attributes, seed) for i in range(rows)]
    return polars.DataFrame(made).sort("id")


def _row(
    name: str,
    leaf: str,
    index: int,
    place: int,
    known: Mapping[str, Mapping[str, object]],
    examples: Mapping[str, Sequence[tuple[str, str]]],
    attributes: Attributes,
    seed: int,
) -> dict[str, object]:
    """Row `index` of the plan, the leaf's own row number `place`."""
    row_id = digest(seed, "row", name, leaf, place)
    document, question = examples[leaf][number(row_id, "example") % len(examples[leaf])] if leaf else ("", "")
    start = number(seed, "attributes", leaf) if leaf else 0  # leaves walk from different places
    return {
        "id": row_id,
        "root_id": row_id,
        "parent_id": "",
        "recipe": name,
        "index": index,
        "leaf": leaf,
        "branch": known[leaf]["branch"] if leaf else "",
        "task": known[leaf]["task"] if leaf else "",
        "example": f"{document} {question}".strip(),
        "document": document,
        "attributes": json.dumps(walk(attributes, start + place, seed=seed), sort_keys=True, ensure_ascii=False),
    }


def _examples_by_leaf(seeds: polars.DataFrame) -> dict[str, list[tuple[str, str]]]:
    """(context, query) of the seed examples of each leaf."""
    examples: dict[str, list[tuple[str, str]]] = {}
    for leaf, context, query in seeds.select("leaf", "context", "query").iter_rows():
        examples.setdefault(leaf, []).append((context, query))
    return examples


def plan_metrics(rows: polars.DataFrame) -> dict[str, float]:
    """Numbers on a plan: rows, leaves asked for (0 when the teacher picks), attribute combinations."""
    asked = rows.filter(polars.col("leaf") != "")["leaf"]
    return {"rows": rows.height, "leaves": asked.n_unique() if len(asked) else 0, "combinations": rows["attributes"].n_unique()}
