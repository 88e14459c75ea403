"""Whether what a text opens is closed, and its lists are whole: brackets, quotes, fences, numbering, promised counts. All limits are ours."""

import re
from collections.abc import Sequence

from espalier.phrases import NUMBER_WORDS
from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

NUMBERED = re.compile(r"^([ \t]*)(\d{1,2})[.)][ \t]+\S", re.MULTILINE)
BRACKET = re.compile(r"[(){}\[\]]")
ENUMERATOR = re.compile(r"(?:^|[\s(])(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})$")  # before a ")": "2)" and "b)" close nothing where nothing is open
SMILEY = re.compile(r"(?:^|(?<=\s))[:;][-']?[()]")
STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'|`[^`\n]*`")
INCHES = re.compile(r"(?<=\d)\"")
PROMISE = re.compile(
    rf"\b(?:here are|these are|there are|the following|following are|below are)(?: the| some| my| a list of| your)?(?: top| best| following)? "
    rf"(\d{{1,2}}|{'|'.join(NUMBER_WORDS)}) [^\d.\n]*:\s*$",
    re.IGNORECASE,
)
ITEM = re.compile(r"^(?:\d{1,2}[.)]|[-*•])\s+\S")
MAX_COUNT = 30  # a larger number before a list is hardly a promise


def brackets(text: Text) -> str | None:
    """As many brackets are closed as are opened, of all kinds together: the interval [0, 1) is right. Strings of code, smileys and "2)" do not count."""
    if _count(text.text, "([{") == _count(text.text, ")]}"):
        return None
    rest = SMILEY.sub("", STRING.sub("", text.text))
    opened = closed = 0
    for found in BRACKET.finditer(rest):
        if found[0] in "([{":
            opened += 1
        elif opened > closed or not (found[0] == ")" and ENUMERATOR.search(rest[max(0, found.start() - 5) : found.start()])):
            closed += 1
    return None if opened == closed else f"{opened} brackets opened, {closed} closed"


def quotes(text: Text) -> str | None:
    """Straight double quotes come in pairs in a text of one paragraph (a speech over several opens each one anew); 5" are inches. Says nothing of code."""
    if text.is_code or text.text.count('"') % 2 == 0 or len(text.paragraphs) > 1:
        return None
    count = INCHES.sub("", text.text).count('"')
    return f"{count} quotation marks" if count % 2 else None


def fences(text: Text) -> str | None:
    """A fenced block of code ends."""
    return "a fence is not closed" if "```" in text.text and text.text.count("```") % 2 else None


def numbering(text: Text) -> str | None:
    """A numbered list that starts with 1 goes on with the next number, or starts again with 1; per depth of indent. Says nothing of code.

    A list by Markdown (1. 1. 1.) is right. The number after a pause of other paragraphs is compared too: a list may be broken by them.
    """
    if text.is_code or "\n" not in text.text:
        return None
    last: dict[int, int] = {}
    for indent, digits in NUMBERED.findall(text.text):
        depth, number = len(indent.expandtabs()), int(digits)
        before = last.get(depth)
        if number == 1 or (before is None and number != 1):
            last = {where: n for where, n in last.items() if where < depth} | ({depth: 1} if number == 1 else {})
        elif number == before + 1:
            last[depth] = number
        else:
            return f"{before} is followed by {number}"
    return None


def promised(text: Text) -> str | None:
    """"Here are five ways:" is followed by five items of a list, one a line; the list ends with the first line that is none and not indented."""
    if ":\n" not in text.text and ": \n" not in text.text:
        return None
    for place, line in enumerate(text.lines[:-1]):
        found = PROMISE.search(line) if line.rstrip().endswith(":") else None
        if not found or not ITEM.match(text.lines[place + 1]):
            continue
        wanted, items = NUMBER_WORDS.get(found[1].lower()) or int(found[1]), _items(text.lines[place + 1 :])
        if 1 < wanted <= MAX_COUNT and 1 < items != wanted:
            return f"promises {wanted}, lists {items}"
    return None


def _items(lines: Sequence[str]) -> int:
    """Items at the depth and of the kind of the first one, up to the first line that is neither an item nor indented."""
    numbered, count = lines[0][0].isdigit(), 0
    for line in lines:
        if ITEM.match(line) and line[0].isdigit() == numbered:
            count += 1
        elif not line[0].isspace() and not (numbered and ITEM.match(line)):
            break
    return count


def _count(text: str, letters: str) -> int:
    return sum(map(text.count, letters))


FORM: dict[str, Rule] = {"brackets": brackets, "quotes": quotes, "fences": fences, "numbering": numbering, "promised": promised}
