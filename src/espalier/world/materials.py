"""What a problem is about: five kinds of material, each drawn at a level, written as sentences and read back.

| kind   | text at level 1                                    | level 1 / 2 / 3 / 4     |
|--------|----------------------------------------------------|-------------------------|
| digits | list : 4 9 2 .                                     | 3 / 4 / 5 / 6 items     |
| words  | list : cat red plum .                              | 3 / 4 / 5 / 6 items     |
| number | number : 4 7 .                                     | 2 / 3 / 4 / 5 digits    |
| facts  | tavi eats plum . dolan eats fig .                  | 2 / 3 / 4 / 5 facts     |
| story  | tavi has 4 plum . tavi gets 3 plum .               | 1 / 2 / 3 / 4 changes   |

Level 4 is never taught: it is the exam's split `difficulty`. Items may repeat; a question that repeats make ambiguous has no answer (leaves.py).
A material is a tuple of items: digits and words as they are written, facts as (name, verb, value), a story as (name, verb, digit, thing).

Facts come from one fixed table (FACTS): they are what there is to know. A document that contradicts it is no text of this world, so a teacher that
makes facts up is caught. (Facts drawn anew for each document had to be looked up in it, which models of this size never learnt: LOG.md.)
"""

from dataclasses import dataclass

import numpy as np

from espalier.seeds import rng
from espalier.world.lexicon import CLASS_OF, DIGITS, KINDS, NAMES, NOUNS

LEVELS = (1, 2, 3)
HELD_OUT_LEVEL = 4
OPENINGS = ("list", "here", "take")
LEADS = {
    "digits": ("list :", "here are", "take"),
    "words": ("list :", "here are", "take"),
    "number": ("number :", "here is", "take number"),
}
RELATIONS = {"eats": "food", "keeps": "animal", "likes": "colour", "uses": "tool", "visits": "place", "asks": "job"}
ROLES = {"eats": "meal", "keeps": "pet", "likes": "shade", "uses": "gear", "visits": "town", "asks": "helper"}
CHANGES = ("gets", "loses")
SHORTEST = {"digits": 3, "words": 3, "number": 2, "facts": 2, "story": 2}



def _fact_table() -> dict[str, dict[str, str]]:
    """relation -> name -> value; every value of a relation belongs to equally many names."""
    orders = {relation: rng(0, "facts", relation).permutation(len(NAMES)) for relation in RELATIONS}
    values = {relation: KINDS[kind] for relation, kind in RELATIONS.items()}
    return {
        relation: {name: values[relation][place % len(values[relation])] for name, place in zip(NAMES, order, strict=True)}
        for relation, order in orders.items()
    }


FACTS = _fact_table()

Items = tuple  # of str, or of tuples of str for facts and stories


@dataclass(frozen=True, slots=True)
class Material:
    """A kind of material and its items, in order."""

    kind: str
    items: Items

    @property
    def level(self) -> int:
        """1 for the shortest material of its kind; below 1 when it is too short to be a problem."""
        return len(self.items) - SHORTEST[self.kind] + 1

    @property
    def values(self) -> tuple[str, ...]:
        """The words that a question may name: list items, or the values of the facts."""
        return self.items if self.kind in ("digits", "words", "number") else tuple(item[2] for item in self.items)


def draw(kind: str, level: int, random: np.random.Generator, *, relation: str = "", nouns: tuple[str, ...] = NOUNS) -> Material:
    """A random material of `kind`; facts take their verb from `relation`, words their items from `nouns`."""
    size = SHORTEST[kind] + level - 1
    if kind == "digits":
        return Material(kind, tuple(str(digit) for digit in random.integers(0, 10, size)))
    if kind == "words":
        return Material(kind, _choose(nouns, size, random))
    if kind == "number":
        head = str(random.integers(1, 10))
        return Material(kind, (head, *(str(digit) for digit in random.integers(0, 10, size - 1))))
    if kind == "facts":
        return Material(kind, _draw_facts(relation, size, random))
    return _draw_story(size, random)


def extend(material: Material, random: np.random.Generator) -> Material:
    """The same material one level up: every item stays and one is added at the end."""
    if material.kind == "story":
        name, _, _, thing = material.items[0]
        change = _draw_change(name, thing, balance(material.items), random)
        return Material(material.kind, (*material.items, change))
    relation = material.items[0][1] if material.kind == "facts" else ""
    taken = {item[0] for item in material.items} | set(material.values)
    while True:  # a fresh item; the classes are much larger than any material
        fresh = draw(material.kind, 1, random, relation=relation)
        added = fresh.items[-1]
        if material.kind == "number" or not taken & {added[0], added if isinstance(added, str) else added[2]}:
            return Material(material.kind, (*material.items, added))


def write(material: Material, opening: str) -> str:
    """The sentences of a material. `opening` is one of OPENINGS; facts and stories have one way only."""
    if material.kind in LEADS:
        lead = LEADS[material.kind][OPENINGS.index(opening)]
        return f"{lead} {' '.join(material.items)} ."
    return " ".join(f"{' '.join(item)} ." for item in material.items)


def read(sentences: list[list[str]]) -> Material | None:
    """The material that `sentences` (words without the full stop) state, or None when they state none."""
    if not sentences:
        return None
    first = sentences[0]
    if CLASS_OF.get(first[0]) == "n":
        return _read_facts(sentences) or _read_story(sentences)
    return _read_list(first) if len(sentences) == 1 else None


def opening_of(words: list[str]) -> str:
    """The opening that a text begins with, "" for facts and stories."""
    return {"list": "list", "number": "list", "here": "here", "take": "take"}.get(words[0], "") if words else ""


def balance(items: Items) -> int:
    """What is left after all changes of a story."""
    return sum(int(digit) * (-1 if verb == "loses" else 1) for _, verb, digit, _ in items)


def _choose(pool: tuple[str, ...], size: int, random: np.random.Generator) -> tuple[str, ...]:
    return tuple(pool[i] for i in random.permutation(len(pool))[:size])


def _draw_facts(relation: str, size: int, random: np.random.Generator) -> Items:
    """Facts about `size` people, no two with the same value."""
    names: dict[str, str] = {}  # value -> name
    for name in _choose(NAMES, len(NAMES), random):
        names.setdefault(FACTS[relation][name], name)
    return tuple((name, relation, value) for value, name in list(names.items())[:size])


def _draw_story(size: int, random: np.random.Generator) -> Material:
    name, thing = str(random.choice(NAMES)), str(random.choice(KINDS["food"]))
    items: Items = ((name, "has", str(random.integers(2, 10)), thing),)
    while len(items) < size:
        items = (*items, _draw_change(name, thing, balance(items), random))
    return Material("story", items)


def _draw_change(name: str, thing: str, balance: int, random: np.random.Generator) -> tuple[str, str, str, str]:
    """A change by 1 to 3 that keeps the balance within 0..9, so that every answer is one digit."""
    steps = [("gets", n) for n in range(1, min(3, 9 - balance) + 1)] + [("loses", n) for n in range(1, min(3, balance) + 1)]
    verb, n = steps[random.integers(len(steps))]
    return (name, verb, str(n), thing)


def _read_list(words: list[str]) -> Material | None:
    for kind, leads in LEADS.items():
        for lead in leads:
            head = lead.split()
            items = tuple(words[len(head) :])
            if words[: len(head)] == head and items and _is_list(kind, items):
                return Material(kind, items)
    return None


def _is_list(kind: str, items: tuple[str, ...]) -> bool:
    wanted = "w" if kind == "words" else "d"
    if any(CLASS_OF.get(item) != wanted for item in items) or len(items) < SHORTEST[kind]:
        return False
    return kind != "number" or items[0] != "0"


def _read_facts(sentences: list[list[str]]) -> Material | None:
    relation = sentences[0][1] if len(sentences[0]) == 3 else ""
    if relation not in RELATIONS or len(sentences) < SHORTEST["facts"]:
        return None
    fits = all(
        len(s) == 3 and s[1] == relation and FACTS[relation].get(s[0]) == s[2] for s in sentences
    )
    differ = len({s[0] for s in sentences}) == len(sentences)  # one fact a person
    return Material("facts", tuple(tuple(s) for s in sentences)) if fits and differ else None


def _read_story(sentences: list[list[str]]) -> Material | None:
    if len(sentences) < SHORTEST["story"] or any(len(s) != 4 or s[2] not in DIGITS for s in sentences):
        return None
    name, verb, _, thing = sentences[0]
    fits = verb == "has" and thing in KINDS["food"] and all(s[0] == name and s[3] == thing for s in sentences)
    if not fits or any(s[1] not in CHANGES for s in sentences[1:]):
        return None
    steps = [tuple(s) for s in sentences]
    whole = all(0 <= balance(tuple(steps[:n])) <= 9 for n in range(1, len(steps) + 1))
    return Material("story", tuple(steps)) if whole else None
