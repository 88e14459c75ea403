"""Problems of the built-in world: problem -> text, text -> problem, reply -> verdict.

Reading does not know who wrote a text. The last sentence is the ask, those before it state the material; the ask's shape (its words with every item
replaced by its class letter) and the kind of material name the leaf. So one dictionary look-up decides, whatever the number of leaves.
"""

from dataclasses import dataclass

import numpy as np

from espalier.world.leaves import HELD_OUT_WORDING, LEAVES, STYLES, Argument, Leaf
from espalier.world.lexicon import CLASS_OF
from espalier.world.materials import OPENINGS, Material, draw, extend, opening_of, read, write

LEAF_OF = {leaf.name: leaf for leaf in LEAVES}


@dataclass(frozen=True, slots=True)
class Problem:
    """A question about a material. `wording` is 0..2 (STYLES) or 3, the held-out one."""

    leaf: Leaf
    material: Material
    argument: Argument
    opening: str
    wording: int

    @property
    def key(self) -> str:
        """What is asked, whatever the wording; two texts with one key are one problem."""
        items = " ".join(item if isinstance(item, str) else "-".join(item) for item in self.material.items)
        return f"{self.leaf.name}|{items}|{' '.join(self.argument)}"

    @property
    def level(self) -> int:
        """1 easiest; see materials.py."""
        return self.material.level

    @property
    def style(self) -> str:
        """question, command or short; the held-out wording counts as a question."""
        return STYLES[self.wording] if self.wording < len(STYLES) else STYLES[0]

    @property
    def context(self) -> str:
        """The sentences that state the material."""
        return write(self.material, self.opening)

    @property
    def query(self) -> str:
        """The ask."""
        return self.leaf.asks[self.wording].format(*self.argument)

    @property
    def text(self) -> str:
        """Context and query."""
        return f"{self.context} {self.query}"

    @property
    def answer(self) -> str:
        """The right answer, in words."""
        solved = self.leaf.solve(self.material, self.argument)
        assert solved is not None, self.key
        return solved


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the world says of a text and its answer: right | wrong | unparseable; leaf, key and level are empty for the last."""

    verdict: str
    leaf: str = ""
    key: str = ""
    level: int = 0


def make(leaf: Leaf, level: int, random: np.random.Generator, *, wording: int | None = None) -> Problem:
    """A random problem of a leaf at a level 1..4, in one of the taught wordings unless `wording` says which."""
    while True:
        material = draw(leaf.material, level, random, relation=leaf.relation)
        argument = leaf.arguments(material, random)
        if leaf.solve(material, argument) is not None:
            break
    chosen = int(random.integers(len(STYLES))) if wording is None else wording
    opening = "" if leaf.material in ("facts", "story") else OPENINGS[random.integers(len(OPENINGS))]
    return Problem(leaf, material, argument, opening, chosen)


def deepen(problem: Problem, random: np.random.Generator) -> Problem:
    """The same question about a material with one more item (one level up)."""
    while True:
        material = extend(problem.material, random)
        if problem.leaf.solve(material, problem.argument) is not None:
            return Problem(problem.leaf, material, problem.argument, problem.opening, problem.wording)


def siblings(leaf: Leaf) -> list[Leaf]:
    """The other leaves that can be asked of the same material."""
    return [other for other in LEAVES if (other.material, other.relation) == (leaf.material, leaf.relation) and other != leaf]


def widen(problem: Problem, random: np.random.Generator) -> Problem:
    """Another question, of a sibling leaf, about the same material; siblings are drawn evenly, so rare ones come up."""
    others = siblings(problem.leaf)
    while True:
        leaf = others[random.integers(len(others))]
        argument = leaf.arguments(problem.material, random)
        if leaf.solve(problem.material, argument) is not None:
            return Problem(leaf, problem.material, argument, problem.opening, int(random.integers(len(STYLES))))


def parse(text: str) -> Problem | None:
    """The problem that a text poses, or None when it poses none of this world."""
    sentences = _sentences(text.split())
    if len(sentences) < 2 or any(len(sentence) < 2 for sentence in sentences):
        return None
    *statements, ask = sentences
    if any(sentence[-1] != "." for sentence in statements):
        return None
    material = read([sentence[:-1] for sentence in statements])
    if material is None or material.level < 1:
        return None
    leaf, wording = _ASKS.get((material.kind, _shape(ask)), (None, 0))
    argument = tuple(word for word in ask if word in CLASS_OF)
    if leaf is None or (leaf.relation and leaf.relation != material.items[0][1]) or leaf.solve(material, argument) is None:
        return None
    return Problem(leaf, material, argument, opening_of(statements[0]), wording)


def verify(text: str, reply: str) -> Verdict:
    """Whether `reply` answers the problem that `text` poses; blanks do not count."""
    problem = parse(text)
    if problem is None:
        return Verdict("unparseable")
    right = reply.split() == problem.answer.split()
    return Verdict("right" if right else "wrong", problem.leaf.name, problem.key, problem.level)


def gains(parent: str, child: str) -> bool:
    """Whether `child` poses a problem, and another one than `parent`: information gain made exact by the keys."""
    before, after = parse(parent), parse(child)
    return after is not None and (before is None or before.key != after.key)


def _sentences(words: list[str]) -> list[list[str]]:
    """Words cut after every full stop and question mark; a tail without one is a sentence too."""
    sentences: list[list[str]] = [[]]
    for word in words:
        sentences[-1].append(word)
        if word in (".", "?"):
            sentences.append([])
    return [sentence for sentence in sentences if sentence]


def _shape(words: list[str]) -> tuple[str, ...]:
    """The words with each item replaced by its class letter behind a blank, which no word of a text can hold."""
    return tuple(f" {CLASS_OF[word]}" if word in CLASS_OF else word for word in words)


def _index_asks() -> dict[tuple[str, tuple[str, ...]], tuple[Leaf, int]]:
    """(material, shape of the ask) -> leaf and wording; the arguments of a made problem give the class letters."""
    index: dict[tuple[str, tuple[str, ...]], tuple[Leaf, int]] = {}
    for leaf in LEAVES:
        example = make(leaf, 1, np.random.default_rng(0))
        for wording, ask in enumerate(leaf.asks):
            place = (leaf.material, _shape(ask.format(*example.argument).split()))
            assert place not in index, f"{leaf.name} asks like {index[place][0].name}: {place}"
            index[place] = (leaf, wording)
    return index


_ASKS = _index_asks()

__all__ = ["HELD_OUT_WORDING", "LEAF_OF", "Problem", "Verdict", "deepen", "gains", "make", "parse", "siblings", "verify", "widen"]
