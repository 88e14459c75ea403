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
_DIGITS = {digits: word for word, digits in _WORDS.items()}
_CAPITAL = "".join(chr(code) for code in range(0x3000) if chr(code).isupper())
_LETTER = r"[^\W\d_]"
_COUNTED = "|".join(word for word in _WORDS if word != "one")
_NAME = rf"[{_CAPITAL}]{_LETTER}*(?:[-'’.&](?={_LETTER}){_LETTER}+)*['’]?"
_CLAIM = re.compile(rf"(?=[\d{_CAPITAL}tfsen])(?:\d(?:[\d,]*\d)?(?:\.\d+)?|(?<!\w)(?:{_NAME}|(?:{_COUNTED})(?!\w)))")  # the set of first letters is for speed
_LIST_MARK = re.compile(r"^[ \t]*(?:\d{1,3}[.)]|[-*•])[ \t]+", re.MULTILINE)
_OPENERS, _CLOSERS, _STOPS = " \t\"'“‘([*_#", "\"'”’)]", ".!?:;…\n"
_POSSESSIVE = re.compile(r"(?<=\w)['’](?:s(?!\w)|(?!\w))", re.IGNORECASE)
_INNER_MARK = re.compile(rf"(?<={_LETTER})[-'’.&](?={_LETTER})")  # "York-based" grounds York
_THOUSANDS = re.compile(r"(?<=\d),(?=\d)")
_ZEROS = re.compile(r"(?<=\d)(?:\.0+|(\.\d*[1-9])0+)(?!\d)")
_DIGIT_RUN = re.compile(r"\d+(?:\.\d+)?")  # apart from letters: 1990s is 1990
_MARK = re.compile(r"[^\w\s.]|\.(?!\d)")
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
    for claim in _claims(answer):
        if not (_stands(claim, context) or _stands(claim, query) or _stands_folded(claim, context, query)):
            is_number = claim[0].isdigit() or claim.casefold() in _WORDS
            return f"the {'number' if is_number else 'name'} {claim} stands neither in the context nor in the query"
    return None


def _claims(answer: str) -> list[str]:
    """The numbers and names that need a ground, in order; a name of several words is one text."""
    text = answer if answer[:1].isalpha() and "\n" not in answer else _LIST_MARK.sub("", answer)
    fragment = len(text.split(None, MOST_FRAGMENT_WORDS + 1)) <= MOST_FRAGMENT_WORDS and not text.rstrip().endswith((".", "!", "?"))
    found: list[str] = []
    run_end = -1
    for token in _CLAIM.finditer(text):
        word, start, folded = token.group(), token.start(), token.group().casefold()
        if word[0].isdigit() or folded in _WORDS:
            if folded != "one":
                found.append(word)
            run_end = -1
        elif folded not in _NO_NAMES and (fragment or not _begins(text, start)):
            if start == run_end + 1 and text[run_end] == " ":
                found[-1] += f" {word}"
            else:
                found.append(word)
            run_end = -1 if ("'" in word or "’" in word) and _POSSESSIVE.search(word) else token.end()
        else:
            run_end = -1
    return found


def _begins(text: str, start: int) -> bool:
    """Whether a word begins the text, a sentence, a line or a quotation."""
    if start > 1 and text[start - 1] == " " and text[start - 2].isalnum():
        return False
    gap = text[max(0, start - 12) : start]
    bare = gap.rstrip(_OPENERS)
    return (not bare and start <= 12) or any(mark in gap[len(bare) :] for mark in '"“‘') or bare.rstrip(_CLOSERS).endswith(tuple(_STOPS))


def _stands(claim: str, text: str) -> bool:
    """Whether a claim stands in a text letter for letter, between marks or blanks; the quick way for most."""
    start = text.find(claim)
    while start >= 0:
        end = start + len(claim)
        if not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum()) and not (
            claim[0].isdigit() and (text[start - 1 : start] in (",", ".") or text[end : end + 2].strip(",.").isdigit())
        ):
            return True
        start = text.find(claim, start + 1)
    return False


def _stands_folded(claim: str, context: str, query: str) -> bool:
    words, text = _ground(context, query)
    folded = _folded(claim)
    if claim[0].isdigit() or folded in _WORDS:
        return folded in words or (_WORDS.get(folded) or _DIGITS.get(folded)) in words
    return any(f" {folded}{ending} " in text for ending in ENDINGS)


@lru_cache(maxsize=1_024)
def _ground(context: str, query: str) -> tuple[frozenset[str], str]:
    """The folded words of context and query, as a set and as one text; answers to one query come one after the other, so they are kept."""
    text = f" {_folded(context)} | {_folded(query)} "
    return frozenset(text.split()), text


def _folded(text: str) -> str:
    """A text as it is compared: no case, possessives and thousands separators; marks (but those within words) stay, so that no name reaches over them.

    >>> _folded("Manning's 1,200.50, in the 1990s"), _folded("York-based. U.S.")
    ('manning 1200.5 | in the 1990 s', 'york based | u s |')
    """
    plain = _INNER_MARK.sub(" ", _POSSESSIVE.sub("", text.casefold()))
    plain = _DIGIT_RUN.sub(r" \g<0> ", _ZEROS.sub(r"\1", _THOUSANDS.sub("", plain)))
    return " ".join(_MARK.sub(" | ", plain).split())
