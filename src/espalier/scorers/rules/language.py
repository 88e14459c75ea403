"""English by its function words, scripts by their Unicode blocks, broken characters by their code; no model.

A query that names a language or asks for symbols may rightly be answered in them, so the first two rules leave its reply alone.
"""

import re

from espalier.phrases import LANGUAGE_WORDS, STOP_WORDS
from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

MIN_PLAIN_WORDS = 20  # ours: with fewer a list of names or a formula has no function word either
MIN_STOP_SHARE = 0.05  # ours: of plain lower-case words; English prose has 0.3 to 0.5, German, French and Spanish 0 to 0.04
MAX_FOREIGN = 0.1  # ours: share of letters outside the Latin and Greek blocks (Greek letters stand in formulas)
MARKS = str.maketrans("", "", ".,;:!?\"'()[]’“”")
FOREIGN = re.compile(r"[\u0400-\u1dff\u2c00-\u2e7f\u2e80-\ua71f\ua800-\uab2f\uab70-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufeff\uff66-\uffdc]")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufffd\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff]")
# UTF-8 that was read as Windows-1252: a lead byte as a letter, then a byte of 80..BF as the mark or the letter it has there.
MISREAD = re.compile("[ÃÂ][\u0080-\u00bf€‚ƒ„†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€[\u0080-\u00bf™œ\u009d“”˜¦¢]|ðŸ")


def english(text: Text) -> str | None:
    """At least 5 % of 20 or more plain words are function words of English. Says nothing of code, or where the query names a language."""
    if text.is_code or len(text.words) < MIN_PLAIN_WORDS or sum(map(STOP_WORDS.__contains__, text.words)) >= MIN_STOP_SHARE * len(text.words):
        return None
    plain = [word for word in text.folded.translate(MARKS).split() if word.isalpha()]
    if len(plain) < MIN_PLAIN_WORDS:
        return None
    found = sum(word in STOP_WORDS for word in plain)
    return None if found >= MIN_STOP_SHARE * len(plain) or names_a_language(text) else f"{found} function words in {len(plain)}"


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
    found = CONTROL.search(text.text) if not text.text.isascii() or not text.text.isprintable() else None
    return f"character U+{ord(found[0]):04X}" if found else None


def misread(text: Text) -> str | None:
    """UTF-8 bytes that were read as Windows-1252."""
    found = None if text.text.isascii() else MISREAD.search(text.text)
    return f'misread letters "{found[0]}"' if found else None


def names_a_language(text: Text) -> bool:
    """Whether the query speaks of a language, of translation or of symbols."""
    return not LANGUAGE_WORDS.isdisjoint(text.query.lower().translate(MARKS).split())


LANGUAGE: dict[str, Rule] = {"english": english, "script": script, "control": control, "misread": misread}
