"""Gopher's rules of quality and of repetition.

Source: Rae et al. 2021 (arXiv 2112.11446), appendix A.1.1 and table A1; all limits are the paper's. They were made for web pages, so the rules of quality speak
of documents (rows without a query) alone: of 30 looked at among 228 replies of 50 words and more that they dropped two were bad, the others lists,
recipes, sums. The rules of repetition speak of documents and of replies of 200 words and more that are no code (`Text.repeats`).

Words are the pieces between white space; datatrove's are spaCy's. It leaves words of marks alone out of the count and the mean length; the paper does not say
so, and neither does this. It counts blank lines among the lines of the bullet and ellipsis rules; here they are no lines.
"""

from functools import partial

from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

MIN_WORDS, MAX_WORDS = 50, 100_000  # A.1.1: between 50 and 100,000 words
MIN_LENGTH, MAX_LENGTH = 3.0, 10.0  # A.1.1: mean word length of 3 to 10 characters
MAX_SYMBOLS = 0.1  # A.1.1: hash signs or ellipses a word
MAX_BULLETS = 0.9  # A.1.1: share of lines that start with a bullet point
MAX_ELLIPSIS_LINES = 0.3  # A.1.1: share of lines that end with an ellipsis
MIN_LETTERS = 0.8  # A.1.1: share of words with a letter
COMMON_WORDS, MIN_COMMON_WORDS = frozenset("the be to of and that have with".split()), 2  # A.1.1: at least two of these
BULLETS = ("•", "-")  # the paper names none; these are datatrove's
ELLIPSES = ("...", "…")
MAX_LINES = MAX_PARAGRAPHS = 0.30  # table A1: share of duplicate lines, of duplicate paragraphs
MAX_LINE_CHARACTERS = MAX_PARAGRAPH_CHARACTERS = 0.20  # table A1: share of characters in them
MAX_TOP = {2: 0.20, 3: 0.18, 4: 0.16}  # table A1: characters of the most frequent n-gram
MAX_DUPLICATE = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}  # table A1: characters in duplicate n-grams


def is_page(text: Text) -> bool:
    """Whether the rules of quality speak: a document with words."""
    return text.is_document and bool(text.words)


def word_count(text: Text) -> str | None:
    """50 to 100,000 words. A short reply is no fault."""
    count = len(text.words)
    return f"{count} words" if text.is_document and not MIN_WORDS <= count <= MAX_WORDS else None


def word_length(text: Text) -> str | None:
    """Mean word length of 3 to 10 characters."""
    if not is_page(text):
        return None
    mean = sum(map(len, text.words)) / len(text.words)
    return None if MIN_LENGTH <= mean <= MAX_LENGTH else f"mean word length {mean:.1f}"


def hashes(text: Text) -> str | None:
    """At most one hash sign in ten words."""
    count = text.text.count("#")
    return f"{count} # in {len(text.words)} words" if is_page(text) and count / len(text.words) > MAX_SYMBOLS else None


def ellipses(text: Text) -> str | None:
    """At most one ellipsis in ten words."""
    count = text.text.count("...") + text.text.count("…")
    return f"{count} ellipses in {len(text.words)} words" if is_page(text) and count / len(text.words) > MAX_SYMBOLS else None


def bullets(text: Text) -> str | None:
    """At most 90 % of the lines start with a bullet."""
    if not (text.is_document and text.lines):
        return None
    share = sum(line.lstrip().startswith(BULLETS) for line in text.lines) / len(text.lines)
    return f"{share:.0%} of lines are bullets" if share > MAX_BULLETS else None


def ellipsis_lines(text: Text) -> str | None:
    """At most 30 % of the lines end with an ellipsis."""
    if not is_page(text) or ("..." not in text.text and "…" not in text.text):
        return None
    share = sum(line.rstrip().endswith(ELLIPSES) for line in text.lines) / len(text.lines)
    return f"{share:.0%} of lines end with an ellipsis" if share > MAX_ELLIPSIS_LINES else None


def letters(text: Text) -> str | None:
    """At least 80 % of the words hold a letter."""
    if not is_page(text):
        return None
    count = sum(word[0].isalpha() or any(map(str.isalpha, word)) for word in text.words)
    return f"{count} of {len(text.words)} words hold a letter" if count / len(text.words) < MIN_LETTERS else None


def stop_words(text: Text) -> str | None:
    """At least two of the, be, to, of, and, that, have, with; as they stand, so "The" is none (datatrove too)."""
    if not is_page(text):
        return None
    found = len(COMMON_WORDS.intersection(text.words))
    return f"{found} of 8 common words" if found < MIN_COMMON_WORDS else None


def lines(text: Text) -> str | None:
    """At most 30 % of the lines are copies of an earlier one."""
    share = text.repeats.line_share
    return f"{share:.0%} of lines are copies" if share > MAX_LINES else None


def line_characters(text: Text) -> str | None:
    """At most 20 % of the characters stand in copied lines."""
    share = text.repeats.line_character_share
    return f"{share:.0%} of characters in copied lines" if share > MAX_LINE_CHARACTERS else None


def paragraphs(text: Text) -> str | None:
    """At most 30 % of the paragraphs are copies of an earlier one."""
    share = text.repeats.paragraph_share
    return f"{share:.0%} of paragraphs are copies" if share > MAX_PARAGRAPHS else None


def paragraph_characters(text: Text) -> str | None:
    """At most 20 % of the characters stand in copied paragraphs."""
    share = text.repeats.paragraph_character_share
    return f"{share:.0%} of characters in copied paragraphs" if share > MAX_PARAGRAPH_CHARACTERS else None


def top_ngram(text: Text, *, n: int) -> str | None:
    """The most frequent n-gram, where it repeats, holds at most 20, 18, 16 % of the characters (n = 2, 3, 4)."""
    share = text.repeats.top[n]
    return f"{share:.0%} of characters in the top {n}-gram" if share > MAX_TOP[n] else None


def duplicate_ngrams(text: Text, *, n: int) -> str | None:
    """Copied n-grams hold at most 15 to 10 % of the characters (n = 5 to 10)."""
    share = text.repeats.duplicate[n]
    return f"{share:.0%} of characters in copied {n}-grams" if share > MAX_DUPLICATE[n] else None


QUALITY: dict[str, Rule] = {
    "word_count": word_count,
    "word_length": word_length,
    "hashes": hashes,
    "ellipses": ellipses,
    "bullets": bullets,
    "ellipsis_lines": ellipsis_lines,
    "letters": letters,
    "stop_words": stop_words,
}
REPETITION: dict[str, Rule] = {
    "lines": lines,
    "line_characters": line_characters,
    "paragraphs": paragraphs,
    "paragraph_characters": paragraph_characters,
    **{f"top_{n}gram": partial(top_ngram, n=n) for n in MAX_TOP},
    **{f"copied_{n}grams": partial(duplicate_ngrams, n=n) for n in MAX_DUPLICATE},
}
