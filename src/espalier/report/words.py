"""Numbers and verdicts in words. Everything that the report claims is said here and read from the results, never judged anew."""

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.report.study import Result, Study, is_number

NOTHING = "\u2013"  # shown where a number was not measured
MINUS = "\u2212"
WEIGHTING_NAMES = {"macro": "every leaf equal", "natural": "natural frequencies"}
OUTCOME_NAMES = {"accuracy": "accuracy", "gold_loss": "loss on the right answers"}
PLACES = {("macro", "natural"): "on both weightings", ("macro",): "when every leaf counts alike", ("natural",): "at natural frequencies"}
SIGNS = {"better": "\u25b2", "worse": "\u25bc", "within noise": "\u2248", "one seed": "?", "baseline": "\u00b7"}


@dataclass(frozen=True, slots=True)
class Unit:
    """How an outcome is written: multiplied by `factor`, with so many digits."""

    factor: float
    digits: int
    name: str
    difference_name: str


UNITS = {"accuracy": Unit(100, 1, "%", "percentage points"), "gold_loss": Unit(1, 3, "nats per token", "nats per token")}


def fixed(value: float | None, digits: int, *, signed: bool = False) -> str:
    """A number with a real minus sign; an en dash when there is none.

    >>> fixed(-0.04, 1), fixed(2.5, 1, signed=True), fixed(None, 1) == NOTHING
    ('0.0', '+2.5', True)
    """
    if value is None or not is_number(value):
        return NOTHING
    rounded = round(value, digits) or 0.0  # -0.0 is falsy too
    sign = MINUS if rounded < 0 else "+" if signed and rounded > 0 else ""
    return f"{sign}{abs(rounded):,.{digits}f}"


def plain(value: object) -> str:
    """A number of unknown size with about three digits; other values as they are.

    >>> plain(0.01234), plain(48123.0), plain(True), plain(7)
    ('0.0123', '48,123', 'True', '7')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return NOTHING if value is None else str(value)
    if not is_number(value):
        return NOTHING
    if value == int(value) or abs(value) >= 1000:
        return fixed(value, 0)
    if abs(value) < 0.001:
        return f"{value:.1e}".replace("-", MINUS)
    return fixed(value, next(digits for edge, digits in ((0.1, 4), (10, 3), (100, 2), (1000, 1)) if abs(value) < edge))


def p_words(p: float | None) -> str:
    """p = 0.012, or p < 0.001."""
    if p is None or not is_number(p):
        return f"p {NOTHING}"
    words = "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
    return words.replace(" ", "\u00a0")  # no line break inside


def difference_words(result: Result) -> str:
    """+6.1, in the unit of the outcome."""
    unit = UNITS[result.outcome]
    return fixed(_times(result.difference, unit), unit.digits, signed=True)


def range_words(low: float | None, high: float | None, outcome: str, *, signed: bool = True) -> str:
    """+2.0 to +9.9, in the unit of the outcome; empty when there is no interval."""
    unit = UNITS[outcome]
    if not (is_number(low) and is_number(high)):
        return ""
    return " to ".join(fixed(_times(end, unit), unit.digits, signed=signed) for end in (low, high))


def mean_words(value: float | None, outcome: str) -> str:
    unit = UNITS[outcome]
    return fixed(_times(value, unit), unit.digits)


def find(study: Study, recipe: str, outcome: str, weighting: str) -> Result | None:
    """The one result of these names, None when it was not measured."""
    wanted = (recipe, outcome, weighting)
    return next((r for r in study.results if (r.recipe, r.outcome, r.weighting) == wanted), None)


def arms(study: Study) -> list[str]:
    """The recipes that were compared with the baseline, the largest gain in macro accuracy first."""
    found = [r for r in study.results if (r.outcome, r.weighting) == ("accuracy", "macro") and r.recipe != study.baseline]
    return [r.recipe for r in sorted(found, key=lambda r: -r.difference if is_number(r.difference) else 0.0)]


def headline(study: Study) -> str:
    """The answer to the question of the study, in a few sentences: by accuracy, then by loss; it says so when the two weightings disagree."""
    ranked = arms(study)
    if not ranked:
        return "The arms have not been compared yet."
    verdicts = {recipe: tuple(_verdict(study, recipe, weighting) for weighting in WEIGHTING_NAMES) for recipe in ranked}
    base = study.baseline
    said = []
    # Arms with the same pair of verdicts are said in one sentence, the best pair first.
    for words in sorted(set(verdicts.values()), key=lambda words: words != ("better", "better")):
        names = [recipe for recipe in ranked if verdicts[recipe] == words]
        one = len(names) == 1
        start = f"{_list(names)} {'trains' if one else 'train'} a better student than {base}"
        if words == ("better", "better"):
            said.append(f"{start} on both weightings of the exam.")
        elif words[0] == "better":
            said.append(f"{start} when every leaf counts alike; at natural frequencies {'it is' if one else 'they are'} {words[1]}.")
        elif words[1] == "better":
            said.append(f"{start} at natural frequencies; with every leaf equal {'it is' if one else 'they are'} {words[0]}.")
    return " ".join(said + _rest(verdicts, base, is_first=not said) + _by_loss(study, ranked))


def _rest(verdicts: dict[str, tuple[str, str]], base: str, *, is_first: bool) -> list[str]:
    """What is said of the arms that are better on no weighting."""
    others = {recipe: words for recipe, words in verdicts.items() if "better" not in words}
    worse = [recipe for recipe, words in others.items() if "worse" in words]
    unproven = [recipe for recipe, words in others.items() if "one seed" in words and recipe not in worse]
    noise = [recipe for recipe in others if recipe not in worse and recipe not in unproven]
    shown = f"No recipe is shown to train a better student than {base} by accuracy"
    if is_first and len(noise) == len(verdicts):
        return [f"{shown}: every difference is within noise."]
    said = [f"{shown}."] if is_first else []
    if worse:
        said.append(f"{_list(worse)} {'trains' if len(worse) == 1 else 'train'} a worse one.")
    if noise:
        said.append(f"{_list(noise)} {'is' if len(noise) == 1 else 'are'} within noise of {base}.")
    if unproven:
        said.append(f"Nothing is claimed of {_list(unproven)}: one seed does not show the noise of training.")
    return said


def _by_loss(study: Study, ranked: Sequence[str]) -> list[str]:
    """What is said of the arms whose loss on the right answers differs beyond noise."""
    said = []
    for verdict in ("better", "worse"):
        places = {recipe: tuple(one for one in WEIGHTING_NAMES if _verdict(study, recipe, one, "gold_loss") == verdict) for recipe in ranked}
        for place, words in PLACES.items():
            names = [recipe for recipe in ranked if places[recipe] == place]
            if names:
                said.append(f"By the loss on the right answers {_list(names)} {'is' if len(names) == 1 else 'are'} {verdict} {words}.")
    return said


def verdict_class(word: str) -> str | None:
    """The CSS class of a verdict; only a claim is coloured."""
    return word if word in ("better", "worse") else None


def _verdict(study: Study, recipe: str, weighting: str, outcome: str = "accuracy") -> str:
    result = find(study, recipe, outcome, weighting)
    return result.verdict if result else "not measured"


def _times(value: float | None, unit: Unit) -> float | None:
    return value * unit.factor if value is not None else None


def _list(names: Sequence[str]) -> str:
    """a, b and c; from five names on the rest are counted."""
    if len(names) > 4:
        names = [*names[:3], f"{len(names) - 3} more"]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
