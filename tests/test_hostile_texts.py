"""No text makes the world fall: what poses no problem is unparseable, what is damaged is read as it stands."""

import numpy as np
import pytest

from espalier.world.grammar import LEAF_OF, Verdict, parse, verify
from espalier.world.lexicon import CLASS_OF
from tests.test_world import problems

HOSTILE = {
    "nothing": "",
    "blanks": " \n\t ",
    "one word": "list",
    "full stops": ". . .",
    "question mark": "?",
    "only an ask": "what is the largest digit ?",
    "only a list": "list : 4 9 2 .",
    "no full stop after the list": "list : 4 9 2 what is the largest digit ?",
    "question mark after the list": "list : 4 9 2 ? what is the largest digit ?",
    "no question mark": "list : 4 9 2 . what is the largest digit",
    "words after the ask": "list : 4 9 2 . what is the largest digit ? please",
    "an ask twice": "list : 4 9 2 . what is the largest digit ? what is the largest digit ?",
    "two lists": "list : 4 9 2 . list : 1 2 3 . what is the largest digit ?",
    "two items": "list : 4 9 . what is the largest digit ?",
    "no items": "list : . what is the largest digit ?",
    "digits and words": "list : 4 cat 2 . what is the largest digit ?",
    "a word of no class": "list : cat red dragon . last word ?",
    "a number of two digits in one": "list : 4 92 2 . what is the largest digit ?",
    "an ask about another material": "list : 4 9 2 . what is the last word ?",
    "an ask that mixes two wordings": "list : 4 9 2 . give the largest digit ?",
    "capitals": "List : 4 9 2 . What is the largest digit ?",
    "glued marks": "list: 4 9 2. what is the largest digit?",
    "arabic digits": "list : ٤ ٩ ٢ . what is the largest digit ?",
    "superscript digits": "number : ² ³ . next number ?",
    "full-width digits": "number : ４ ７ . next number ?",
    "an emoji": "list : 🍎 🍐 🍇 . last word ?",
    "a zero byte": "list : 4 9 2 \0 . what is the largest digit ?",
    "half a surrogate": "list : 4 9 \ud800 . what is the largest digit ?",
    "a template slot": "list : 4 9 2 . digit after {0} ?",
    "a leading zero": "number : 0 7 . next number ?",
    "a number of one digit": "number : 7 . next number ?",
    "after a digit that is not there": "list : 4 9 2 . digit after 7 ?",
    "after the last digit": "list : 4 9 2 . digit after 2 ?",
    "before the first digit": "list : 4 9 2 . digit before 4 ?",
    "after a digit that stands twice": "list : 4 9 4 2 . digit after 4 ?",
    "nothing left without the largest": "list : 4 4 4 . drop the largest digit .",
    "a kind of a word that is not there": "list : cat red plum . kind of dog ?",
    "a kind that is not there": "list : cat red plum . first tool word ?",
    "one fact": "tavi eats plum . who eats plum ?",
    "a name that is not in the document": "tavi eats plum . kavi eats rice . meal of dolan ?",
    "a claim about a name that is not there": "tavi eats plum . kavi eats rice . if dolan eats rice ?",
    "a value that is not in the document": "tavi eats plum . kavi eats rice . who eats corn ?",
    "a value of two people": "tavi eats plum . doro eats plum . who eats plum ?",
    "two facts about one person": "tavi eats plum . tavi eats rice . who eats plum ?",
    "a value of another kind": "tavi eats cow . kavi eats rice . who eats rice ?",
    "a fact that is not so": "tavi eats rice . kavi eats rice . meal of tavi ?",
    "two relations": "tavi eats plum . balan keeps cow . who eats plum ?",
    "two relations and one kind of value": "tavi eats plum . kavi keeps rice . who eats plum ?",
    "an ask with another verb": "tavi eats plum . kavi eats rice . who keeps plum ?",
    "an ask for another role": "tavi eats plum . kavi eats rice . pet of tavi ?",
    "a noun in the place of a name": "cow eats plum . kavi eats rice . who eats rice ?",
    "less than nothing left": "talan has 2 plum . talan loses 3 plum . plum of talan more or fewer ?",
    "more than nine left": "talan has 8 plum . talan gets 3 plum . plum of talan more or fewer ?",
    "another person in the story": "talan has 4 plum . dolan gets 3 plum . plum of talan more or fewer ?",
    "another thing in the story": "talan has 4 plum . talan gets 3 rice . plum of talan more or fewer ?",
    "an ask about another person": "talan has 4 plum . talan gets 3 plum . plum of dolan more or fewer ?",
    "an ask about another thing": "talan has 4 plum . talan gets 3 plum . rice of talan more or fewer ?",
    "a story without changes": "talan has 4 plum . plum of talan more or fewer ?",
    "a story that does not begin with has": "talan gets 4 plum . talan gets 3 plum . plum of talan more or fewer ?",
    "has in the middle of a story": "talan has 4 plum . talan has 3 plum . plum of talan more or fewer ?",
    "facts that go on as a story": "tavi eats plum . tavi gets 3 plum . who eats plum ?",
    "ten thousand words": "plum " * 10_000,
    "ten thousand sentences": "tavi eats plum . " * 10_000,
    "a letter that stands for a class of digits": "list : 4 9 2 . what is the digit after d ?",
    "a letter that stands for a class of words": "list : cat red plum . what is the kind of w ?",
    "a letter that stands for a class of names": "tavi eats plum . kavi eats rice . what is the meal of n ?",
    "a letter that stands for a class of kinds": "list : cat red plum . what is the number of k words ?",
    "one letter for a class beside a word": "tavi eats plum . kavi eats rice . if tavi eats w ?",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_text_that_poses_no_problem_is_unparseable_and_never_an_error(text):
    assert verify(text, "9") == verify(text, "") == Verdict("unparseable")


@pytest.mark.parametrize("digits", [100, 5000])
@pytest.mark.parametrize("ask", ["next number ?", "previous number ?", "even or odd ?", "number rounded down to tens ?"])
def test_a_number_of_any_length_can_be_asked_about(digits, ask):
    text = f"number : {'1 ' * digits}. {ask}"
    assert verify(text, "x").verdict in ("wrong", "unparseable")


def test_a_long_list_can_be_asked_about():
    assert verify(f"list : {'4 9 2 ' * 3000}. largest digit ?", "9").verdict == "right"


def test_a_text_that_was_damaged_is_read_as_it_stands_or_not_at_all():
    random = np.random.default_rng(3)
    words = [*sorted(CLASS_OF), ".", "?", ":", "list", "what", "gets", "eats", "of", "number", "take"]
    read = 0
    for leaf in LEAF_OF:
        for problem in problems(leaf, seed=3, each=2):
            text = problem.text.split()
            at = int(random.integers(len(text)))
            cut, swapped = text[:at] + text[at + 1 :], [*text[:at], words[random.integers(len(words))], *text[at + 1 :]]
            doubled, mixed = [*text[:at], text[at], *text[at:]], [text[i] for i in random.permutation(len(text))]
            for damaged in (cut, swapped, doubled, mixed):
                found = parse(" ".join(damaged))
                if found is not None:
                    read += 1
                    assert found.text.split() == damaged
                    assert verify(" ".join(damaged), found.answer).verdict == "right"
    assert read > 200  # a digit less in a list is another problem
