"""The multiset of numbers of a text: what a rephrased word problem mostly keeps, whatever became of its words.

It survives names, order and wording, where 13-grams find none (LOG.md, canaries), and says little where few numbers stand in a text, so such texts have no key.
"""

import re

LEAST_NUMBERS = 4  # share of GSM8K's training problems with the numbers of one of its 1,319 test items: 6.2 % with 3, 1.4 % with 4, 0.2 % with 5 (LOG.md)
SPELT = {
    word: str(value)
    for words, values in (
        ("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen", range(2, 20)),
        ("twenty thirty forty fifty sixty seventy eighty ninety", range(20, 100, 10)),
    )
    for word, value in zip(words.split(), values, strict=True)
}  # not "one", which is a pronoun as often, nor "twenty-one"
DIGITS, WORD = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?", re.ASCII), re.compile("[a-z]+")


def number_key(text: str) -> str:
    """The numbers of a text, sorted, as one key; "" when there are fewer than LEAST_NUMBERS. 1,000 is 1000, 2.50 is 2.5, three is 3.

    >>> number_key("3 boxes of 1,000 nails at $2.50, twelve each"), number_key("twelve at 2.5 ; 1000 nails ; three"), number_key("2 and 2 and 4")
    ('1000 12 2.5 3', '1000 12 2.5 3', '')
    """
    found = [_plain(piece) for piece in DIGITS.findall(text)] + [SPELT[word] for word in WORD.findall(text.lower()) if word in SPELT]
    return " ".join(sorted(found)) if len(found) >= LEAST_NUMBERS else ""


def _plain(piece: str) -> str:
    """Digits without separators, leading zeros and zeros behind the point; by text alone, for a number may be millions of digits long."""
    whole, _, part = piece.replace(",", "").partition(".")
    whole, part = whole.lstrip("0") or "0", part.rstrip("0")
    return f"{whole}.{part}" if part else whole
