r"""Is the value that a text ends with the gold value? Numbers are compared exactly by ourselves, everything symbolic by math-verify (see `symbolic`).

What counts as the same: 1,200 and 1200; 0.75, 3/4, \frac{3}{4} and 75%; 25 and 25% where one of the two has the sign; a decimal with at least four places
that is the other value, rounded; a number with or without a unit, but never with two known units that differ.
Values are searched in the final answer of the text (see `answers`), so a right number on the way to a wrong answer does not help.
"""

from fractions import Fraction

from espalier.errors import shown
from espalier.text import fold
from espalier.verifiers.answers import Quantity, count_numbers, final_answer, is_plain, math_part, quantity, tidy
from espalier.verifiers.arithmetic import evaluate_expression

LEAST_PLACES = 4  # of a decimal that may be rounded
MOST_LETTERS = 20_000  # of an answer; what comes before the last ones is not searched

__all__ = ["evaluate_expression", "has_value", "said_answer", "same_value"]


def same_value(answer: str, gold: str) -> str | None:
    r"""None when the final answer of `answer` is the gold value, else the reason. Never raises, whatever the texts hold.

    >>> same_value("They share it, so the answer is 3/4.", "0.75")
    >>> same_value("6 * 7 = 42, so she has 42 apples.", "41")
    'found 42, wanted 41'
    """
    wanted_span, wanted_marked = final_answer(gold)
    span, marked = final_answer(answer[-MOST_LETTERS:])
    wanted_text, text = tidy(wanted_span), tidy(span)
    if not wanted_text:
        return "there is no gold value"
    if not text:
        return "there is no answer"
    wanted = _gold(wanted_text, wanted_marked)
    if wanted is None or not is_plain(text):
        return _compared(wanted_span, span, wanted_text, text)
    found = quantity(text, first=marked)
    if found is None:
        return f"no number in {shown(text)}, wanted {shown(wanted_text)}"
    if wanted.unit and found.unit and wanted.unit != found.unit:
        return f"found the unit {found.unit.split()[-1]}, wanted {wanted.unit.split()[-1]}"
    return None if _equal(found, wanted) else f"found {found.written[:40]}, wanted {wanted.written[:40]}"


def said_answer(answer: str, *, marked: bool) -> str:
    """What an answer ends with: its number as a fraction, without unit, or else the words that are marked as the answer; "" where there is neither.

    marked: a number counts only where words or signs mark it. Never raises, whatever the text holds.

    >>> said_answer("They share it, so the answer is $1,200.50.", marked=True), said_answer("The answer is Rye.", marked=True)
    ('2401/2', 'rye')
    >>> said_answer("She has 42 apples.", marked=True), said_answer("She has 42 apples.", marked=False)
    ('', '42')
    """
    span, is_marked = final_answer(answer[-MOST_LETTERS:])
    text = tidy(span)
    found = quantity(text, first=is_marked) if is_plain(text) and (is_marked or not marked) else None
    if found is None:
        return fold(text).casefold() if is_marked else ""
    return f"{found.value}{'%' if found.percent else ''}"


def has_value(gold: str) -> bool:
    """Whether a gold text holds a value that answers can be compared with."""
    span, marked = final_answer(gold)
    if _gold(tidy(span), marked) is not None:
        return True
    from espalier.verifiers import symbolic

    part = math_part(span)
    return symbolic.refusal(part) is None and symbolic.read(part) is not None


def _gold(text: str, marked: bool) -> Quantity | None:
    """The number of a gold span; None for a formula, and for a text with several numbers that does not mark its answer."""
    return quantity(text, first=marked) if is_plain(text) and (marked or count_numbers(text) <= 1) else None


def _equal(found: Quantity, wanted: Quantity) -> bool:
    values = {found.value}, {wanted.value}
    for one, values_of_one in zip((found, wanted), values, strict=True):
        if one.percent:
            values_of_one.add(one.value / 100)
    if found.percent and wanted.percent:
        return found.value == wanted.value
    return any(a == b or _rounded(a, b, found.written) or _rounded(b, a, wanted.written) for a in values[0] for b in values[1])


def _rounded(decimal: Fraction, other: Fraction, written: str) -> bool:
    """Whether a decimal is the other value, rounded to the places that it is written with."""
    places = len(written.rsplit(".", 1)[-1].rstrip("%) ")) if "." in written and "/" not in written else 0
    return places >= LEAST_PLACES and abs(decimal - other) * 10**places <= Fraction(1, 2)


def _compared(wanted_span: str, span: str, wanted_text: str, text: str) -> str | None:
    """As `same_value`, by sympy, for spans that hold more than a plain number."""
    if text.rstrip(".") == wanted_text.rstrip("."):
        return None
    from espalier.verifiers import symbolic

    parts = math_part(wanted_span), math_part(span)
    for name, part in zip(("the gold value", "the answer"), parts, strict=True):
        refused = symbolic.refusal(part)
        if refused:
            return f"{name} {refused}"
    wanted, found = (symbolic.read(part) for part in parts)
    if wanted is None or found is None:
        return f"{'the gold value' if wanted is None else 'the answer'} {shown(wanted_text if wanted is None else text)} cannot be read"
    same = symbolic.same(wanted, found)
    if same is None:
        return f"{shown(text)} and {shown(wanted_text)} take too long to compare"
    return None if same else f"found {text[:40]}, wanted {wanted_text[:40]}"
