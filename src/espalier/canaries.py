"""Texts that give items away on purpose, as they stand or in other words, so that it can be measured what decontamination sees and what it misses.

The paraphraser is ours, deterministic and rough: its texts keep what is asked and read like a hasty rewrite. A model may rewrite more
freely, so what is measured here for `heavy` is no promise for its texts.

verbatim: the text as it stands.
light: synonyms, digits and number words exchanged, contractions, marks and case changed, a leading clause moved to the end.
heavy: all of that, small words too, the question first, the other sentences in reverse order inside another frame, and other names.
"""

import re
from collections.abc import Mapping, Sequence

KINDS = ("verbatim", "light", "heavy")
SYNONYMS = dict(
    pair.split(":")
    for pair in (
        "buys:purchases buy:purchase bought:purchased makes:produces make:produce made:produced gets:receives get:receive got:received gives:hands "
        "give:hand gave:handed needs:requires need:require wants:wishes has:owns had:owned each:every total:overall money:cash costs:sells_for "
        "cost:price spends:pays spend:pay spent:paid sells:offers sold:offered dollars:bucks children:kids friends:pals friend:pal house:home "
        "big:large small:little start:begin starts:begins started:began uses:employs use:employ used:employed many:numerous much:sizeable "
        "remaining:leftover left:still_there more:additional less:fewer also:too finds:discovers find:discover found:discovered works:labours "
        "work:labour worked:laboured job:post weighs:has_a_weight_of long:lengthy fast:quickly then:afterwards after:following before:prior_to "
        "if:in_case when:at_the_time_that about:roughly another:one_further several:a_few only:just both:the_two first:initial last:final "
        "next:following_one during:throughout year:twelvemonth years:twelvemonths week:seven-day_stretch became:turned_into located:situated "
        "called:named known:recognised famous:renowned important:significant won:secured wins:secures lost:failed_to_keep city:town cities:towns "
        "country:nation people:persons built:constructed began:commenced ended:finished shows:displays show:display given:handed_out list:row "
        "take:pick here:below digit:figure word:term largest:biggest smallest:least sorted:in_order say:tell find:discover"
    ).split()
)
SMALL_WORDS = dict(
    pair.split(":")
    for pair in (
        "the:that a:some an:some his:their her:their and:as_well_as she:this_person he:this_person they:these_ones in:within of:out_of"
    ).split()
)
ONES = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()
SPELT = {str(i): word for i, word in enumerate(ONES)} | {word: str(i) for i, word in enumerate(ONES) if i > 1}  # "one" is often no number
LONG_FORMS = {
    "doesn't": "does not",
    "isn't": "is not",
    "don't": "do not",
    "didn't": "did not",
    "can't": "cannot",
    "he's": "he is",
    "she's": "she is",
    "it's": "it is",
}
NAMES = "Amina Bogdan Chiyo Dimitri Esperanza Farouk Giulia Haruki Ingrid Jamal Katarzyna Lorenzo Mireille Nikolai Oluwaseun Priya".split()
FRAMES = (
    ("Could you work this out for me: {ask}", "What is known is as follows. {facts}"),
    ("I would like an answer to the following. {ask}", "Bear in mind that {facts}"),
    ("{ask}", "To solve it, consider these statements: {facts}"),
    ("Here is something to think about. {ask}", "Suppose the situation is this: {facts}"),
)
NO_NAMES = set(
    (
        "The A An If In On At He She It They His Her Its Their How What When Where Who Which Why For From To After Before There This That "
        "Each Every Both One Two"
    ).split()
)


def paraphrase(text: str, kind: str, *, place: int) -> str:
    """`text` as a canary of a kind (KINDS); `place` picks frame and names, so that neighbours differ. The same input gives the same text.

    >>> paraphrase("If Ann buys 3 plums, how many plums has Ann got?", "light", place=0)
    'how numerous plums owns ann received in case ann purchases three plums ?'
    """
    if kind == "verbatim":
        return text
    if kind == "light":
        return _reworded(" ".join(_turned(sentence) for sentence in _sentences(text)), SYNONYMS)
    *facts, ask = _sentences(_renamed(text, place))
    first, second = FRAMES[place % len(FRAMES)]
    told = second.format(facts=_reworded(" ".join(_turned(fact) for fact in reversed(facts)), SYNONYMS | SMALL_WORDS)) if facts else ""
    return f"{first.format(ask=_reworded(_turned(ask), SYNONYMS | SMALL_WORDS))} {told}".strip()


def _reworded(text: str, others: Mapping[str, str]) -> str:
    """Synonyms, number words, contractions; lower case, and marks other than the last ones gone or apart."""
    pieces = []
    for piece in text.split():
        core = piece.strip(".,;:!?\"'()").lower()
        core = LONG_FORMS.get(core, core)
        pieces += others.get(core, SPELT.get(core, core)).replace("_", " ").split()
        pieces += ["?"] * piece.endswith("?") + [";"] * piece.endswith(".")
    return " ".join(pieces)


def _turned(sentence: str) -> str:
    """The leading clause of a sentence at its end: "If A, B." becomes "B if A."."""
    found = re.fullmatch(r"((?:If|When|After|In|At|On|For|Before|During)\b[^,]{3,80}), (.+?)([.?!]?)", sentence)
    return f"{found[2]} {found[1]}{found[3]}" if found else sentence


def _renamed(text: str, place: int) -> str:
    """Names (capitalised inside a sentence, with 's, or twice) replaced by others, each always by the same one."""
    inside = set(re.findall(r"(?<![.?!] )(?<!^)\b[A-Z][a-z]+\b", text)) | set(re.findall(r"\b[A-Z][a-z]+(?='s|’s)", text))
    capital = re.findall(r"\b[A-Z][a-z]+\b", text)
    told = [name for name in dict.fromkeys(capital) if name not in NO_NAMES and (name in inside or capital.count(name) > 1)]
    others = {name: NAMES[(place + i) % len(NAMES)] for i, name in enumerate(told)}
    return re.sub(r"\b[A-Z][a-z]+\b", lambda match: others.get(match[0], match[0]), text)


def _sentences(text: str) -> Sequence[str]:
    return [sentence for sentence in re.split(r"(?<=[.?!])\s+", text.strip()) if sentence] or [text]
