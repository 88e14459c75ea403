"""Whether what a text opens is closed, and its lists are whole: brackets, quotes, fences, numbering, promised counts. All limits are ours."""

import re

from espalier.phrases import NUMBER_WORDS
from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

NUMBERED = re.compile(r"^([ \t]*)(\d{1,2})[.)][ \t]+\S", re.MULTILINE)
ENUMERATOR = re.compile(r"(?:^|(?<=[\s(]))(?:\d{1,3}|[A-Za-z]|[ivxIVX]{1,4})\)")  # "2)" and "b)" close nothing
SMILEY = re.compile(r"[:;=8][-']?[()\[\]{}]")
STRING = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'")
INCHES = re.compile(r"(?<=\d)\"")
PROMISE = re.compile(rf"\b(\d{{1,2}}|{'|'.join(NUMBER_WORDS)})(?: [\w'-]+){{1,8}}[^.\n\d]{{0,40}}:\s*$", re.IGNORECASE)
ITEM = re.compile(r"^(?:\d{1,2}[.)]|[-*•])\s+\S")
MAX_COUNT = 30  # a larger number before a list is hardly a promise


def brackets(text: Text) -> str | None:
    """As many brackets are closed as are opened, of all kinds together: the interval [0, 1) is right. Strings of code, smileys and "2)" do not count."""
    opened, closed = _count(text.text, "([{"), _count(text.text, ")]}")
    if opened == closed:
        return None
    rest = SMILEY.sub("", ENUMERATOR.sub("", STRING.sub("", text.text)))
    opened, closed = _count(rest, "([{"), _count(rest, ")]}")
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
    """"Here are five ways:" is followed by five items. Counts the items of the list right behind the promise, up to the first line that is none."""
    for place, line in enumerate(text.lines[:-1]):
        found = PROMISE.search(line) if line.rstrip().endswith(":") and not ITEM.match(line) else None
        if not found or not ITEM.match(text.lines[place + 1]):
            continue
        wanted = NUMBER_WORDS.get(found[1].lower()) or int(found[1])
        items = _items(text.lines[place + 1 :])
        if 1 < wanted <= MAX_COUNT and items != wanted:
            return f"promises {wanted}, lists {items}"
    return None


def _items(lines: list[str]) -> int:
    """Items at the depth of the first line; lines of other depths and plain lines between items belong to an item."""
    kind = lines[0].lstrip()[0].isdigit()
    return sum(bool(ITEM.match(line)) and line[0].isdigit() == kind for line in lines)


def _count(text: str, letters: str) -> int:
    return sum(map(text.count, letters))


FORM: dict[str, Rule] = {"brackets": brackets, "quotes": quotes, "fences": fences, "numbering": numbering, "promised": promised}
