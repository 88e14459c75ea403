import json

import pytest

from espalier.errors import LeafError
from espalier.old_qna import changes_to_v3
from espalier.qna import SKILL_KEYS, Qna, SeedExample, load_mapping, parse_qna

GONE = object()
SKILL = {
    "version": 3,
    "created_by": "someone",
    "task_description": "largest digit",
    "seed_examples": [{"question": f"{i} or 9 ?", "answer": "9"} for i in range(5)],
}
GROUNDED = [{"context": f"c{i}", "question": f"q{i}", "answer": "a"} for i in range(5)]
PAIRS = [{"question": f"q{i}", "answer": f"a{i}"} for i in range(3)]
PASSAGES = [{"context": f"c{i}", "questions_and_answers": PAIRS} for i in range(5)]
DOCUMENT = {"repo": "none", "commit": "none", "patterns": ["*.md"]}
KNOWLEDGE = {
    "version": 3,
    "created_by": "someone",
    "domain": "eats facts",
    "document_outline": "meals",
    "document": DOCUMENT,
    "seed_examples": PASSAGES,
}
FILE = "a/qna.yaml"
OLD_KNOWLEDGE = {"created_by": "someone", "task_description": "meals", "seed_examples": SKILL["seed_examples"]}
FLAT = "give each seed example a context (a passage of the document) and questions_and_answers, a list of 3 or more pairs of question and answer"


def read(value, *, knowledge=False):
    """The leaf of a mapping, through YAML (JSON is YAML 1.2), without the keys that are GONE."""
    text = json.dumps({key: one for key, one in value.items() if one is not GONE})
    return parse_qna(load_mapping(text, file=FILE), file=FILE, knowledge=knowledge)


def refusal(value, *, knowledge=False):
    with pytest.raises(LeafError) as raised:
        read(value, knowledge=knowledge)
    return str(raised.value).removeprefix(f"{FILE}: "), raised.value.reason


def one_seed(first, *, of=SKILL):
    return {"seed_examples": [first, *of["seed_examples"]]}


def passage(**changes):
    return {"seed_examples": [PASSAGES[0] | changes, *PASSAGES[1:]]}


def test_a_freeform_a_grounded_skill_and_knowledge_are_read():
    assert read(SKILL).examples[1] == SeedExample("", "1 or 9 ?", "9")
    assert read(SKILL | {"seed_examples": GROUNDED}) == Qna("largest digit", tuple(SeedExample(f"c{i}", f"q{i}", "a") for i in range(5)))
    found = read(KNOWLEDGE, knowledge=True)
    assert (found.task, len(found.examples), found.examples[4]) == ("eats facts: meals", 15, SeedExample("c1", "q1", "a1"))


@pytest.mark.parametrize(
    ("changes", "neighbour", "expected", "reason"),
    [
        ({"version": "3"}, {"version": 3.0}, 'version is "3"; espalier reads version 3: write `version: 3`', "unknown version"),
        ({"version": True}, {}, "version is True; espalier reads version 3: write `version: 3`", "unknown version"),
        ({"created_by": None}, {"created_by": "x"}, "created_by is empty; it must be text: write it", "no text"),
        ({"created_by": GONE}, {}, "created_by is missing; add it", "missing key"),
        ({"task_description": " \n"}, {"task_description": "x"}, "task_description is blank; it must be text: write it", "no text"),
        ({"seed examples": []}, {}, 'seed examples is no key here; rename it or take it out; did you mean "seed_examples"?', "unknown key"),
        ({"domain": "x"}, {},
         "domain is no key here; rename it or take it out; known: created_by, seed_examples, task_description, version", "unknown key"),
        ({"seed_examples": SKILL["seed_examples"][:4]}, {}, "seed_examples holds 4; it must hold at least 5: add 1", "too few"),
        ({"seed_examples": None}, {}, "seed_examples is empty; it must be a list of 5 or more: write one", "wrong type"),
        (one_seed(SKILL["seed_examples"][3]), one_seed({"question": "3 or 9 ?", "answer": "nine"}),
         "seed example 5 is the same as 1; replace one", "repeated"),
        (one_seed("x"), {}, 'seed example 1 is "x"; it must be a mapping with answer, question', "wrong type"),
        (one_seed({"question": "q"}), one_seed({"question": "q", "answer": "a"}), "seed example 1, answer is missing; add it", "missing key"),
        (one_seed({"question": "q", "anwser": "a"}), {},
         'seed example 1, anwser is no key here; rename it or take it out; did you mean "answer"?', "unknown key"),
        (one_seed({"question": "q", "answer": 9}), one_seed({"question": "q", "answer": "9"}),
         "seed example 1, answer is 9; it must be text: put it in quotes", "no text"),
        ({"seed_examples": [GROUNDED[0] | {"context": ""}, *GROUNDED[1:]]}, {"seed_examples": GROUNDED},
         "seed example 1, context is blank; it must be text: write it", "no text"),
        ({"seed_examples": [*GROUNDED[:2], *SKILL["seed_examples"]]}, {"seed_examples": GROUNDED},
         "seed_examples have a context in 2 of 7; all have one (grounded) or none (freeform): split the leaf into two folders", "mixed contexts"),
    ],
)  # fmt: skip
def test_a_skill_is_refused_for_its_reason_and_its_neighbour_is_taken(changes, neighbour, expected, reason):
    assert refusal(SKILL | changes) == (expected, reason)
    assert len(read(SKILL | neighbour).examples) in (5, 6)


@pytest.mark.parametrize(
    ("changes", "neighbour", "expected", "reason"),
    [
        ({"document": GONE}, {}, "document is missing; add it", "missing key"),
        ({"document": "x"}, {}, 'document is "x"; it must be a mapping with commit, patterns, repo', "wrong type"),
        ({"document": {"repo": "r", "commit": "c"}}, {}, "document, patterns is missing; add it", "missing key"),
        ({"document": DOCUMENT | {"branch": "b"}}, {},
         "document, branch is no key here; rename it or take it out; known: commit, patterns, repo", "unknown key"),
        ({"document": DOCUMENT | {"commit": 12345}}, {"document": DOCUMENT | {"commit": "12345"}},
         "document commit is 12345; it must be text: put it in quotes", "no text"),
        ({"document": DOCUMENT | {"patterns": []}}, {}, "document patterns holds 0; it must hold at least 1: add 1", "too few"),
        ({"document": DOCUMENT | {"patterns": ["a", "a"]}}, {"document": DOCUMENT | {"patterns": ["a", "b"]}},
         "document pattern 2 is the same as 1; replace one", "repeated"),
        ({"task_description": "x"}, {},
         "task_description is no key here; rename it or take it out; known: created_by, document, document_outline, domain, seed_examples, version",
         "unknown key"),
        (passage(questions_and_answers=PAIRS[:2]), passage(questions_and_answers=[*PAIRS, {"question": "x", "answer": "y"}]),
         "seed example 1, questions_and_answers holds 2; it must hold at least 3: add 1", "too few"),
        (passage(questions_and_answers="x"), {},
         'seed example 1, questions_and_answers is "x"; it must be a list of 3 or more: write one', "wrong type"),
        (passage(questions_and_answers=[*PAIRS, PAIRS[0]]), passage(questions_and_answers=[*PAIRS, {"question": "q0", "answer": "other"}]),
         "seed example 1, pair 4 is the same as 1; replace one", "repeated"),
        (passage(questions_and_answers=[*PAIRS, {"question": "q"}]), passage(questions_and_answers=[PAIRS[0] | {"source": "s"}, *PAIRS[1:]]),
         "seed example 1, pair 4, answer is missing; add it", "missing key"),
        (passage(context=7), {}, "seed example 1, context is 7; it must be text: put it in quotes", "no text"),
        (passage(context="c1"), passage(context="c1", questions_and_answers=[*PAIRS[:2], {"question": "x", "answer": "y"}]),
         "seed example 2 is the same as 1; replace one", "repeated"),
        ({"seed_examples": SKILL["seed_examples"]}, {},
         "seed example 1, question is no key here; rename it or take it out; known: context, questions_and_answers", "unknown key"),
    ],
)  # fmt: skip
def test_knowledge_is_refused_for_its_reason_and_its_neighbour_is_taken(changes, neighbour, expected, reason):
    assert refusal(KNOWLEDGE | changes, knowledge=True) == (expected, reason)
    assert len(read(KNOWLEDGE | neighbour, knowledge=True).examples) in (15, 16)


@pytest.mark.parametrize(
    ("value", "knowledge", "expected"),
    [
        (SKILL | {"version": GONE}, False, "1 (absent); espalier reads version 3: write `version: 3`"),
        (SKILL | {"version": 2}, False, "2; espalier reads version 3: write `version: 3`"),
        (SKILL | {"version": 1, "seed_examples": [entry | {"attribution": []} for entry in SKILL["seed_examples"][:3]]}, False,
         "1; espalier reads version 3: write `version: 3`; take attribution out of the seed examples; have at least 5 seed examples, not 3"),
        (SKILL | {"version": 1, "task_description": ""}, False,
         "1; espalier reads version 3: write `version: 3`; then task_description is blank; it must be text: write it"),
        (OLD_KNOWLEDGE | {"version": 2, "domain": "eats", "document": DOCUMENT}, True,
         f"2; espalier reads version 3: write `version: 3`; rename task_description to document_outline and make it a summary of the document; {FLAT}"),
        (OLD_KNOWLEDGE, True, "1 (absent); espalier reads version 3: write `version: 3`; rename task_description to document_outline and make it a summary of "
         f"the document; add domain (the field in a few words), document with repo, commit and patterns; {FLAT}"),
        ({"author": "someone", "version": 1}, False, "1; espalier reads version 3: write `version: 3`; take out author; "
         "add created_by (the contributor's name), task_description (what the task is), seed_examples (5 or more)"),
        (SKILL | {"version": 1, "seed_examples": None}, False,
         "1; espalier reads version 3: write `version: 3`; make seed_examples a list of 5 or more, not empty"),
    ],
)  # fmt: skip
def test_an_older_version_is_told_what_to_change(value, knowledge, expected):
    assert refusal(value, knowledge=knowledge) == (f"version is {expected}", "old version")


def test_a_version_that_does_not_exist_is_told_apart_from_an_old_one():
    assert refusal(SKILL | {"version": 24}) == ("version is 24; espalier reads version 3: write `version: 3`", "unknown version")


@pytest.mark.parametrize(
    ("text", "expected", "reason"),
    [
        ("", "the top level is empty; ", "no mapping"),
        ("- a", "the top level is a list of 1; ", "no mapping"),
        ("word", 'the top level is "word"; ', "no mapping"),
        ("a: [1\n", "line 2, column 1, is not YAML (", "not YAML"),
        ("answer: so: it is\n", "line 1, column 11, is not YAML (mapping values are not allowed here); mend the line; ", "not YAML"),
        ("a: 1\na: 2\n", "line 2, column 1, repeats a key (", "repeated key"),
        ("a: 2024-13-45\n", "the text is not YAML (", "not YAML"),
        ("a: !!int\n", "the text is not YAML (", "not YAML"),
        ("a: !!bool x\n", "the text is not YAML (", "not YAML"),
        ("a: \0\n", "the text is not YAML (", "not YAML"),
        ("[" * 1500, "the text is not YAML (", "not YAML"),
        ("a: 1\n---\nb: 2\n", "line 2, column 1, is not YAML (", "not YAML"),
        ("a: !!python/object:os.system 1\n", "line 1, column 4, is not YAML (could not determine a constructor", "not YAML"),
    ],
)  # fmt: skip
def test_a_text_that_is_no_mapping_is_refused_with_its_place_in_one_line(text, expected, reason):
    with pytest.raises(LeafError) as raised:
        load_mapping(text, file=FILE)
    assert str(raised.value).startswith(f"{FILE}: {expected}")
    assert raised.value.reason == reason
    assert str(raised.value).isprintable()


def test_a_message_shows_little_of_what_it_found():
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))
    with pytest.raises(LeafError) as raised:
        parse_qna(load_mapping(bomb + "version: *a59\n", file=FILE), file=FILE, knowledge=False)
    assert str(raised.value).startswith(f"{FILE}: version is a list of 2; espalier reads version 3: write `version: 3`; take out a0, a1, a2, a3, a4; ")
    assert len(str(raised.value)) < 300
    with pytest.raises(LeafError, match="version is a huge number; "):
        parse_qna(load_mapping("version: 0x" + "F" * 6000, file=FILE), file=FILE, knowledge=False)
    with pytest.raises(LeafError, match=r"qna.yaml: \?\[31m is no key here; "):
        parse_qna(load_mapping(json.dumps(SKILL | {"\x1b[31m\n": 1}), file=FILE), file=FILE, knowledge=False)


def test_text_keeps_its_paragraphs_and_loses_only_its_ends():
    code = "\n  \n    for x in y:\n        print(x)\n\n    a  |  b\n  \n"
    found = read(SKILL | one_seed({"question": "  what ?\n", "answer": code})).examples[0]
    assert found == SeedExample("", "what ?", "    for x in y:\n        print(x)\n\n    a  |  b")


def test_what_version_3_wants_of_a_right_file_is_nothing():
    assert changes_to_v3(SKILL, SKILL_KEYS) == []
