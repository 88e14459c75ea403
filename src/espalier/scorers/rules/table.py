"""All rules of tier 0 by name, "family:rule", in the order in which they speak; and what they say of a row or of a frame.

    reply       empty, refused, leaked, echoed, cut off, banned opening
    language    English, scripts, broken characters
    form        brackets, quotes, fences, numbering, promised counts
    repetition  Gopher's table A1: of documents, and of replies of 200 words and more
    gopher, c4, fineweb                    of documents alone

Reads `query`, `answer` and (where there is one) `finish` of a row. A missing query makes the row a document.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from espalier.scorers.rules.c4 import C4
from espalier.scorers.rules.fineweb import FINEWEB
from espalier.scorers.rules.form import FORM
from espalier.scorers.rules.gopher import QUALITY, REPETITION
from espalier.scorers.rules.language import LANGUAGE
from espalier.scorers.rules.reading import read_row
from espalier.scorers.rules.reply import REPLY
from espalier.scorers.rules.rule import Rule

BY_FAMILY = {"reply": REPLY, "language": LANGUAGE, "form": FORM, "repetition": REPETITION, "gopher": QUALITY, "c4": C4, "fineweb": FINEWEB}
FAMILIES = tuple(BY_FAMILY)
RULES: dict[str, Rule] = {f"{family}:{name}": rule for family, rules in BY_FAMILY.items() for name, rule in rules.items()}


def broken_rules(row: Mapping[str, Any], *, openings: Sequence[str] = ()) -> list[str]:
    """The names of the rules that speak, in the order of RULES; openings: banned ones.

    >>> broken_rules({"query": "Name a colour (any).", "answer": "As an AI I have no favourite (yet."})
    ['reply:refusal', 'form:brackets']
    """
    return list(broken_reasons(row, openings=openings))


def broken_reasons(row: Mapping[str, Any], *, openings: Sequence[str] = ()) -> dict[str, str]:
    """Rule -> its reason, for the rules that speak."""
    text = read_row(row, openings=openings)
    return {name: reason for name, rule in RULES.items() if (reason := rule(text))}


def broken_rules_of(frame: pl.DataFrame, *, openings: Sequence[str] = ()) -> pl.Series:
    """`broken_rules` of every row, in their order: a series `broken_rules` of List(String). Null texts read as empty ones."""
    columns = [frame[name].fill_null("").to_list() if name in frame.columns else [""] * frame.height for name in ("query", "answer", "finish")]
    rows = ({"query": query, "answer": answer, "finish": finish} for query, answer, finish in zip(*columns, strict=True))
    return pl.Series("broken_rules", [broken_rules(row, openings=openings) for row in rows], dtype=pl.List(pl.String))


def rule_scores(frame: pl.DataFrame, *, openings: Sequence[str]) -> pl.DataFrame:
    """The column `broken_rules` of every row; openings: banned ones."""
    return broken_rules_of(frame, openings=openings).to_frame()
