"""What the built-in world shows its teacher: (prompt, reply) pairs for every generation step, in the form that it will be asked in.

A demonstration follows one problem through the steps of one recipe: the same prompt files as at generation time are rendered with the problem's own
values, and the reply is what a perfect teacher could have written. The leaves of the corpus follow Zipf's law, as topics of natural text do; that
gives a teacher the dominant modes that an unguided recipe suffers from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espalier.prompts import INPUTS, Messages, Prompt
from espalier.seeds import rng
from espalier.stats import weights_by_rank
from espalier.taxonomy import SeedExample, SeedLeaf
from espalier.world.grammar import LEAF_OF, Problem, deepen, make, widen
from espalier.world.leaves import STYLES
from espalier.world.lexicon import CLASS_OF, NUMBER_WORDS
from espalier.world.materials import LEVELS, OPENINGS

SIZES = ("short", "middle", "long")  # the attribute `size`, one for each of LEVELS
TREE_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class Demonstration:
    """One request that a teacher may get, and a good reply."""

    leaf: str
    messages: Messages
    reply: str


def demonstrate(
    prompts: Sequence[Sequence[Prompt]], ranks: dict[str, int], *, n: int, skew: float, answer_share: float, held_out: frozenset[str], seed: int
) -> list[Demonstration]:
    """`n` demonstrations: `answer_share` of them answer a problem, the others show one of the recipes' other steps.

    prompts: for each recipe, its prompts in the order of the steps. held_out: problem keys that must not occur.
    """
    random = rng(seed, "demonstrations")
    leaves = sorted(ranks)
    drawn = random.choice(len(leaves), size=n, p=weights_by_rank([ranks[leaf] for leaf in leaves], skew))
    writing = [(prompt, steps) for steps in prompts for prompt in steps if prompt.step != "answer"]
    answering = sorted({prompt.id: prompt for steps in prompts for prompt in steps if prompt.step == "answer"}.items())
    made = []
    for leaf in drawn:
        problem = _fresh(leaves[leaf], held_out, random)
        usable = [(prompt, steps) for prompt, steps in writing if prompt.asks(_row(problem))]
        if random.random() < answer_share:
            made.append(_answer(answering[random.integers(len(answering))][1], problem))
        else:
            made.append(_write(*usable[random.integers(len(usable))], problem, held_out, random))
    return made


def vocabulary() -> list[str]:
    """Every word that the world's problems and answers can hold, sorted."""
    random = rng(0, "vocabulary")
    texts = [
        f"{problem.text} {problem.answer}"
        for leaf in LEAF_OF.values()
        for wording in range(len(leaf.asks))
        for level in LEVELS
        for problem in (make(leaf, level, random, wording=wording) for _ in range(3))
    ]
    rare = {"yes", "no", "even", "odd", "gets", "loses", "and", "same"}  # words of answers that three draws a leaf may miss
    return sorted({word for text in texts for word in text.split()} | set(CLASS_OF) | set(NUMBER_WORDS) | rare)


def seed_tree(*, seed: int) -> list[SeedLeaf]:
    """The world's own seed tree: every leaf with its task, its rank in natural text and five worked examples."""
    order = rng(seed, "ranks").permutation(len(LEAF_OF))
    tree = []
    for rank, leaf in zip(order, LEAF_OF.values(), strict=True):
        random = rng(seed, "seed examples", leaf.name)
        problems = [make(leaf, LEVELS[i % len(LEVELS)], random) for i in range(TREE_EXAMPLES)]
        examples = tuple(example for problem in problems for example in _examples(problem, random))
        tree.append(SeedLeaf(leaf.name, leaf.branch, leaf.topic, leaf.task, int(rank) + 1, leaf.name, examples))
    return sorted(tree, key=lambda leaf: leaf.leaf)


def _examples(problem: Problem, random: np.random.Generator) -> list[SeedExample]:
    """A skill's example, or a knowledge leaf's document with three different questions."""
    if problem.leaf.branch != "knowledge":
        return [SeedExample("", problem.text, problem.answer)]
    asked = {problem.query: problem}
    while len(asked) < 3:
        leaf = problem.leaf
        other = Problem(leaf, problem.material, leaf.arguments(problem.material, random), "", int(random.integers(len(STYLES))))
        asked[other.query] = other
    return [SeedExample(one.context, one.query, one.answer) for one in asked.values()]


def _fresh(leaf: str, held_out: frozenset[str], random: np.random.Generator) -> Problem:
    while True:
        problem = make(LEAF_OF[leaf], int(random.choice(LEVELS)), random)
        if problem.key not in held_out:
            return problem


def _answer(prompt: Prompt, problem: Problem) -> Demonstration:
    return Demonstration(problem.leaf.name, prompt.render({"context": problem.context, "query": problem.query}), problem.answer)


def _write(prompt: Prompt, steps: Sequence[Prompt], problem: Problem, held_out: frozenset[str], random: np.random.Generator) -> Demonstration:
    """The reply of a step that writes a problem, or a part of one."""
    has_context = any(one.step == "context" and one.asks(_row(problem)) for one in steps)
    values = _values(problem, held_out, random)
    if prompt.step == "context":
        reply, values["context"] = problem.context, ""
    elif prompt.step == "query":
        reply = problem.query if has_context else problem.text
        values["context"] = problem.context if has_context else ""
    else:
        child = _evolved(problem, values["operation"], random)
        while child.key in held_out:
            child = _evolved(problem, values["operation"], random)
        reply = child.text
    return Demonstration(problem.leaf.name, prompt.render(values), reply)


def _evolved(problem: Problem, operation: str, random: np.random.Generator) -> Problem:
    return {"deepen": deepen, "widen": widen}[operation](problem, random)


def _row(problem: Problem) -> dict[str, str]:
    """What the row of a problem offers before its steps, as the plan makes it; of a seed example alone whether it has a document."""
    leaf = problem.leaf
    known = {"branch": leaf.branch, "task": leaf.task, "topic": leaf.topic, "verifier": leaf.name, "example": problem.text}
    texts = {"context": problem.context, "query": problem.query}
    return {**dict.fromkeys(INPUTS, ""), **known, **texts, "document": problem.context if leaf.branch == "knowledge" else ""}


def _values(problem: Problem, held_out: frozenset[str], random: np.random.Generator) -> dict[str, str]:
    """Everything that a prompt may ask of a row, for this problem; the example is another problem of its leaf."""
    example = _fresh(problem.leaf.name, held_out, random)
    operations = ("deepen", "widen") if problem.level < LEVELS[-1] else ("widen",)
    return {
        "context": problem.context,
        "query": problem.query,
        "task": problem.leaf.task,
        "example": example.text,
        "document": example.context if problem.leaf.branch == "knowledge" else "",
        "operation": str(random.choice(operations)),
        "topic": problem.leaf.topic,
        "opening": problem.opening or str(random.choice(OPENINGS)),
        "style": problem.style,
        "size": SIZES[problem.level - 1],
    }
