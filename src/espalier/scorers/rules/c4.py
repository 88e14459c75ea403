"""C4's rules, for documents alone: they were made to take menus, warnings and code out of web pages, and a reply may well be code or one line.

Source: Raffel et al. 2020 (JMLR 21:140, arXiv 1910.10683), section 2.2. Its rules on lines do not drop lines here; they decide which lines count as text, and a
page is judged by what is left. Not here: the list of bad words (it drops medicine and law too), the classifier of languages, three-sentence deduplication.

datatrove 0.10 takes 5 sentences and 3 words a line (the first version of the paper; the printed one has 3 and 5), splits sentences with a trained model where
this counts ends of sentences, and reads the lines for curly brackets only after it dropped those without an end mark.
"""

import re

from espalier.scorers.rules.reading import Text
from espalier.scorers.rules.rule import Rule

END_MARKS = (".", "?", "!", '"', "”")  # section 2.2: a period, exclamation mark, question mark, or end quotation mark
MIN_SENTENCES = 3  # section 2.2
MIN_LINE_WORDS = 5  # section 2.2
MAX_WORD_LENGTH = 1000  # not in the paper; in its code (tensorflow/datasets, text/c4_utils.py)
POLICY = ("terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies")  # section 2.2, as spelt in its code
SENTENCE_END = re.compile(r"[.!?]+[\"'”’)]*(?=\s|$)")


def lorem_ipsum(text: Text) -> str | None:
    """Text of a printer's dummy."""
    return "lorem ipsum" if text.is_document and "lorem ipsum" in text.folded else None


def curly_bracket(text: Text) -> str | None:
    """A curly bracket, which in prose hardly stands: the page is code."""
    return "a curly bracket" if text.is_document and "{" in text.text else None


def sentences(text: Text) -> str | None:
    """At least 3 sentences in lines that end with an end mark, have 5 words and speak of neither Javascript nor cookies and terms."""
    if not text.is_document:
        return None
    count = 0
    for line in text.lines:
        if is_text(line.strip()):
            count += len(SENTENCE_END.findall(line)) or 1
            if count >= MIN_SENTENCES:
                return None
    return f"{count} sentences of prose"


def is_text(line: str) -> bool:
    """Whether C4 would retain the line.

    >>> is_text("Please enable Javascript to see this page."), is_text("The kettle has boiled dry again.")
    (False, True)
    """
    found, low = line.split(), line.lower()
    if not line.endswith(END_MARKS) or line.endswith("...") or len(found) < MIN_LINE_WORDS:
        return False
    return max(map(len, found)) <= MAX_WORD_LENGTH and "javascript" not in low and not any(words in low for words in POLICY)


C4: dict[str, Rule] = {"lorem_ipsum": lorem_ipsum, "curly_bracket": curly_bracket, "sentences": sentences}
