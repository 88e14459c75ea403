"""The held-out exam of the built-in world, and reference text for bits per byte.

Three splits, none of which shares a problem key with the seed examples: `key` (problems never taught), `template` (a wording never taught),
`difficulty` (one level harder than taught). The verdict of the study rests on `key`.
"""

import numpy as np
import polars

from espalier.errors import BudgetError
from espalier.seeds import digest, rng
from espalier.settings import Exam
from espalier.stats import weights_by_rank
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
