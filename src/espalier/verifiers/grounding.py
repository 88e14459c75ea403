"""Is every number and every proper name of an answer in its context or its query? Regular expressions alone, tens of microseconds.

A number is a run of digits (thousands separators go, 3.50 is 3.5, "1990s" is 1990, a percent sign is left aside) or a word from two to twenty; "one" is
mostly a pronoun and needs no ground, but grounds a 1. A name is a run of capitalised words that does not begin a sentence; a run of several must stand in the
context word for word, as "Carolina Broncos" is no team although both words occur. Possessives and case do not count.

What it cannot see: a wrong sentence made of grounded names and numbers, a name at the beginning of a sentence, and a sum that was worked out rightly (which it
refuses). A fragment (no full stop, at most six words) has no beginning: all its capitalised words count.
"""

import re
from functools import lru_cache

from espalier.verifiers.answers import NUMBER_WORDS

MOST_FRAGMENT_WORDS = 6
ENDINGS = ("", "s", "n", "an", "ese")  # "Muslims" grounds "Muslim", "Saudi Arabian" grounds "Saudi Arabia"
_WORDS = {word: str(number) for word, number in NUMBER_WORDS.items()}
_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|[^\W\d_]+(?:[-'’.&](?=[^\W\d_])[^\W\d_]+)*")
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.)]|[-*•])[ \t]+", re.MULTILINE)
_START = re.compile(r"(?:^|[.!?:;…][\"'”’)\]]*\s|\n)[\s\"'“‘(\[*_#]*$")
_POSSESSIVE = re.compile(r"['’]s$|['’]$", re.IGNORECASE)
_NO_NAMES = frozenset(
    "i i'm i'll i've i'd i’m i’ll i’ve i’d the a an in on at of by for from to with and or but if as it its this that these those there he she "
    "they we you his her their our your my no not yes is are was were be because since when while where what which who how why after before "
    "during both each all some many most however therefore thus so then also according mr mrs ms dr ok".split()
)


def ungrounded(answer: str, context: str, query: str) -> str | None:
    """None when every number and name of the answer stands in the context or the query, else the reason with the first that does not.

    >>> ungrounded("They won 24 to ten, as Peyton Manning's team did.", "The score was 24-10. Peyton Manning threw.", "Who won?")
    >>> ungrounded("It cost 1,200 dollars.", "It cost 1300 dollars.", "")
    'the number 1,200 stands neither in the context nor in the query'
    """
    words, text = _grounds(context, query)
    for name in _claims(answer):
        folded = [_folded(word) for word in name]
        if len(name) == 1 and (folded[0][0].isdigit() or name[0].casefold() in _WORDS):
            if folded[0] not in words:
                return f"the number {name[0]} stands neither in the context nor in the query"
        elif not any(f" {' '.join(folded)}{ending} " in text for ending in ENDINGS):
            return f"the name {' '.join(name)} stands neither in the context nor in the query"
    return None


@lru_cache(maxsize=1_024)
def _grounds(context: str, query: str) -> tuple[frozenset[str], str]:
    """The folded words of context and query, as a set and as one text; answers to one query come one after the other, so they are kept."""
    folded = [[_folded(word) for word in _TOKEN.findall(text)] for text in (context, query)]
    parts = [_WORDS.get(part, part) for words in folded for word in words if not word[0].isdigit() for part in re.split(r"[-’'&.]", word)]
    pieces = [" ".join(words) for words in (*folded, parts)]
    return frozenset(word for words in (*folded, parts) for word in words), f" {' | '.join(pieces)} "


def _claims(answer: str) -> list[list[str]]:
    """The numbers (one word each) and the names (one or more) that need a ground, in order."""
    text = _LIST_MARK.sub("", answer)
    tokens = list(_TOKEN.finditer(text))
    fragment = len(tokens) <= MOST_FRAGMENT_WORDS and not text.rstrip().endswith((".", "!", "?"))
    found: list[list[str]] = []
    run_end = -1
    for i, token in enumerate(tokens):
        word = token.group()
        if word[0].isdigit() or (word.casefold() in _WORDS and word.casefold() != "one"):
            found.append([word])
        elif word[0].isupper() and word.casefold() not in _NO_NAMES and (fragment or not _begins(text, token.start(), tokens[i - 1].end() if i else 0)):
            joined = run_end >= 0 and text[run_end : token.start()] == " "
            found[-1].append(word) if joined else found.append([word])
            run_end = -1 if _POSSESSIVE.search(word) else token.end()
            continue
        run_end = -1
    return found


def _begins(text: str, start: int, before: int) -> bool:
    """Whether a word at `start`, the one before ending at `before`, begins a sentence, a line or a quotation."""
    return before == 0 or bool(_START.search(text, before, start)) or any(mark in text[before:start] for mark in '"“‘')


def _folded(word: str) -> str:
    """A word as it is compared: digits for numbers, no possessive, no case.

    >>> _folded("1,200.50"), _folded("Twelve"), _folded("Manning's")
    ('1200.5', '12', 'manning')
    """
    if word[0].isdigit():
        plain = word.replace(",", "")
        return plain.rstrip("0").rstrip(".") if "." in plain else plain
    bare = _POSSESSIVE.sub("", word).casefold()
    return _WORDS.get(bare, bare)
