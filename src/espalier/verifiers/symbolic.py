r"""Equality of symbolic values (roots, letters, sets, intervals, matrices) by the library math-verify, kept within bounds. Imports sympy: seconds.

math-verify stops long computations by SIGALRM, which works in the main thread alone, depends on the clock, and replaces the alarm of whoever calls. Here its
alarms are off. Instead a text must be small and made of known LaTeX commands (none that makes huge numbers out of few letters), and the comparison may make
a number of function calls, counted by the profiler hook of this thread; a clock decides nothing.

Source: math-verify 0.9.0 (parse, verify) over latex2sympy2_extended 1.11.0.
"""

import logging
import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

import sympy
from math_verify import LatexExtractionConfig, parse, verify

MOST_LETTERS = 200
MOST_CALLS = 3_000_000  # a few seconds; ordinary answers need some ten thousand
MOST_EXPONENT = 200  # product of all numbers in exponents
MOST_DIGITS = 30
KNOWN_COMMANDS = frozenset(
    "frac dfrac tfrac sqrt pi cdot times div pm mp left right text mathrm mathbf textbf mathbb le leq ge geq lt gt ne neq in cup cap infty emptyset setminus "
    "sin cos tan cot sec csc arcsin arccos arctan log ln theta alpha beta gamma lambda mu phi omega circ degree quad qquad begin end pmatrix bmatrix "
    "lfloor rfloor lvert rvert angle ldots dots approx overline vec hat mid to and or boxed".split()
)
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_EXPONENT = re.compile(r"(?:\^|\*\*)\s*(\{[^{}]*\}|\([^()]*\)|-?\d+|\\?[a-zA-Z]+)?")
FUNCTIONS = frozenset(("sqrt", "sin", "cos", "tan", "log", "pmatrix", "bmatrix"))
_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+")
_WORD_COMMANDS = re.compile(r"(?<![\\a-zA-Z])(sqrt|pi|sin|cos|tan|log|ln)(?![a-zA-Z])")
_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")

_T = TypeVar("_T")

for _name in ("math_verify.parser", "math_verify.grader", "math_verify.utils"):
    logging.getLogger(_name).setLevel(logging.ERROR)  # they warn that alarms are off, and of every text that they cannot read


class _TooMuch(BaseException):
    """The calls are used up; no Exception, as sympy and math-verify catch those."""


def refusal(text: str) -> str | None:
    """Why a text is not given to sympy, or None."""
    if len(text) > MOST_LETTERS:
        return f"has {len(text)} letters, more than {MOST_LETTERS}"
    unknown = sorted(set(_COMMAND.findall(text)) - KNOWN_COMMANDS)
    if unknown:
        return f"uses \\{unknown[0]}, which is not compared"
    if "!" in text.replace("\\!", ""):
        return "holds a factorial, which is not compared"
    words = [word for word in _WORD.findall(_COMMAND.sub(" ", text)) if word not in FUNCTIONS]
    if words:
        return f"holds words ({words[0][:40]}), which are not compared"
    if any(len(digits) > MOST_DIGITS for digits in _NUMBER.findall(text)):
        return f"holds a number of more than {MOST_DIGITS} digits"
    product = 1
    for found in _EXPONENT.finditer(text):
        exponent = found[1] or ""
        if not exponent or "^" in exponent or "**" in exponent or re.match(r"\s*(?:\^|\*\*)", text[found.end() :]):
            return "holds a power of a power, which is not compared"
        for digits in _NUMBER.findall(exponent):
            product *= max(int(digits), 1)
    return f"holds exponents above {MOST_EXPONENT}" if product > MOST_EXPONENT else None


def read(text: str) -> Any:
    """What sympy reads in a short LaTeX or plain expression; None when it reads nothing. The text must have passed `refusal`."""
    plain = text.strip().strip("$").replace("**", "^").replace("√", "\\sqrt ").replace("π", "\\pi ").replace("∞", "\\infty ")
    latex = _ROOT.sub(r"\\sqrt{\1}", _WORD_COMMANDS.sub(r"\\\1", plain)).replace("*", "\\cdot ")
    found = _within(lambda: parse(f"${latex}$", [LatexExtractionConfig()], fallback_mode="no_fallback", parsing_timeout=None))
    return found[0] if found else None


def same(gold: Any, found: Any) -> bool | None:
    """Whether two read values are the same; None when that takes too long to say. Not symmetric: the gold goes first."""
    if isinstance(gold, sympy.Number) and isinstance(found, sympy.Number):
        return bool(gold == found)
    return _within(lambda: verify(gold, found, timeout_seconds=None))


def _within(step: Callable[[], _T]) -> _T | None:
    """What a step returns; None when it makes more than MOST_CALLS calls or fails for want of depth or memory."""
    left = MOST_CALLS

    def count(frame: FrameType, event: str, argument: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _TooMuch

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return step()
    except (_TooMuch, RecursionError, MemoryError, OverflowError):
        return None
    finally:
        sys.setprofile(before)
