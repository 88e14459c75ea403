"""The built-in world: what it writes it reads back, its answers are right, and no text makes it fall."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from espalier.world.demonstrations import vocabulary
from espalier.world.grammar import HELD_OUT_WORDING, LEAF_OF, Verdict, deepen, gains, make, parse, siblings, verify, widen
from espalier.world.leaves import STYLES
from espalier.world.lexicon import KINDS, NOUNS
from espalier.world.materials import FACTS, HELD_OUT_LEVEL, LEVELS, OPENINGS, RELATIONS

ALL_LEVELS = (*LEVELS, HELD_OUT_LEVEL)
WORDINGS = range(HELD_OUT_WORDING + 1)
VERBS = "eats|keeps|likes|uses|visits|asks"
NUMBERS = "zero one two three four five six seven eight nine".split()


def problems(leaf, *, seed=0, each=3):
    """Problems of a leaf at all levels and in all wordings, the held-out ones too."""
    random = np.random.default_rng([seed, sorted(LEAF_OF).index(leaf)])
    return [make(LEAF_OF[leaf], level, random, wording=wording) for level in ALL_LEVELS for wording in WORDINGS for _ in range(each)]


# The tasks solved once more, from the text alone and with none of the grammar's code: (list or number, ask) -> answer.
def word_after(ask, mark):
    return ask[ask.index(mark) + 1]


def word_before(ask, mark):
    return ask[ask.index(mark) - 1]


def kind_of(word):
    return next(kind for kind, nouns in KINDS.items() if word in nouns)


def spaced(value):
    return " ".join(str(value))


LISTS = {
    "foundational_skills/digits/second": lambda s, ask: s[1],
    "foundational_skills/digits/third": lambda s, ask: s[2],
    "foundational_skills/digits/tail": lambda s, ask: f"{s[len(s) - 2]} {s[len(s) - 1]}",
    "foundational_skills/digits/largest": lambda s, ask: str(sorted(map(int, s)).pop()),
    "foundational_skills/digits/smallest": lambda s, ask: str(sorted(map(int, s))[0]),
    "foundational_skills/digits/after": lambda s, ask: f"{word_after(ask, 'after')} then {word_after(s, word_after(ask, 'after'))}",
    "foundational_skills/digits/before": lambda s, ask: word_before(s, word_after(ask, "before")),
    "foundational_skills/digits/sort": lambda s, ask: " ".join(digit for value in "0123456789" for digit in s if digit == value),
    "foundational_skills/digits/count": lambda s, ask: str(sum(1 for _ in s)),
    "foundational_skills/number/next": lambda s, ask: spaced(int("".join(s)) + 1),
    "foundational_skills/number/previous": lambda s, ask: spaced(int("".join(s)) - 1),
    "foundational_skills/number/even": lambda s, ask: f"{' '.join(s)} is {('even', 'odd')[int(''.join(s)) & 1]}",
    "foundational_skills/number/round": lambda s, ask: spaced(int("".join(s)) // 10 * 10),
    "foundational_skills/number/spell": lambda s, ask: " ".join(NUMBERS[int(digit)] for digit in s),
    "foundational_skills/words/last": lambda s, ask: s[len(s) - 1],
    "foundational_skills/words/second": lambda s, ask: s[1],
    "foundational_skills/words/kind": lambda s, ask: f"{word_after(ask, 'of')} is {kind_of(word_after(ask, 'of'))}",
    "foundational_skills/words/find": lambda s, ask: next(word for word in s if kind_of(word) == word_after(ask, "first")),
    "compositional_skills/digits/ends": lambda s, ask: f"{s[0]} {s[len(s) - 1]}",
    "compositional_skills/digits/range": lambda s, ask: "{1} {0}".format(*sorted(s)[:: len(s) - 1]),
    "compositional_skills/digits/swap": lambda s, ask: " ".join([s[len(s) - 1], *s[1 : len(s) - 1], s[0]]),
    "compositional_skills/digits/reverse": lambda s, ask: " ".join(reversed(s)),
    "compositional_skills/digits/rest": lambda s, ask: " ".join(digit for place, digit in enumerate(s) if place),
    "compositional_skills/digits/lower": lambda s, ask: " ".join(digit for digit in s if any(other > digit for other in s)),
    "compositional_skills/digits/descend": lambda s, ask: " ".join(digit for value in "9876543210" for digit in s if digit == value),
    "compositional_skills/digits/raise": lambda s, ask: " ".join("1234567890"[int(digit)] for digit in s),
    "compositional_skills/digits/double": lambda s, ask: spaced(sum([sorted(map(int, s)).pop()] * 2)),
    "compositional_skills/words/label": lambda s, ask: f"{s[len(s) - 1]} {kind_of(s[len(s) - 1])}",
    "compositional_skills/words/twice": lambda s, ask: f"{s[0]} {s[0]}",
    "compositional_skills/words/category": lambda s, ask: kind_of(s[0]),
    "compositional_skills/words/append": lambda s, ask: f"{s[len(s) - 1]} {word_after(ask, 'then')}",
    "compositional_skills/words/ends": lambda s, ask: f"{s[0]} {s[len(s) - 1]}",
    "compositional_skills/words/many": lambda s, ask: str(len([word for word in s if kind_of(word) == word_after(ask, "of")])),
}  # fmt: skip


def solved(leaf, text):
    """The answer to a text of a leaf, worked out here."""
    if leaf.startswith("knowledge/"):
        return solved_facts(leaf, text)
    if leaf.startswith("compositional_skills/story/"):
        return solved_story(leaf, text)
    said, ask = re.fullmatch(r"(?:list :|here are|take number|take|number :|here is) (.*?) \. (.*)", text).groups()
    return LISTS[leaf](said.split(), ask.split())


def solved_facts(leaf, text):
    *facts, ask = re.split(r" \. ", text)
    known = {fact.split()[0]: fact.split()[2] for fact in facts}
    verb, task = leaf.split("/")[1:]
    if task == "what":
        return known[word_after(ask.split(), "of")]
    if task == "who":
        return {value: name for name, value in known.items()}[word_after(ask.split(), verb)]
    name, value = re.search(rf"(\w+) (?:{VERBS}) (\w+)", ask).groups()
    return "yes" if known[name] == value else f"no {known[name]}"


def solved_story(leaf, text):
    (first, _), *rest = re.findall(r"has (\d) (\w+)|(?:gets|loses) (?:\d)", text)
    steps = re.findall(r"(gets|loses) (\d)", text)
    assert len(rest) == len(steps)
    if leaf.endswith("change"):
        return " and ".join(f"{verb} {n}" for verb, n in steps)
    if leaf.endswith("gains"):
        return str([verb for verb, _ in steps].count("gets"))
    balance = int(first)
    for verb, n in steps:
        balance += int(n) if verb == "gets" else -int(n)
    return {True: "more", False: "same"}[balance > int(first)] if balance >= int(first) else "fewer"


def test_there_are_54_leaves_18_a_branch_and_each_has_a_task_of_its_own():
    assert Counter(leaf.branch for leaf in LEAF_OF.values()) == {"knowledge": 18, "foundational_skills": 18, "compositional_skills": 18}
    assert len({leaf.task for leaf in LEAF_OF.values()}) == len({leaf.asks for leaf in LEAF_OF.values()}) == 54


def test_every_value_of_a_relation_is_true_of_four_people():
    for relation, known in FACTS.items():
        assert Counter(known.values()) == dict.fromkeys(KINDS[RELATIONS[relation]], 4)


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_every_problem_is_read_back_as_it_was_made(leaf):
    for problem in problems(leaf):
        assert parse(problem.text) == problem
        assert parse(f"  {problem.context}\n\n{problem.query}\t") == problem
        assert parse(problem.text).text == problem.text


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_the_answer_is_the_one_worked_out_from_the_text_alone(leaf):
    for problem in problems(leaf, seed=1, each=6):
        assert (problem.text, problem.answer) == (problem.text, solved(leaf, problem.text))


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_the_right_answer_verifies_and_an_altered_one_does_not(leaf):
    for problem in problems(leaf, seed=2, each=1):
        words = problem.answer.split()
        right = Verdict("right", leaf, problem.key, problem.level)
        assert verify(problem.text, problem.answer) == verify(problem.text, f" {'   '.join(words)}\n") == right
        altered = [words[:-1], [*words, words[-1]], [*words[:-1], "plum" if words[-1] != "plum" else "rice"], ["so", *words], []]
        altered += [words[::-1]] if words[::-1] != words else []
        for wrong in altered:
            assert verify(problem.text, " ".join(wrong)) == replace(right, verdict="wrong"), wrong


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("list : 4 9 2 . what is the largest digit ?", "9"),
        ("here are 0 7 7 3 . smallest digit ?", "0"),
        ("take 4 9 2 . give the digit after 9 .", "9 then 2"),
        ("list : 3 1 2 1 . digits sorted ?", "1 1 2 3"),
        ("list : 9 9 9 . number of digits ?", "3"),
        ("number : 9 9 . next number ?", "1 0 0"),
        ("here is 2 9 9 . give the next number .", "3 0 0"),
        ("take number 1 0 0 0 . previous number ?", "9 9 9"),
        ("number : 1 0 . even or odd ?", "1 0 is even"),
        ("number : 7 8 3 . number rounded down to tens ?", "7 8 0"),
        ("number : 4 0 . number in words ?", "four zero"),
        ("list : cat red plum . first food word ?", "plum"),
        ("list : cat red plum . what is the kind of red ?", "red is colour"),
        ("list : 4 9 2 . drop the largest digit .", "4 2"),
        ("list : 9 4 9 . drop the largest digit .", "4"),
        ("list : 8 9 0 . add one to each digit .", "9 0 1"),
        ("list : 1 7 2 . double of the largest digit ?", "1 4"),
        ("list : 1 7 2 . last two digits ?", "7 2"),
        ("list : cat red plum . give the last word and its kind .", "plum food"),
        ("list : cat red plum . what is the kind of the first word ?", "animal"),
        ("list : cat dog plum . number of animal words ?", "2"),
        ("list : cat dog plum . number of tool words ?", "0"),
        ("tavi eats plum . kavi eats rice . what is the meal of kavi ?", "rice"),
        ("tavi eats plum . kavi eats rice . who eats plum ?", "tavi"),
        ("tavi eats plum . kavi eats rice . say if tavi eats rice .", "no plum"),
        ("tavi eats plum . kavi eats rice . do you know if kavi eats rice ?", "yes"),
        ("talan has 4 plum . talan gets 3 plum . talan loses 2 plum . plum of talan more or fewer ?", "more"),
        ("talan has 4 plum . talan gets 1 plum . talan loses 2 plum . plum of talan more or fewer ?", "fewer"),
        ("talan has 4 plum . talan gets 2 plum . talan loses 2 plum . plum of talan more or fewer ?", "same"),
        ("talan has 4 plum . talan gets 3 plum . talan loses 2 plum . what is the number of gains for talan ?", "1"),
        ("talan has 4 plum . talan gets 3 plum . talan loses 2 plum . changes for talan ?", "gets 3 and loses 2"),
    ],
)
def test_texts_written_by_hand_have_the_answers_worked_out_by_hand(text, answer):
    assert verify(text, answer).verdict == "right"


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_a_key_is_blind_to_wording_and_opening_and_sees_all_else(leaf):
    for problem in problems(leaf, seed=4, each=1):
        others = [replace(problem, wording=wording, opening=opening) for wording in WORDINGS for opening in (OPENINGS if problem.opening else [""])]
        assert {other.key for other in others} == {parse(other.text).key for other in others} == {problem.key}
        assert len({other.text for other in others}) == len(others)
        assert deepen(problem, np.random.default_rng(0)).key != problem.key
        assert widen(problem, np.random.default_rng(0)).key != problem.key


def test_the_order_of_items_is_part_of_a_key():
    assert parse("list : 4 9 2 . largest digit ?").key != parse("list : 9 4 2 . largest digit ?").key
    assert parse("take 4 9 2 . largest digit ?").key == parse("here are 4 9 2 . give the largest digit .").key


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_deepen_goes_one_level_up_and_keeps_everything_else(leaf):
    random = np.random.default_rng(5)
    for problem in problems(leaf, seed=5, each=1):
        child = deepen(problem, random)
        assert child.material.items[:-1] == problem.material.items
        assert (child.level, child.argument) == (problem.level + 1, problem.argument)
        assert (child.leaf, child.opening, child.wording) == (problem.leaf, problem.opening, problem.wording)
        assert verify(child.text, solved(leaf, child.text)).verdict == "right"


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_widen_asks_a_sibling_about_the_same_material(leaf):
    random = np.random.default_rng(6)
    for problem in problems(leaf, seed=6, each=1):
        child = widen(problem, random)
        assert (child.material, child.opening, child.context) == (problem.material, problem.opening, problem.context)
        assert child.leaf != problem.leaf
        assert child.wording < HELD_OUT_WORDING
        assert verify(child.text, solved(child.leaf.name, child.text)).verdict == "right"


def test_widen_reaches_every_sibling_about_evenly():
    random = np.random.default_rng(7)
    problem = parse("talan has 4 plum . talan gets 3 plum . plum of talan more or fewer ?")
    counts = Counter(widen(problem, random).leaf.name for _ in range(400))
    assert {leaf.name for leaf in siblings(problem.leaf)} == set(counts)
    assert set(counts) == {"compositional_skills/story/gains", "compositional_skills/story/change"}
    assert min(counts.values()) > 200 - 4 * 10  # four standard deviations of 400 even draws


@pytest.mark.parametrize(
    ("parent", "child", "expected"),
    [
        ("list : 4 9 2 . largest digit ?", "list : 4 9 2 . smallest digit ?", True),
        ("list : 4 9 2 . largest digit ?", "list : 4 9 2 7 . largest digit ?", True),
        ("list : 4 9 2 . largest digit ?", "list : 4 9 2 . largest digit ?", False),
        ("list : 4 9 2 . largest digit ?", "take 4 9 2 . give the largest digit .", False),  # other words, the same problem
        ("list : 4 9 2 . largest digit ?", "list : 4 9 2 .", False),
        ("list : 4 9 2 . largest digit ?", "", False),
        ("nonsense", "list : 4 9 2 . largest digit ?", True),
        ("nonsense", "more nonsense", False),
    ],
)
def test_an_evolution_gains_when_it_poses_another_problem(parent, child, expected):
    assert gains(parent, child) is expected


def test_ten_thousand_problems_hardly_repeat():
    random = np.random.default_rng(8)
    leaves = list(LEAF_OF.values())
    keys = {make(leaves[i % 54], LEVELS[i // 54 % 3], random).key for i in range(10_000)}
    assert len(keys) > 9_500


@pytest.mark.parametrize("leaf", LEAF_OF)
def test_a_problem_is_made_in_taught_wordings_and_openings_alone_unless_it_is_asked_otherwise(leaf):
    random = np.random.default_rng(9)
    made = [make(LEAF_OF[leaf], 2, random) for _ in range(60)]
    assert {problem.wording for problem in made} == {0, 1, 2}  # the chance to miss one is 3 x (2/3)^60 < 1e-9
    assert {problem.style for problem in made} == set(STYLES)
    assert {problem.level for problem in made} == {2}
    assert {problem.opening for problem in made} in ({""}, set(OPENINGS))


def test_the_held_out_wordings_are_new_sentences_of_known_words():
    taught = {word for leaf in LEAF_OF for problem in problems(leaf, each=1) if problem.wording != HELD_OUT_WORDING for word in problem.query.split()}
    for leaf in LEAF_OF.values():
        assert set(leaf.asks[HELD_OUT_WORDING].split()) - {"{0}", "{1}"} <= taught
        assert leaf.asks[HELD_OUT_WORDING] not in leaf.asks[:HELD_OUT_WORDING]


def test_the_vocabulary_holds_every_word_of_problems_and_answers():
    known = vocabulary()
    assert known == sorted(set(known))
    assert set(NOUNS) <= set(known)
    used = {word for leaf in LEAF_OF for problem in problems(leaf, seed=10, each=4) for word in f"{problem.text} {problem.answer}".split()}
    assert used - set(known) == set()
    assert not {"d", "w", "n", "k"} & set(known)  # the letters that stand for classes in the shapes of asks
