"""The 54 leaves of the built-in world: how each asks, and how each is solved.

An ask has three wordings that are taught (one per style: question, command, short) and a fourth that only the exam uses.
`{0}` and `{1}` stand for the arguments (words of the material, or a kind of word), in the same order in every wording.
A solver answers in words, or None where the question makes no sense for the material.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from espalier.world.lexicon import DIGITS, KIND_OF, NOUNS, NUMBER_WORDS
from espalier.world.materials import ROLES, Material, balance

STYLES = ("question", "command", "short")
HELD_OUT_WORDING = 3

Argument = tuple[str, ...]
Asks = tuple[str, str, str, str]
Solver = Callable[[Material, Argument], str | None]
Drawer = Callable[[Material, np.random.Generator], Argument]


def _nothing(material: Material, random: np.random.Generator) -> Argument:
    """The arguments of an ask without slots."""
    return ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """One task. `topic` groups the leaves that share a kind of material and a way of working on it."""

    name: str
    topic: str
    task: str
    material: str
    asks: Asks
    solve: Solver
    arguments: Drawer = _nothing
    relation: str = ""

    @property
    def branch(self) -> str:
        """knowledge, foundational_skills or compositional_skills."""
        return self.name.split("/")[0]


def _pick(material: Material, random: np.random.Generator) -> Argument:
    """One of the values of the material."""
    return (material.values[random.integers(len(material.values))],)


def _pick_inner(material: Material, random: np.random.Generator) -> Argument:
    """An item that is neither the first nor the last."""
    return (material.items[random.integers(1, len(material.items) - 1)],)


def _pick_new(material: Material, random: np.random.Generator) -> Argument:
    """A noun that is not in the list."""
    fresh = [noun for noun in NOUNS if noun not in material.items]
    return (fresh[random.integers(len(fresh))],)


def _pick_kind(material: Material, random: np.random.Generator) -> Argument:
    return (KIND_OF[_pick(material, random)[0]],)


def _pick_name(material: Material, random: np.random.Generator) -> Argument:
    return (material.items[random.integers(len(material.items))][0],)


def _pick_claim(material: Material, random: np.random.Generator) -> Argument:
    """A name and any value of the document: a claim that is true once in as many times as there are facts."""
    return (_pick_name(material, random)[0], _pick(material, random)[0])


def _pick_owner(material: Material, random: np.random.Generator | None = None) -> Argument:
    """The thing and the person of a story."""
    return (material.items[0][3], material.items[0][0])


def _pick_person(material: Material, random: np.random.Generator | None = None) -> Argument:
    return (material.items[0][0],)


def _said(items: tuple[str, ...] | list[str]) -> str | None:
    return " ".join(items) if items else None


def _beside(material: Material, argument: Argument, step: int) -> str | None:
    if material.items.count(argument[0]) != 1:
        return None
    at = material.items.index(argument[0]) + step
    return material.items[at] if 0 <= at < len(material.items) else None


def _following(material: Material, argument: Argument) -> str | None:
    """`9 then 2`."""
    item = _beside(material, argument, 1)
    return None if item is None else f"{argument[0]} then {item}"


def _without(material: Material, item: str) -> str | None:
    return _said([other for other in material.items if other != item]) if item in material.items else None


def _of_kind(material: Material, argument: Argument) -> list[str]:
    return [item for item in material.items if KIND_OF[item] == argument[0]]


def _changes(material: Material, argument: Argument) -> str | None:
    return " and ".join(f"{verb} {digit}" for _, verb, digit, _ in material.items[1:]) if argument[0] == material.items[0][0] else None


def _next(material: Material) -> str:
    """Digit by digit, for a text may hold a number of any length."""
    digits = "".join(material.items)
    head = digits.rstrip("9") or "0"
    return " ".join(f"{head[:-1]}{int(head[-1]) + 1}" + "0" * len(digits.removeprefix(head.lstrip("0"))))


def _previous(material: Material) -> str | None:
    """None for the number before 0 and before 1, which are not written."""
    digits = "".join(material.items)
    head = digits.rstrip("0")
    lower = f"{head[:-1]}{int(head[-1]) - 1}" + "9" * (len(digits) - len(head)) if head else ""
    return _said(list(lower.lstrip("0")))


def _trend(material: Material, argument: Argument) -> str | None:
    """What became of the things, if the question names the thing and the person of the story."""
    if argument != _pick_owner(material):
        return None
    gain = balance(material.items) - int(material.items[0][2])
    return "more" if gain > 0 else "fewer" if gain < 0 else "same"


def _count_gains(material: Material, argument: Argument) -> str | None:
    return str(sum(verb == "gets" for _, verb, _, _ in material.items)) if argument == _pick_person(material) else None


def _the(noun: str, verb: str = "is") -> Asks:
    """The four wordings of an ask that only names what it wants."""
    return (f"what {verb} the {noun} ?", f"give the {noun} .", f"{noun} ?", f"say the {noun} .")


def _saying(clause: str) -> Asks:
    """The four wordings of an ask for what a clause tells."""
    return (f"do you know {clause} ?", f"say {clause} .", f"{clause} ?", f"give {clause} .")


def _fact_leaves(relation: str, role: str) -> tuple[Leaf, ...]:
    """What, who and check for one relation of the fact documents."""

    def known(material: Material, name: str) -> str | None:
        return next((value for owner, _, value in material.items if owner == name), None)

    def what(material: Material, argument: Argument) -> str | None:
        return known(material, argument[0])

    def who(material: Material, argument: Argument) -> str | None:
        names = [name for name, _, value in material.items if value == argument[0]]
        return names[0] if len(names) == 1 else None

    def check(material: Material, argument: Argument) -> str | None:
        value = known(material, argument[0])
        return None if value is None else "yes" if value == argument[1] else f"no {value}"

    def leaf(word: str, task: str, asks: Asks, solve: Solver, arguments: Drawer) -> Leaf:
        return Leaf(f"knowledge/{relation}/{word}", f"{relation} facts", task, "facts", asks, solve, arguments, relation)

    return (
        leaf("what", f"{role} of a person", _the(f"{role} of {{0}}"), what, _pick_name),
        leaf("who", f"person of a {role}", _saying(f"who {relation} {{0}}"), who, _pick),
        leaf("check", f"check a {role}", _saying(f"if {{0}} {relation} {{1}}"), check, _pick_claim),
    )


def _leaf(name: str, asks: Asks, solve: Solver, arguments: Drawer = _nothing, task: str = "") -> Leaf:
    """A skill leaf: its material is the second part of its name, its task the short wording of its ask."""
    branch, material, _ = name.split("/")
    topic = f"{'read' if branch.startswith('foundational') else 'change'} {material}"
    return Leaf(name, topic, task or asks[2].removesuffix(" ?"), material, asks, solve, arguments)


FOUNDATIONAL = (
    _leaf("foundational_skills/digits/second", _the("second digit"), lambda m, a: m.items[1]),
    _leaf("foundational_skills/digits/third", _the("third digit"), lambda m, a: m.items[2]),
    _leaf("foundational_skills/digits/tail", _the("last two digits", "are"), lambda m, a: _said(m.items[-2:])),
    _leaf("foundational_skills/digits/largest", _the("largest digit"), lambda m, a: max(m.items)),
    _leaf("foundational_skills/digits/smallest", _the("smallest digit"), lambda m, a: min(m.items)),
    _leaf("foundational_skills/digits/after", _the("digit after {0}"), _following, _pick_inner, "digit after"),
    _leaf("foundational_skills/digits/before", _the("digit before {0}"), lambda m, a: _beside(m, a, -1), _pick_inner, "digit before"),
    _leaf("foundational_skills/digits/sort", _the("digits sorted", "are"), lambda m, a: _said(sorted(m.items))),
    _leaf("foundational_skills/digits/count", _the("number of digits"), lambda m, a: str(len(m.items))),
    _leaf("foundational_skills/number/next", _the("next number"), lambda m, a: _next(m)),
    _leaf("foundational_skills/number/previous", _the("previous number"), lambda m, a: _previous(m)),
    _leaf("foundational_skills/number/even", ("is the number even or odd ?", "say even or odd .", "even or odd ?", "give even or odd ."),
          lambda m, a: f"{' '.join(m.items)} is {'odd' if int(m.items[-1]) % 2 else 'even'}"),
    _leaf("foundational_skills/number/round", _the("number rounded down to tens"), lambda m, a: _said((*m.items[:-1], "0"))),
    _leaf("foundational_skills/number/spell", _the("number in words"), lambda m, a: _said([NUMBER_WORDS[int(i)] for i in m.items])),
    _leaf("foundational_skills/words/last", _the("last word"), lambda m, a: m.items[-1]),
    _leaf("foundational_skills/words/second", _the("second word"), lambda m, a: m.items[1]),
    _leaf("foundational_skills/words/kind", _the("kind of {0}"), lambda m, a: f"{a[0]} is {KIND_OF[a[0]]}" if a[0] in m.items else None,
          _pick, "kind of a word"),
    _leaf("foundational_skills/words/find", _the("first {0} word"), lambda m, a: next(iter(_of_kind(m, a)), None), _pick_kind, "word of a kind"),
)  # fmt: skip

COMPOSITIONAL = (
    _leaf("compositional_skills/digits/ends", _the("first and the last digit", "are"), lambda m, a: f"{m.items[0]} {m.items[-1]}"),
    _leaf("compositional_skills/digits/range", _the("largest and the smallest digit", "are"), lambda m, a: f"{max(m.items)} {min(m.items)}"),
    _leaf("compositional_skills/digits/swap", ("what are the digits with ends swapped ?", "swap the ends of the digits .", "ends swapped ?",
          "give the digits with ends swapped ."), lambda m, a: _said((m.items[-1], *m.items[1:-1], m.items[0]))),
    _leaf("compositional_skills/digits/reverse", _the("digits reversed", "are"), lambda m, a: _said(m.items[::-1])),
    _leaf("compositional_skills/digits/rest", ("what are the digits without the first ?", "drop the first digit .", "digits without the first ?",
          "give the digits without the first ."), lambda m, a: _said(m.items[1:])),
    _leaf("compositional_skills/digits/lower", ("what are the digits without the largest ?", "drop the largest digit .",
          "digits without the largest ?", "give the digits without the largest ."), lambda m, a: _without(m, max(m.items))),
    _leaf("compositional_skills/digits/descend", _the("digits sorted and reversed", "are"), lambda m, a: _said(sorted(m.items, reverse=True))),
    _leaf("compositional_skills/digits/raise", ("what is each digit plus one ?", "add one to each digit .", "each digit plus one ?",
          "give each digit plus one ."), lambda m, a: _said([DIGITS[(int(item) + 1) % 10] for item in m.items])),
    _leaf("compositional_skills/digits/double", _the("double of the largest digit"), lambda m, a: _said(list(str(2 * int(max(m.items)))))),
    _leaf("compositional_skills/words/label", _the("last word and its kind", "are"), lambda m, a: f"{m.items[-1]} {KIND_OF[m.items[-1]]}"),
    _leaf("compositional_skills/words/twice", _the("first word said twice"), lambda m, a: f"{m.items[0]} {m.items[0]}"),
    _leaf("compositional_skills/words/category", _the("kind of the first word"), lambda m, a: KIND_OF[m.items[0]]),
    _leaf("compositional_skills/words/append", _the("last word and then {0}"), lambda m, a: f"{m.items[-1]} {a[0]}", _pick_new,
          "last word and a new one"),
    _leaf("compositional_skills/words/ends", _the("first and the last word", "are"), lambda m, a: f"{m.items[0]} {m.items[-1]}"),
    _leaf("compositional_skills/words/many", _the("number of {0} words"), lambda m, a: str(len(_of_kind(m, a))), _pick_kind,
          "number of words of a kind"),
    _leaf("compositional_skills/story/trend", ("are the {0} of {1} more or fewer ?", "tell if the {0} of {1} are more or fewer .",
          "{0} of {1} more or fewer ?", "say if the {0} of {1} are more or fewer ."), _trend, _pick_owner, "more or fewer"),
    _leaf("compositional_skills/story/gains", _the("number of gains for {0}"), _count_gains, _pick_person, "number of gains"),
    _leaf("compositional_skills/story/change", _the("changes for {0}", "are"), _changes, _pick_person, "gains and losses"),
)  # fmt: skip

LEAVES = tuple(leaf for relation, role in ROLES.items() for leaf in _fact_leaves(relation, role)) + FOUNDATIONAL + COMPOSITIONAL
