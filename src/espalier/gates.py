"""Cheap gates inside the generation loop: what no later step should be built on. Everything statistical is left to `score`.

Each gate gives the reason why a text stops, or None. A prompt file names those that act on its replies.
Source: elimination rules 2 to 4 of WizardLM (arXiv 2304.12244, section 3.2); bans of openings as in Cosmopedia (Hugging Face blog, 2024, "Cosmopedia").
"""

from collections.abc import Callable, Sequence

from espalier.phrases import LEAKS, REFUSAL, SHORT_WORDS, STOP_WORDS
from espalier.text import match_words

Gate = Callable[[str, Sequence[str]], str | None]


def refused(text: str, banned: Sequence[str] = ()) -> str | None:
    """The teacher declines instead of writing. Only at the start: a task may well be about saying sorry.

    >>> refused("I’m sorry, I can't help with that."), refused("How does one say sorry in a letter to a clerk?")
    ('refused', None)
    """
    folded = " ".join(text.replace("’", "'").casefold().split())
    return "refused" if len(folded.split()) < SHORT_WORDS and REFUSAL.match(folded) else None


def leaks(text: str, banned: Sequence[str] = ()) -> str | None:
    """Words of the prompt come back as text."""
    folded = text.casefold()
    return next((f"leaks the prompt: {words}" for words in LEAKS if words in folded), None)


def says_nothing(text: str, banned: Sequence[str] = ()) -> str | None:
    """Only marks and stop words.

    >>> says_nothing("of the , and !"), says_nothing("of the sea")
    ('says nothing', None)
    """
    said = [word for word in match_words(text) if word.isalnum() and word not in STOP_WORDS]
    return None if said else "says nothing"


def opens_badly(text: str, banned: Sequence[str] = ()) -> str | None:
    """The text begins with one of the banned openings, whatever its case, quotes and marks of emphasis before it."""
    start = text.lstrip(" \t\r\n\"'“”‘’*#_").replace("’", "'").casefold()
    return next((f"opens with: {opening}" for opening in banned if start.startswith(opening.casefold())), None)


GATES: dict[str, Gate] = {"refusal": refused, "leak": leaks, "says_nothing": says_nothing, "banned_opening": opens_badly}
