"""A row read once for all rules: its words, lines, paragraphs and repeats. Every rule looks at the same `Text` and cuts nothing itself."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espalier.scorers.rules.repeats import NO_REPEATS, Repeats, measure_repeats
from espalier.text import words

# Ours: words from which a reply is long enough for limits on repeats that were made for pages. Of 12,742 real replies of 50 to 200 words they dropped 485,
# nearly all wrongly: worked sums, songs, tables. Short loops are seen by the share of repeated 3-grams (heuristics.py).
LONG_WORDS = 200
CODE_SHARE = 0.3  # ours: share of lines that look like code from which a reply is read as code
MARKS = str.maketrans("", "", ".,;:!?\"'()[]’“”*")
PARAGRAPH_BREAK = re.compile(r"\n\s*\n")
CODE_ENDS = (";", "{", "}", ");", "):", "*/", "</")
CODE_LINE = re.compile(
    r"\s*(?:def |class |import |from \w+ import|return\b|print\(|for .*:$|if .*:$|else:|elif |#include| {4}\S|<[/!?]?\w[^>]*>|</|//|@\w|var |let |const |"
    r"function |public |private |select |insert |create table|\w[\w.\[\]]* ?[-+*/]?= ?\S|[.#]?\w[\w-]* ?\{|[\w.]+\(.*\)\s*$)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Text:
    """One row. `text`: what is judged (the reply, or the whole text where nothing was asked); `query`: "" for a document.

    lines: those that hold more than white space, as they stand; paragraphs: pieces between blank lines, stripped; folded: lower case, straight apostrophes,
    blanks for white space; finish: why generation ended, "" where unknown; repeats: zeros for replies of fewer than LONG_WORDS words and for code.
    """

    text: str
    query: str
    finish: str
    openings: Sequence[str]
    words: list[str]
    lines: list[str]
    paragraphs: list[str]
    folded: str
    is_document: bool
    is_code: bool
    repeats: Repeats

    def asks(self, wanted: frozenset[str]) -> bool:
        """Whether the query holds one of these words (lower case); only where a rule is about to speak, for it cuts the query."""
        return not wanted.isdisjoint(self.query.lower().translate(MARKS).split())


def read_row(row: Mapping[str, Any], *, openings: Sequence[str]) -> Text:
    """Cut a row of `query`, `answer` and (optional) `finish`. A row without a query is a document; openings: those that are banned."""
    text, query = row["answer"], row["query"]
    found = words(text)
    lines = [line for line in text.split("\n") if line and not line.isspace()]
    paragraphs = [piece.strip() for piece in PARAGRAPH_BREAK.split(text.strip())] if "\n" in text else [text.strip()] if found else []
    is_document = not query
    is_code = looks_like_code(text, lines)
    is_measured = is_document or (len(found) >= LONG_WORDS and not is_code)
    return Text(
        text=text,
        query=query,
        finish=row.get("finish") or "",
        openings=openings,
        words=found,
        lines=lines,
        paragraphs=paragraphs,
        folded=" ".join(found).replace("’", "'").lower(),
        is_document=is_document,
        is_code=is_code,
        repeats=measure_repeats(text, found, lines=lines, paragraphs=paragraphs) if is_measured else NO_REPEATS,
    )


def looks_like_code(text: str, lines: Sequence[str]) -> bool:
    """A fenced block, or CODE_SHARE of the lines with marks of code: rules about prose leave such a text alone.

    >>> looks_like_code("x = 1", ["x = 1"]), looks_like_code("He said: go.", ["He said: go."])
    (True, False)
    """
    if "```" in text:
        return True
    return bool(lines) and sum(line.rstrip().endswith(CODE_ENDS) or CODE_LINE.match(line) is not None for line in lines) >= CODE_SHARE * len(lines)
