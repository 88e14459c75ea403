"""English by its function words, scripts by their Unicode blocks, broken characters by their code; no model.

A query that names a language or asks for symbols may rightly be answered in them, so the first two rules leave its reply alone.
"""

import re

from espalier.phrases import FOREIGN_WORDS, LANGUAGE_WORDS, STOP_WORDS
from espalier.scorers.rules.reading import MARKS, Text
from espalier.scorers.rules.rule import Rule

MIN_PLAIN_WORDS = 10  # ours: fewer words are too few to tell
MIN_STOP_SHARE = 0.05  # ours: share of words that are function words of English from which a text is English; prose has 0.3 to 0.5
MIN_FOREIGN_SHARE = 0.1  # ours: the same of other languages, below which a text is no prose but a list of names or things
MIN_FOREIGN_KINDS = 3  # ours: different ones; "per" five times is a worked sum, "van" twice a list of cars
HEAD_WORDS = 60  # the first words of English prose hold enough function words for a text of 300
MAX_FOREIGN = 0.1  # ours: share of letters outside the Latin and Greek blocks (Greek letters stand in formulas)
FOREIGN = re.compile(r"[\u0400-\u1dff\u2c00-\u2e7f\u2e80-\ua71f\ua800-\uab2f\uab70-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufeff\uff66-\uffdc]")
WHITE_CONTROLS = "\x0b\x0c\x1c\x1d\x1e\x1f"  # white space to Python, so the folded text has none
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff]")
# UTF-8 that was read as Windows-1252: a lead byte as a letter, then a byte of 80..BF as the mark or the letter it has there.
MISREAD = re.compile("[ÃÂ][\u0080-\u00bf€‚ƒ„†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œ\u009d“”˜¦¢]|ðŸ")


def english(text: Text) -> str | None:
    """Not the prose of another language: under 5 % of function words of English and 10 % or more of others. Says nothing where the query names a language.

    Few function words of English alone are no sign: of 140 replies that such a rule dropped all but one were English lists.
    """
    wanted = MIN_STOP_SHARE * len(text.words)
    if len(text.words) < MIN_PLAIN_WORDS or sum(map(STOP_WORDS.__contains__, text.words[:HEAD_WORDS])) >= wanted:
        return None
    plain = [word for word in text.folded.translate(MARKS).split() if word.isalpha()]
    ours, foreign = sum(map(STOP_WORDS.__contains__, plain)), list(filter(FOREIGN_WORDS.__contains__, plain))
    if len(plain) < MIN_PLAIN_WORDS or ours >= MIN_STOP_SHARE * len(plain) or names_a_language(text):
        return None
    if len(foreign) < MIN_FOREIGN_SHARE * len(plain) or len(set(foreign)) < MIN_FOREIGN_KINDS:
        return None
    return f"{ours} function words of English and {len(foreign)} of other languages in {len(plain)}"


def script(text: Text) -> str | None:
    """At most 10 % of the letters are of a script other than Latin and Greek. Says nothing where the query names a language."""
    if text.text.isascii():
        return None
    foreign = len(FOREIGN.findall(text.text))
    if not foreign or foreign <= MAX_FOREIGN * sum(map(str.isalpha, text.text)) or names_a_language(text):
        return None
    return f"{foreign} letters of another script"


def control(text: Text) -> str | None:
    """No control characters but tab and line ends, no replacement character, nothing for private use."""
    if text.folded.isprintable() and "\ufffd" not in text.folded and not any(map(text.text.__contains__, WHITE_CONTROLS)):
        return None
    found = CONTROL.search(text.text)
    return f"character U+{ord(found[0]):04X}" if found else None


def misread(text: Text) -> str | None:
    """UTF-8 bytes that were read as Windows-1252."""
    found = MISREAD.search(text.text) if any(map(text.text.__contains__, "ÃÂâð")) else None
    return f'misread letters "{found[0]}"' if found else None


def names_a_language(text: Text) -> bool:
    """Whether the query speaks of a language, of translation or of symbols."""
    return text.asks(LANGUAGE_WORDS)


LANGUAGE: dict[str, Rule] = {"english": english, "script": script, "control": control, "misread": misread}
