"""The words of the built-in world, by class. Every word is one token and every digit is one token.

A word belongs to one class only, so a text can be read back by the classes of its words. The made-up names come from
syllables, so that what is true of them stands in the world's own fact table (materials.py) and nowhere else.
"""

ANIMALS = tuple("ant bear cat cow dog fox hen lion owl pig".split())
COLOURS = tuple("black blue brown gold green grey pink red silver white".split())
FOODS = tuple("apple bean bread cake cheese corn fig plum rice soup".split())
TOOLS = tuple("axe broom drill fork hammer knife ladder pen rope saw".split())
PLACES = tuple("arda belmo corvik dunmar elsby farno golwen harrow ildra lomar".split())
JOBS = tuple("actor baker cook doctor driver farmer judge nurse pilot tailor".split())
NAMES = tuple(first + second for first in ("ba", "do", "fe", "ka", "lu", "mi", "no", "ta") for second in ("lan", "mek", "ro", "vi", "zu"))
DIGITS = tuple("0123456789")
NUMBER_WORDS = tuple("zero one two three four five six seven eight nine".split())
KINDS = {"animal": ANIMALS, "colour": COLOURS, "food": FOODS, "tool": TOOLS, "place": PLACES, "job": JOBS}
NOUNS = tuple(noun for nouns in KINDS.values() for noun in nouns)

KIND_OF = {noun: kind for kind, nouns in KINDS.items() for noun in nouns}
# The class letters stand in sentence shapes ("list : d"), see grammar.py; no word of a template is a class letter.
CLASS_OF = (
    dict.fromkeys(DIGITS, "d") | dict.fromkeys(NOUNS, "w") | dict.fromkeys(NAMES, "n") | dict.fromkeys(KINDS, "k")
)
