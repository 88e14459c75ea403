"""The exact value of an arithmetic expression as a person writes it: text -> fraction -> text. Standard library only, no `eval`.

The text becomes Python's syntax tree and is walked node by node; whatever is no number, sign, operator or parenthesis has no value. The size is bounded
before and during the walk, as teachers' text is hostile.
"""

import ast
import operator
import re
import warnings
from collections.abc import Callable
from fractions import Fraction

MOST_LETTERS = 200  # of an expression
MOST_DIGITS = 60  # of numerator and denominator, at every step
MOST_EXPONENT = 64

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_PLAIN = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**", "[": "(", "]": ")"})
_THOUSANDS = re.compile(r"(?<![\d,.])\d{1,3}(?:,\d{3})+(?![\d,])")
_CURRENCY = re.compile(r"[$€£](?=\s*[\d.(])")
_MIXED = re.compile(r"(?<![\d./*])(\d+) (\d+/\d+)(?![\d.])")
_DECIMAL = re.compile(r"(?<![\d.])(\d*)\.(\d+)(?![\d.])")
_PERCENT = re.compile(r"((?<![\d.])(?<!\*\*)\d+|\(\d+/\d+\))\s*%(?!\s*[\d(])")
_LEADING_ZEROS = re.compile(r"(?<!\d)0+(?=\d)")
_ALLOWED = re.compile(r"[\d\s()+*/-]+")
_LIMIT = 10**MOST_DIGITS


def evaluate_expression(text: str) -> str | None:
    """The value of an expression of numbers, + - * / ** (also × · ÷ − ^), parentheses, percent and thousands separators; None when it has none.

    Whole values come as digits, finite decimals as decimals, others as a fraction. Not evaluated: names, calls, exponents that are no whole number in
    -64..64, values of more than 60 digits at any step, more than 200 letters.

    >>> evaluate_expression("1,200 * 15% + 2"), evaluate_expression("3/8"), evaluate_expression("1/3"), evaluate_expression("9**9**9")
    ('182', '0.375', '1/3', None)
    """
    value = value_of(text)
    return None if value is None else written(value)


def value_of(text: str) -> Fraction | None:
    """As `evaluate_expression`, as a fraction."""
    if len(text) > MOST_LETTERS:
        return None
    plain = _MIXED.sub(r"(\1+\2)", _CURRENCY.sub("", text.translate(_PLAIN)).strip())
    plain = _THOUSANDS.sub(lambda found: found.group().replace(",", ""), plain)
    plain = _DECIMAL.sub(lambda found: f"({found[1]}{found[2]}/1{'0' * len(found[2])})", plain)
    plain = _LEADING_ZEROS.sub("", _PERCENT.sub(r"(\1/100)", plain))
    if not _ALLOWED.fullmatch(plain):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return _value(ast.parse(" ".join(plain.split()), mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError, ZeroDivisionError):
        return None


def written(value: Fraction) -> str:
    """A fraction as people write it: 42, 0.375, 1/3 (what has no finite decimal form of at most 12 places stays a fraction)."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**12
    if scaled.denominator > 1:
        return f"{value.numerator}/{value.denominator}"
    digits = f"{abs(scaled.numerator):013d}"
    return f"{'-' if value < 0 else ''}{digits[:-12]}.{digits[-12:].rstrip('0')}"


def _value(node: ast.expr) -> Fraction:
    """Raises: ValueError for what is no arithmetic or too large."""
    match node:
        case ast.Constant(value=int(number)) if type(number) is int:
            return _bounded(Fraction(number))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_value(left), _value(right))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _OPERATORS:
            return _bounded(_OPERATORS[type(sign)](_value(left), _value(right)))
    raise ValueError("no arithmetic")


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator > 1 or abs(exponent) > MOST_EXPONENT:
        raise ValueError("an exponent that is no whole number, or too large")
    return _bounded(base ** int(exponent))


def _bounded(value: Fraction) -> Fraction:
    if abs(value.numerator) >= _LIMIT or value.denominator >= _LIMIT:
        raise ValueError("too large")
    return value
