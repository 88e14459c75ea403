"""The held-out exam, and reference text for bits per byte.

In a world without a grammar both are the seed examples that no teacher is shown. In the built-in world the grammar sets them.

Three splits, none of which shares a problem key with the seed examples: `key` (problems never taught), `template` (a wording never taught),
`difficulty` (one level harder than taught). The verdict of the study rests on `key`.
"""

import numpy as np
import polars

from espalier.errors import BudgetError, ParamsError
from espalier.seeds import digest, rng
from espalier.settings import Exam
from espalier.stats import weights_by_rank
from espalier.text import match_words
from espalier.world.grammar import HELD_OUT_WORDING, LEAF_OF, Problem, make, parse
from espalier.world.materials import HELD_OUT_LEVEL, LEVELS

TRIES = 2_000  # draws for one unused problem; the smallest leaf has 90 at level 1


def set_exam(leaves: polars.DataFrame, seeds: polars.DataFrame, settings: Exam, *, seed: int) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Items and their gold answers, sorted by item: (items, gold).

    leaves: the taxonomy's leaves with column `verifier`. seeds: the seed examples; no item repeats one of their keys.
    """
    used = {problem.key for problem in map(parse, _texts(seeds)) if problem}
    rows, gold = [], []
    for leaf, task in leaves.select("leaf", "verifier").iter_rows():
        for split, count in _splits(settings):
            random = rng(seed, "exam", leaf, split)
            for place in range(count):
                problem = _unused(task, split, place, used, random)
                used.add(problem.key)
                item = digest(seed, "exam", problem.key, problem.wording)
                rows.append(_item(item, split, leaf, problem))
                gold.append({"item": item, "answer": problem.answer})
    return polars.DataFrame(rows).sort("item"), polars.DataFrame(gold).sort("item")


def set_seed_exam(leaves: polars.DataFrame, seeds: polars.DataFrame, *, seed: int) -> tuple[polars.DataFrame, polars.DataFrame]:
    """The held-out seed examples as (items, gold), sorted by item; all are of the split `key`. Raises: ParamsError where none is held out."""
    held = seeds.filter(polars.col("held_out")).join(leaves.select("leaf", "branch"), on="leaf")
    if held.height == 0:
        raise ParamsError("params.yaml: exam.held_out_examples is 0; a world without a grammar is examined on held-out seed examples: hold out at least 1")
    rows, gold = [], []
    for one in held.iter_rows(named=True):
        item = digest(seed, "exam", one["leaf"], one["context"], one["query"])
        key = digest(*match_words(f"{one['context']} {one['query']}"))
        place = {"item": item, "split": "key", "template": "seed", "level": 1, "problem_key": key}
        rows.append(place | {name: one[name] for name in ("leaf", "branch", "context", "query")})
        gold.append({"item": item, "answer": one["answer"]})
    order = ["item", "split", "leaf", "branch", "template", "level", "context", "query", "problem_key"]
    return polars.DataFrame(rows).select(order).sort("item"), polars.DataFrame(gold).sort("item")


def seed_reference(items: polars.DataFrame, gold: polars.DataFrame, *, n: int) -> polars.DataFrame:
    """The first `n` held-out seed examples, solved (context, query, answer, problem_key)."""
    return items.join(gold, on="item").sort("item").head(n).select("context", "query", "answer", "problem_key")


def reference_texts(leaves: polars.DataFrame, items: polars.DataFrame, *, n: int, skew: float, seed: int) -> polars.DataFrame:
    """`n` solved problems at natural frequencies (context, query, answer), for bits per byte; none is an exam item."""
    random = rng(seed, "reference")
    names = leaves["verifier"].to_list()
    drawn = random.choice(len(names), size=n, p=weights_by_rank(leaves["rank"].to_list(), skew))
    used = set(items["problem_key"])
    problems = [_unused(names[leaf], "key", place, used, random) for place, leaf in enumerate(drawn)]
    return polars.DataFrame([{"context": p.context, "query": p.query, "answer": p.answer, "problem_key": p.key} for p in problems])


def _splits(settings: Exam) -> list[tuple[str, int]]:
    return [("key", settings.key_items), ("template", settings.template_items), ("difficulty", settings.difficulty_items)]


def _unused(task: str, split: str, place: int, used: set[str], random: np.random.Generator) -> Problem:
    level = HELD_OUT_LEVEL if split == "difficulty" else LEVELS[place % len(LEVELS)]
    wording = HELD_OUT_WORDING if split == "template" else None
    for _ in range(TRIES):
        problem = make(LEAF_OF[task], level, random, wording=wording)
        if problem.key not in used:
            return problem
    raise BudgetError(
        f"params.yaml: the exam wants more than the {place} problems of {task} at level {level} that could be found; "
        "lower exam.key_items, exam.template_items, exam.difficulty_items or exam.reference_texts"
    )


def _item(item: str, split: str, leaf: str, problem: Problem) -> dict[str, object]:
    return {
        "item": item,
        "split": split,
        "leaf": leaf,
        "branch": problem.leaf.branch,
        "template": f"{problem.opening or 'plain'}/{problem.wording}",
        "level": problem.level,
        "context": problem.context,
        "query": problem.query,
        "problem_key": problem.key,
    }


def _texts(seeds: polars.DataFrame) -> list[str]:
    return [f"{context} {query}" for context, query in seeds.select("context", "query").iter_rows()]
