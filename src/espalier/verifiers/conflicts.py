"""Which constraints exclude each other, and a drawn one that fits those already there. Values in, values out.

Two constraints conflict when no sensible text keeps both: a text that one demands breaks the other ("end with: Yes, sir." and no commas), one needs more
words or sentences than the other allows (three words for every list item or paragraph), or both prescribe the form of the whole answer.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from espalier.verifiers.checks import check, choice_key, count_sentences, count_words
from espalier.verifiers.constraints import Constraint

ITEM_WORDS = 3  # the least that a list item or a paragraph needs
SENTENCE_WORDS = 30  # the most that a sentence should need
_REPEATABLE = {"keyword", "forbid"}  # may stand twice, with other words
_FORM = {"json", "json_schema", "one_of", "bullets", "numbered"}  # at most one gives the whole answer its form
_AGAINST_JSON = {"paragraphs", "title", "starts_with", "ends_with", "no_commas", "max_sentences", "lowercase", "uppercase"}
_LISTS = {"bullets", "numbered", "paragraphs"}
_LIMITS = {"max_words", "max_sentences", "forbid", "no_commas", "lowercase", "uppercase"}  # what a demanded text can break

_COUNTS: Mapping[str, tuple[int, ...]] = {
    "max_words": (40, 60, 80, 120),
    "min_words": (30, 50, 80, 120),
    "max_sentences": (2, 3, 4, 5),
    "paragraphs": (2, 3),
    "bullets": (2, 3, 4, 5),
    "numbered": (2, 3, 4, 5),
    "keyword": (1, 2),
}
_BEGINNINGS = ("To put it briefly", "Here is what matters", "In short")
_ENDINGS = ("That is all.", "I hope this helps.", "What do you think?")
_BARE = ("lowercase", "uppercase", "no_commas", "title", "json")


def conflicts(a: Constraint, b: Constraint) -> bool:
    """Whether no sensible text keeps both; symmetric. A constraint conflicts with itself: asked twice it says nothing new.

    >>> conflicts(Constraint("min_words", 80), Constraint("max_words", 60)), conflicts(Constraint("lowercase"), Constraint("title"))
    (True, False)
    """
    return _excludes(a, b) or _excludes(b, a)


def draw_constraint(random: np.random.Generator, taken: Sequence[Constraint], keywords: Sequence[str]) -> Constraint | None:
    """A constraint that conflicts with none of those taken; first the kind is drawn evenly, then its values. None when nothing fits.

    `keywords` are words of the topic, for the kinds `keyword` and `forbid`; without any these two are left out. Never drawn: one_of and json_schema, as
    their values belong to a leaf.
    """
    fitting: dict[str, list[Constraint]] = {}
    for candidate in _candidates(keywords):
        if not any(conflicts(candidate, one) for one in taken):
            fitting.setdefault(candidate.kind, []).append(candidate)
    if not fitting:
        return None
    choices = fitting[sorted(fitting)[int(random.integers(len(fitting)))]]
    return choices[int(random.integers(len(choices)))]


def _candidates(keywords: Sequence[str]) -> list[Constraint]:
    """All that can be drawn, in a fixed order."""
    words = sorted({word.strip() for word in keywords if word.strip() and word.strip()[0].isalnum() and word.strip()[-1].isalnum() and "\n" not in word})
    found = [Constraint(kind, n) for kind, counts in _COUNTS.items() if kind != "keyword" for n in counts]
    found += [Constraint("keyword", n, (word,)) for word in words for n in _COUNTS["keyword"]]
    found += [Constraint("forbid", 0, (word,)) for word in words]
    found += [Constraint("starts_with", 0, (text,)) for text in _BEGINNINGS] + [Constraint("ends_with", 0, (text,)) for text in _ENDINGS]
    return found + [Constraint(kind) for kind in _BARE]


def _excludes(a: Constraint, b: Constraint) -> bool:
    """One direction of `conflicts`."""
    if a.kind == b.kind:
        return a.kind not in _REPEATABLE or bool({word.casefold() for word in a.words} & {word.casefold() for word in b.words})
    if a.kind == "one_of":
        return not any(_chosen_keeps(b, value) for value in a.words)
    if a.kind in _FORM and b.kind in _FORM:
        return True
    if a.kind in ("json", "json_schema") and b.kind in _AGAINST_JSON:
        return True
    if a.kind == "lowercase" and b.kind == "uppercase":
        return True
    if a.kind == "starts_with" and b.kind == "title":
        return not a.words[0].startswith("<<")
    if a.kind == "paragraphs" and b.kind in ("bullets", "numbered"):
        return a.n > 1
    if b.kind == "max_words":
        return _least_words(a) > b.n
    if b.kind == "max_sentences":
        return _least_sentences(a) > b.n
    if a.kind == "keyword" and b.kind in ("lowercase", "uppercase"):
        return False  # a keyword counts in any case
    return b.kind in _LIMITS and any(check(b, text) is not None for text in _demanded(a))


def _chosen_keeps(other: Constraint, value: str) -> bool:
    """Whether a choice, in any case, keeps another constraint."""
    if other.kind == "one_of":
        return any(choice_key(value) == choice_key(word) for word in other.words)
    return any(check(other, text) is None for text in (value, value.lower(), value.upper()))


def _demanded(one: Constraint) -> tuple[str, ...]:
    """Texts that stand in every answer that keeps a constraint, in the case that it wants."""
    return one.words if one.kind in ("starts_with", "ends_with", "keyword") else ()


def _least_words(one: Constraint) -> int:
    """The fewest words of a sensible text that keeps a constraint."""
    if one.kind == "min_words":
        return one.n + one.n // 5  # nobody hits a number exactly
    if one.kind in _LISTS:
        return ITEM_WORDS * one.n
    if one.kind == "keyword":
        return one.n * count_words(one.words[0])
    return sum(map(count_words, _demanded(one)))


def _least_sentences(one: Constraint) -> int:
    if one.kind == "min_words":
        return -(-one.n // SENTENCE_WORDS)
    if one.kind in _LISTS:
        return one.n
    if one.kind == "title":
        return 2
    return max((count_sentences(text) for text in _demanded(one)), default=0)
