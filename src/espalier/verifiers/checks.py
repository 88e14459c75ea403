"""Does a text keep a constraint? Text -> None or the reason, with what was found and what was wanted. Microseconds each.

How things are counted: words are the pieces between blanks that hold a letter or a digit; sentences end at . ! ? before a blank (abbreviations and decimals
do not end one) and at the end of a line, list marks apart; paragraphs are the blocks between blank lines, a title line apart.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

from espalier.errors import shown
from espalier.text import fold
from espalier.verifiers.constraints import Constraint
from espalier.verifiers.json_values import NotJson, read_json, schema_fault

_WORD = re.compile(r"\S*\w\S*")
_MARK = re.compile(r"\s*(?:[-*•]\s+|\d{1,3}[.)]\s+|#+\s+)")
_END = re.compile(r"[.!?…]+[\"'”’)\]]*\s+")
_ABBREVIATED = re.compile(r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|vol|fig|jr|sr|inc|ca|approx)|\b[a-z]|\b[a-z]\.[a-z])\.$", re.IGNORECASE)
_BULLET = re.compile(r"^[ \t]*[-*] \s*\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*(\d{1,4})[.)] \s*\S", re.MULTILINE)
_TITLE = re.compile(r"<<\s*[^<>\s][^<>\n]*>>")
_BLANK_LINES = re.compile(r"\n[ \t]*\n")
_COMMAS = re.compile("[,،、，﹐]")


def check(constraint: Constraint, text: str) -> str | None:
    """None when the text keeps the constraint, else the reason. A blank text keeps none.

    >>> check(Constraint("max_words", 3), "One two three four.")
    '4 words, wanted at most 3'
    """
    text = text.strip()
    return _CHECKS[constraint.kind](constraint, text) if text else "the answer is empty"


def count_words(text: str) -> int:
    """Pieces between blanks that hold a letter or a digit."""
    return len(_WORD.findall(text))


def count_sentences(text: str) -> int:
    """See the module.

    >>> count_sentences("Dr. Smith paid 3.50 dollars. Why? Nobody knows"), count_sentences("- one\\n- two")
    (3, 2)
    """
    return sum(1 for line in text.splitlines() for _ in _sentences(line[_mark_end(line) :]))


def choice_key(text: str) -> str:
    """What two choices are compared by: case, blanks, quotes around it and final punctuation do not count.

    >>> choice_key(' "Yes". ')
    'yes'
    """
    return fold(text).rstrip(".!?;:,").strip("\"'“”‘’`*").rstrip(".!?;:,").casefold().strip()


def _sentences(line: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(line):
        if not _ABBREVIATED.search(line, max(0, end.start() - 8), end.start() + 1):
            if _WORD.search(line, start, end.start()):
                yield line[start : end.start()]
            start = end.end()
    if _WORD.search(line, start):
        yield line[start:]


def _mark_end(line: str) -> int:
    found = _MARK.match(line)
    return found.end() if found else 0


@lru_cache(maxsize=4_096)
def _whole_word(word: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, word.casefold().split())) + r"(?!\w)")


def _max_words(wanted: Constraint, text: str) -> str | None:
    found = count_words(text)
    return f"{found:,} words, wanted at most {wanted.n:,}" if found > wanted.n else None


def _min_words(wanted: Constraint, text: str) -> str | None:
    found = count_words(text)
    return f"{found:,} words, wanted at least {wanted.n:,}" if found < wanted.n else None


def _max_sentences(wanted: Constraint, text: str) -> str | None:
    found = count_sentences(text)
    return f"{found:,} sentences, wanted at most {wanted.n:,}" if found > wanted.n else None


def _paragraphs(wanted: Constraint, text: str) -> str | None:
    blocks = [block.strip() for block in _BLANK_LINES.split(text)]
    found = sum(bool(block) and not _TITLE.fullmatch(block) for block in blocks)
    return _other(found, wanted.n, "paragraphs")


def _bullets(wanted: Constraint, text: str) -> str | None:
    return _other(len(_BULLET.findall(text)), wanted.n, "bullets")


def _numbered(wanted: Constraint, text: str) -> str | None:
    found = [int(number) for number in _NUMBERED.findall(text)]
    if len(found) == wanted.n and found != list(range(1, wanted.n + 1)):
        return f"items numbered {', '.join(map(str, found[:5]))}, wanted 1 .. {wanted.n}"
    return _other(len(found), wanted.n, "numbered items")


def _keyword(wanted: Constraint, text: str) -> str | None:
    found = len(_whole_word(wanted.words[0]).findall(text.casefold()))
    return f"{shown(wanted.words[0])} {found} times, wanted at least {wanted.n}" if found < wanted.n else None


def _forbid(wanted: Constraint, text: str) -> str | None:
    folded = text.casefold()
    found = next((word for word in wanted.words if _whole_word(word).search(folded)), None)
    return None if found is None else f"uses {shown(found)}, which is forbidden"


def _starts_with(wanted: Constraint, text: str) -> str | None:
    begin = wanted.words[0]
    return None if text.startswith(begin) else f"begins with {shown(text[: len(begin)])}, wanted {shown(begin)}"


def _ends_with(wanted: Constraint, text: str) -> str | None:
    end = wanted.words[0]
    return None if text.endswith(end) else f"ends with {shown(text[-len(end) :])}, wanted {shown(end)}"


def _lowercase(wanted: Constraint, text: str) -> str | None:
    return None if text == text.lower() else f"holds the capital letter {shown(next(a for a in text if a != a.lower()))}, wanted lowercase alone"


def _uppercase(wanted: Constraint, text: str) -> str | None:
    small = next((letter for letter in text if letter.islower()), None)
    return None if small is None else f"holds the small letter {shown(small)}, wanted capitals alone"


def _no_commas(wanted: Constraint, text: str) -> str | None:
    found = len(_COMMAS.findall(text))
    return f"{found} commas, wanted none" if found else None


def _title(wanted: Constraint, text: str) -> str | None:
    first = text.split("\n", 1)[0].strip()
    return None if _TITLE.fullmatch(first) else f"the first line is {shown(first)}, wanted a title in << >>"


def _one_of(wanted: Constraint, text: str) -> str | None:
    found = choice_key(text)
    return None if any(found == choice_key(value) for value in wanted.words) else f"is {shown(text)}, wanted one of {', '.join(map(shown, wanted.words))}"


def _json(wanted: Constraint, text: str) -> str | None:
    try:
        value = read_json(text)
    except NotJson as error:
        return f"the answer {error}"
    return schema_fault(value, wanted.schema) if wanted.schema else None


def _other(found: int, wanted: int, words: str) -> str | None:
    return None if found == wanted else f"{found:,} {words}, wanted exactly {wanted:,}"


_CHECKS: Mapping[str, Callable[[Constraint, str], str | None]] = {
    "max_words": _max_words,
    "min_words": _min_words,
    "max_sentences": _max_sentences,
    "paragraphs": _paragraphs,
    "bullets": _bullets,
    "numbered": _numbered,
    "keyword": _keyword,
    "forbid": _forbid,
    "starts_with": _starts_with,
    "ends_with": _ends_with,
    "lowercase": _lowercase,
    "uppercase": _uppercase,
    "no_commas": _no_commas,
    "title": _title,
    "one_of": _one_of,
    "json": _json,
    "json_schema": _json,
}
