"""Faults of replies: empty, refused, leaked, echoed, cut off, begun with a banned opening. The word lists are those of the gates (`espalier.phrases`)."""

from espalier.gates import opens_badly, says_nothing
from espalier.phrases import DIALOGUE_WORDS, LEAKS, OPEN_ENDS, REFUSAL, ROLE_WORDS, SHORT_WORDS, TEMPLATE_MARKS, TURNS
from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule
from espalier.text import match_words

ECHO_WORDS = 5  # ours: fewer words may be said back rightly ("Repeat: yes")
OPEN_MARKS = (",", "(", "[", "{", " -", " –", " —", "&")
LINE_WORDS = 5  # ours: a last line of fewer is a greeting ("Yours sincerely,") or a line of a program or a table


def empty(text: Text) -> str | None:
    """No text, or marks and function words alone where something longer than an option was said."""
    if not text.words:
        return "empty"
    return says_nothing(text.text) if 3 < len(text.words) < SHORT_WORDS and not any(map(str.isdigit, text.text)) and not text.is_code else None


def refusal(text: Text) -> str | None:
    """The writer declines, at the start of a short text. Says nothing where the query asks to play a machine or to say sorry.

    Source of the 80 words: arXiv 2304.12244, section 3.2.
    """
    return "refused" if len(text.words) < SHORT_WORDS and REFUSAL.match(text.folded) and not text.asks(ROLE_WORDS) else None


def leak(text: Text) -> str | None:
    """Words of a generation prompt or marks of a chat template stand in the text."""
    words = next((words for words in LEAKS if words in text.folded), None)
    if words or text.is_document:
        return f"leaks the prompt: {words}" if words else None
    mark = next((mark for mark in TEMPLATE_MARKS if mark in text.folded), None)
    if mark is None and any(turn in text.folded for turn in TURNS) and not text.asks(DIALOGUE_WORDS):
        mark = next((turn for line in text.lines[1:] for turn in TURNS if line.lower().startswith(turn)), None)
    return f"holds a template's {mark}" if mark else None


def echo(text: Text) -> str | None:
    """The reply is the query said back, or starts with the whole of it and a question mark."""
    if not text.query or len(text.query) > len(text.text) + 40:
        return None
    asked = " ".join(text.query.split()).replace("’", "'").lower()
    if len(asked.split()) < ECHO_WORDS or asked[:8] != text.folded[:8]:
        return None
    if match_words(asked) == match_words(text.folded):
        return "says the query back"
    return "starts with the whole query" if asked.endswith("?") and text.folded.startswith(asked) else None


def opening(text: Text) -> str | None:
    """The text begins with one of the banned openings that were handed in."""
    return opens_badly(text.text, text.openings) if text.openings else None


def truncated(text: Text) -> str | None:
    """Cut off by the token limit; or a last line of 5 words and more that ends with a word or mark that asks for more. Says nothing of code."""
    if text.finish == "length":
        return "cut off by the token limit"
    if text.is_code or len(text.words) < ECHO_WORDS or len(text.lines[-1].split()) < LINE_WORDS:
        return None
    last, word = text.text.rstrip(), text.words[-1]
    if last.endswith(OPEN_MARKS):
        return f'ends with "{last[-1]}"'
    return f'ends with "{word}"' if word in OPEN_ENDS else None


REPLY: dict[str, Rule] = {"empty": empty, "refusal": refusal, "leak": leak, "echo": echo, "opening": opening, "truncated": truncated}
