r"""The final answer in a running text, and the number in it: text -> span -> value. Standard library only; what no plain number says is left to `numeric`.

A person ends with "#### 42", "\boxed{42}", "The answer is 42 apples." or just with the number. The first of these kinds that a text holds decides, and of
several of one kind the last one, as corrections come later.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from espalier.verifiers.arithmetic import value_of

MOST_SPAN = 400  # letters of a final answer

_MARKED = re.compile(r"^[ \t]*#{4}[ \t]*(\S.*)$", re.MULTILINE)
_ANCHOR = re.compile(r"\b(?:answer|result)(?:\s+(?:to|of|for)\s[^.\n]{0,60}?)?\s*(?:\bis\b|\bequals\b|\bwould be\b|[:=])\s*(?:equal to|:|=)?\s*", re.IGNORECASE)
_CLAUSE_END = re.compile(r"[.?!](?=\s|$|\*)|\n|;|,(?=\s)(?!\s*\d{3}\b)")
_MATH = re.compile(r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<!\\)\$(?!\s)([^$\n]*?[\\^_=+*/{}][^$\n]*?|[\d.,/-]+)(?<![\s\\])\$", re.DOTALL)
_NUMBER = r"[$€£]?\s?(?:\d[\d,]*(?:\.\d+)?|\.\d+)"
_SIGNS, _BETWEEN = r"(?:[-+−(]\s?)*", r"\s?[)]*\s*(?:[-+*/^×÷·−]\s*)+"
_RUN = re.compile(rf"(?<![\w.]){_SIGNS}{_NUMBER}(?:\s?%)?(?:{_BETWEEN}{_SIGNS}{_NUMBER}(?:\s?%)?\s?[)]*|\s\d+/\d+|\)(?=\s*[-+*/^]))*")
_FIRST_NUMBER = re.compile(rf"[-−]?{_NUMBER}")
_FRACTION = re.compile(r"\\[dt]?frac\s*(?:\{(-?[\d.,]+)\}|(\d))\s*(?:\{([\d.,]+)\}|(\d))")
_AFTER = re.compile(r"\s*(\\?%|percent(?:age)?\b|per cent\b)?\s*°?\s*([a-zA-Z]+(?:\s?/\s?[a-zA-Z]+)?[²³]?(?:\^\{?[23]\}?)?)?")
_DRESS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox)\s*\{([^{}]*)\}")
_NAMED = re.compile(r"(?<![\w\\])[a-zA-Z]\s*[=≈]\s*(?=[-$\d.(][^a-zA-Z\\]*(?:[a-z]{2,}[^=]*)?$)")
_CLOCK = re.compile(r"\d:\d\d")
_SPACES = re.compile(r"\\[,!;: ]|~|\\q?quad\b|\\left\b|\\right\b|\*\*|`")
_SYMBOLS = re.compile(r"\\[a-zA-Z]+|(?<![a-zA-Z])(?:sqrt|pi|log|sin|cos|tan)(?![a-zA-Z])|[πx√∞]\s*[\^=+*-]|[√π∞]|\d\s*[\^]")

_UNITS = {
    "length": "mm millimeter millimetre; cm centimeter centimetre; m meter metre; km kilometer kilometre; inch; foot feet ft; yard yd; mile mi",
    "mass": "mg milligram; g gram; kg kilogram; ton tonne; ounce oz; lb",
    "time": "ms millisecond; s sec second; min minute; h hr hour; day; week; month; year",
    "volume": "ml milliliter millilitre; l liter litre; gallon gal; cup; pint; quart",
    "money": "dollar usd; cent; euro eur; gbp",
}
NUMBER_WORDS = {
    word: number
    for number, word in enumerate(
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(), 1
    )
}
UNIT_OF = {word: f"{kind} {names.split()[0]}" for kind, line in _UNITS.items() for names in line.split(";") for word in names.split()}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as it was written: `percent` when a percent sign follows it (then `value` is the number before the sign), `unit` in one form or ""."""

    value: Fraction
    percent: bool
    unit: str
    written: str


def final_answer(text: str) -> tuple[str, bool]:
    """The span that holds the final answer, and whether a marker led to it (else it is the last line that is not blank); "" for a blank text."""
    marked = _MARKED.findall(text)
    if marked:
        return marked[-1][:MOST_SPAN].strip(), True
    boxed = _boxed(text)
    if boxed:
        return boxed, True
    anchors = list(_ANCHOR.finditer(text))
    if anchors:
        span = _clause(text[anchors[-1].end() :])
        if span:
            return span, True
    lines = [line for line in text.splitlines() if line.strip()]
    return (lines[-1][-MOST_SPAN:].strip(), False) if lines else ("", False)


def tidy(span: str) -> str:
    r"""A span without LaTeX dress: delimiters, \text{}, thin spaces and bold marks go, simple fractions become a/b."""
    span = re.sub(r"\s?\^\s?\{?\\circ\}?|\\degree", "° ", re.sub(r"(?<=[\d)])\s?\*\*\s?(?=[\d(-])", "^", span))
    plain = _DRESS.sub(r" \1 ", _SPACES.sub(" ", span.replace("{,}", ",").replace("\\$", "$").replace("\\%", "%")))
    plain = _MATH.sub(lambda found: " " + next(part for part in found.groups() if part is not None) + " ", plain)
    plain = _FRACTION.sub(lambda found: f" ({found[1] or found[2]}/{found[3] or found[4]}) ", plain)
    return _NAMED.sub("", " ".join(plain.replace("- (", "-(").split()))


def quantity(span: str, *, first: bool) -> Quantity | None:
    """The first or the last number of a tidy span; behind an equals sign when there is one. Arithmetic is worked out ("3 * 4" is 12)."""
    plain = span.rsplit("=", 1)[-1] if re.search(r"=.*\d", span) else span
    runs = list(_RUN.finditer(plain))
    if not runs:
        words = [word for word in re.findall(r"[a-z]+", plain.casefold()) if word in NUMBER_WORDS]
        return Quantity(Fraction(NUMBER_WORDS[words[0 if first else -1]]), False, "", words[0 if first else -1]) if words else None
    run = runs[0 if first else -1]
    percent, unit = _dressed(plain, run.end())
    written = run.group().strip()
    value = value_of(written.rstrip("%").strip())
    if value is not None:
        return Quantity(value, percent or written.endswith("%"), unit or _currency(written), written)
    numbers = [] if "^" in written or "**" in written else list(_FIRST_NUMBER.finditer(written))
    value = value_of(numbers[0 if first else -1].group().rstrip(",.")) if numbers else None
    return None if value is None else Quantity(value, False, "", written)


def math_part(span: str) -> str:
    """The last formula of a span when it marks one with dollars or brackets, else the span; without \\text{} and the full stop."""
    parts = [next(part for part in found.groups() if part is not None) for found in _MATH.finditer(span)]
    return re.sub(r"(?:\s+[a-zA-Z]{3,})+$", "", _DRESS.sub(" ", _SPACES.sub(" ", parts[-1] if parts else span)).strip().removesuffix("."))


def count_numbers(span: str) -> int:
    """How many numbers or sums a tidy span holds behind its last equals sign."""
    return sum(1 for _ in _RUN.finditer(span.rsplit("=", 1)[-1]))


def is_plain(span: str) -> bool:
    """Whether a tidy span says a number in digits alone: no roots, letters with exponents, sets, times of day or LaTeX commands."""
    return not _SYMBOLS.search(span) and not _CLOCK.search(span) and not re.search(r"[({\[]\s*-?[\d.]+\s*,|,\s*-?[\d.]+\s*[)}\]]", span)


def _clause(rest: str) -> str:
    """What stands from here to the end of the sentence, the line or the clause; leading marks go."""
    head = rest[:MOST_SPAN].lstrip(" :*\n")
    for end in _CLAUSE_END.finditer(head):
        part = head[: end.start()]
        if part.count("$") % 2 == 0 and sum(map(part.count, "([{")) <= sum(map(part.count, ")]}")):  # not within a formula or brackets
            return part.strip()
    return head.strip()


def _boxed(text: str) -> str:
    r"""What the last \boxed{...} holds, braces balanced; "" when there is none or it does not close."""
    start = max(text.rfind("\\boxed{"), text.rfind("\\fbox{"))
    if start < 0:
        return ""
    begin = text.index("{", start)
    depth = 0
    for place in range(begin, min(len(text), begin + MOST_SPAN)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin + 1 : place].strip()
    return ""


def _dressed(text: str, end: int) -> tuple[bool, str]:
    """Percent sign and unit behind a number."""
    found = _AFTER.match(text, end)
    assert found is not None
    word = (found[2] or "").strip().casefold()
    return found[1] is not None, UNIT_OF.get(word) or UNIT_OF.get(word.removesuffix("s"), "")


def _currency(written: str) -> str:
    return {"$": "money dollar", "€": "money euro", "£": "money gbp"}.get(written.lstrip("-−(+ ")[:1], "")
