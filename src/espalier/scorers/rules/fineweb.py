"""FineWeb's own rules, for documents alone: poems, tables, programs and lists are replies too, and each of them breaks one.

Source: Penedo et al. 2024 (arXiv 2406.17557), section 3.6, on custom filters. The limits are the paper's. datatrove 0.10 takes 0.01 where the paper has 0.1 for
characters in duplicated lines, compares with < and > where the paper says "or equal", and has a fourth rule (more than 0.3 line breaks a word) that the paper
does not name; it is here as `line_breaks` with that limit.
"""

from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

END_MARKS = (".", "!", "?", "。", "！", "？", "؟", "।", "…")  # the paper says punctuation; datatrove has all terminal marks of Unicode
MAX_LINES_WITHOUT_END = 0.12  # section 3.6: share of lines that end with punctuation, at or below which a document goes
MAX_LINE_CHARACTERS = 0.1  # section 3.6: share of characters in duplicated lines, at or above which it goes
SHORT_LINE, MAX_SHORT_LINES = 30, 0.67  # section 3.6: share of lines shorter than 30 characters, at or above which it goes
MAX_LINE_BREAKS = 0.3  # datatrove, fineweb_quality_filter.py: new_line_ratio


def line_ends(text: Text) -> str | None:
    """More than 12 % of the lines end with punctuation."""
    if not (text.is_document and text.lines):
        return None
    share = sum(line.rstrip().endswith(END_MARKS) for line in text.lines) / len(text.lines)
    return f"{share:.0%} of lines end with punctuation" if share <= MAX_LINES_WITHOUT_END else None


def short_lines(text: Text) -> str | None:
    """Fewer than 67 % of the lines are shorter than 30 characters."""
    if not (text.is_document and text.lines):
        return None
    share = sum(len(line) < SHORT_LINE for line in text.lines) / len(text.lines)
    return f"{share:.0%} of lines are short" if share >= MAX_SHORT_LINES else None


def copied_lines(text: Text) -> str | None:
    """Less than 10 % of the characters stand in copied lines."""
    share = text.repeats.line_character_share
    return f"{share:.0%} of characters in copied lines" if text.is_document and share >= MAX_LINE_CHARACTERS else None


def line_breaks(text: Text) -> str | None:
    """At most 0.3 line breaks a word."""
    if not (text.is_document and text.words):
        return None
    ratio = text.text.count("\n") / len(text.words)
    return f"{ratio:.2f} line breaks a word" if ratio > MAX_LINE_BREAKS else None


FINEWEB: dict[str, Rule] = {"line_ends": line_ends, "short_lines": short_lines, "copied_lines": copied_lines, "line_breaks": line_breaks}
