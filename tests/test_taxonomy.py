import json
from collections import Counter

import pytest

from espalier.errors import ParamsError
from espalier.taxonomy import BRANCHES, SeedExample, parse_tree, tabulate
from espalier.world.demonstrations import seed_tree
from espalier.world.grammar import LEAF_OF, verify
from espalier.world.tree import tree_files
from tests.closure import ROOT

TREE = ROOT / "data/seeds/taxonomy/builtin"
SHIPPED = {str(file.relative_to(TREE)): file.read_text() for file in sorted(TREE.rglob("*.yaml"))}
GONE = object()
LEAF = {"task": "largest digit", "topic": "read digits", "rank": 1, "verifier": ""}
SKILL = {
    "version": 3,
    "created_by": "someone",
    "task_description": "largest digit",
    "seed_examples": [{"question": f"{i} or 9 ?", "answer": "9"} for i in range(5)],
}
PAIRS = [{"question": f"q{i}", "answer": f"a{i}"} for i in range(3)]
KNOWLEDGE = {
    "version": 3,
    "created_by": "someone",
    "domain": "eats facts",
    "document_outline": "meals",
    "document": {"repo": "none", "commit": "none", "patterns": ["*.md"]},
    "seed_examples": [{"context": f"c{i}", "questions_and_answers": PAIRS} for i in range(5)],
}


def leaf(folder, qna, **own):
    """The two files of a leaf, with keys taken out that are GONE (JSON is YAML 1.2)."""
    files = {"qna.yaml": qna, "leaf.yaml": LEAF | {"task": folder} | own}
    return {f"{folder}/{name}": json.dumps({key: value for key, value in content.items() if value is not GONE}) for name, content in files.items()}


def skill(folder="foundational_skills/digits/largest", *, own=None, **changes):
    return leaf(folder, SKILL | changes, **(own or {}))


def knowledge(folder="knowledge/eats/what", **changes):
    return leaf(folder, KNOWLEDGE | changes)


def message(files):
    with pytest.raises(ParamsError) as raised:
        parse_tree(files)
    return str(raised.value)


def test_the_shipped_tree_has_54_leaves_in_three_branches_of_18():
    tree = parse_tree(SHIPPED)
    assert Counter(leaf.branch for leaf in tree) == dict.fromkeys(BRANCHES, 18)
    assert [leaf.leaf for leaf in tree] == sorted(LEAF_OF)
    assert sorted(leaf.rank for leaf in tree) == list(range(1, 55))


def test_every_shipped_example_is_a_right_one_of_its_leaf():
    tree = parse_tree(SHIPPED)
    verdicts = {verify(f"{example.context} {example.question}", example.answer).verdict for leaf in tree for example in leaf.examples}
    leaves = [(leaf.verifier, verify(f"{example.context} {example.question}", example.answer).leaf) for leaf in tree for example in leaf.examples]
    assert verdicts == {"right"}
    assert [wanted for wanted, found in leaves if wanted != found] == []


def test_the_shipped_files_are_those_that_the_world_writes():
    assert tree_files(seed_tree(seed=0)) == SHIPPED, "run `espalier seeds`"


def test_the_files_of_a_tree_parse_to_the_same_tree():
    tree = seed_tree(seed=7)
    assert parse_tree(tree_files(tree)) == tree
    assert tree != seed_tree(seed=0)


def test_a_skill_with_a_context_is_a_grounded_example():
    entries = [{"context": f"a long\n  text {i}", "question": "what is it ?", "answer": "a text"} for i in range(5)]
    (found,) = parse_tree(skill(seed_examples=entries))
    assert found.examples[1] == SeedExample("a long text 1", "what is it ?", "a text")
    assert (found.leaf, found.branch, found.rank, found.topic) == ("foundational_skills/digits/largest", "foundational_skills", 1, "read digits")


def test_a_knowledge_leaf_has_an_example_for_every_question_of_every_context():
    (found,) = parse_tree(knowledge())
    assert len(found.examples) == 15
    assert found.examples[4] == SeedExample("c1", "q1", "a1")


def test_leaves_may_lie_at_any_depth_and_come_back_sorted():
    files = skill("foundational_skills/b") | skill("foundational_skills/a/deep/er", own={"rank": 2})
    assert [leaf.leaf for leaf in parse_tree(files)] == ["foundational_skills/a/deep/er", "foundational_skills/b"]


def test_other_files_of_a_tree_are_passed():
    assert len(parse_tree(skill() | {"foundational_skills/README.md": "hello", "foundational_skills/digits/attribution.txt": "x"})) == 1


@pytest.mark.parametrize("name", ["qna.yaml", "leaf.yaml"])
def test_a_leaf_that_lacks_one_of_its_files_is_refused(name):
    files = skill()
    path = f"foundational_skills/digits/largest/{name}"
    del files[path]
    assert message(files) == f"{path}: missing; a leaf is a folder with qna.yaml and leaf.yaml"


def test_a_tree_without_leaves_is_refused():
    assert message({}) == message({"README.md": "x"}) == "taxonomy.tree holds no qna.yaml; name a folder with leaves"


@pytest.mark.parametrize(("branch", "hint"), [
    ("foundational", 'did you mean "foundational_skills"?'),
    ("zzz", "known: compositional_skills, foundational_skills, knowledge"),
])  # fmt: skip
def test_a_branch_that_is_none_is_refused(branch, hint):
    assert message(skill(f"{branch}/digits/largest")) == f'{branch}/digits/largest: the branch is "{branch}"; {hint}'


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": 2}, ": version is 2; espalier reads version 3 of InstructLab's schema"),
        ({"version": GONE}, ": the key version is missing"),
        ({"task_description": GONE}, ": the key task_description is missing"),
        ({"seed_example": []}, ': seed_example is no key here; did you mean "seed_examples"?'),
        ({"domain": "x"}, ": domain is no key here; known: created_by, seed_examples, task_description, version"),
        ({"seed_examples": SKILL["seed_examples"][:4]}, ": seed_examples holds 4; it must hold at least 5"),
        ({"seed_examples": "none"}, ": seed_examples holds none; it must hold at least 5"),
        ({"seed_examples": [*SKILL["seed_examples"], SKILL["seed_examples"][0]]}, ": two seed examples are the same; replace one"),
        ({"seed_examples": [*SKILL["seed_examples"], "x"]}, ": seed example 6: found x; it must be a mapping with answer, question"),
        ({"seed_examples": [{"question": "q"}, *SKILL["seed_examples"]]}, ": seed example 1: the key answer is missing"),
        ({"seed_examples": [{"question": "q", "anwser": "a"}, *SKILL["seed_examples"]]},
         ': seed example 1: anwser is no key here; did you mean "answer"?'),
        ({"seed_examples": [{"question": "q", "answer": 9}, *SKILL["seed_examples"]]},
         ": seed example 1: found 9; it must be text (put it in quotes)"),
        ({"seed_examples": [{"question": "q", "answer": "a", "context": None}, *SKILL["seed_examples"]]},
         ": seed example 1: found None; it must be text (put it in quotes)"),
    ],
)  # fmt: skip
def test_a_malformed_skill_is_refused(changes, expected):
    assert message(skill(**changes)) == f"foundational_skills/digits/largest/qna.yaml{expected}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"document": GONE}, ": the key document is missing"),
        ({"task_description": "x"}, ": task_description is no key here; known: created_by, document, document_outline, domain, seed_examples, version"),
        ({"seed_examples": [{"context": "c", "questions_and_answers": PAIRS[:2]}] * 5},
         ": seed example 1: questions_and_answers must hold at least 3 pairs"),
        ({"seed_examples": [{"context": "c", "questions_and_answers": "x"}] * 5},
         ": seed example 1: questions_and_answers must hold at least 3 pairs"),
        ({"seed_examples": SKILL["seed_examples"]}, ": seed example 1: question is no key here; known: context, questions_and_answers"),
        ({"seed_examples": [{"questions_and_answers": PAIRS}] * 5}, ": seed example 1: the key context is missing"),
        ({"seed_examples": [{"context": "c", "questions_and_answers": [*PAIRS, {"question": "q"}]}] * 5}, ": seed example 1: the key answer is missing"),
        ({"seed_examples": [{"context": "c", "questions_and_answers": [*PAIRS, {"question": "q", "answer": True}]}] * 5},
         ": seed example 1: found True; it must be text (put it in quotes)"),
        ({"seed_examples": [{"context": 7, "questions_and_answers": PAIRS}] * 5}, ": seed example 1: found 7; it must be text (put it in quotes)"),
        ({"seed_examples": [{"context": "c", "questions_and_answers": PAIRS}] * 5}, ": two seed examples are the same; replace one"),
    ],
)  # fmt: skip
def test_a_malformed_knowledge_leaf_is_refused(changes, expected):
    assert message(knowledge(**changes)) == f"knowledge/eats/what/qna.yaml{expected}"


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"rank": GONE}, "the key rank is missing"),
        ({"ranks": 1}, 'ranks is no key here; did you mean "rank"?'),
        ({"rank": 0}, "rank is 0; it must be a whole number from 1, the most common task"),
        ({"rank": 1.5}, "rank is 1.5; it must be a whole number from 1, the most common task"),
        ({"rank": True}, "rank is True; it must be a whole number from 1, the most common task"),
        ({"task": 5}, "task is 5; it must be words (verifier may be '')"),
        ({"verifier": None}, "verifier is None; it must be words (verifier may be '')"),
    ],
)
def test_a_malformed_leaf_file_is_refused(own, expected):
    assert message(skill(own=own)) == f"foundational_skills/digits/largest/leaf.yaml: {expected}"


@pytest.mark.parametrize("name", ["qna.yaml", "leaf.yaml"])
@pytest.mark.parametrize("text", ["", "- a", "word"])
def test_a_file_that_is_no_mapping_is_refused(name, text):
    path = f"foundational_skills/digits/largest/{name}"
    assert message(skill() | {path: text}) == f"{path}: found no mapping; see an existing leaf for the keys"


def test_a_file_that_is_no_yaml_is_named_with_its_line():
    path = "foundational_skills/digits/largest/leaf.yaml"
    assert message(skill() | {path: "task: a\nrank: [1\n"}).startswith(f"{path}, line 3, column 1: not YAML (")


def test_two_leaves_with_one_task_or_one_rank_are_refused():
    one, two = "foundational_skills/a", "foundational_skills/b"
    assert message(skill(one) | skill(two)) == f'{two}/leaf.yaml: rank "1" is taken by {one}; every leaf has its own'
    assert message(skill(one, own={"task": "t"}) | skill(two, own={"task": "t", "rank": 2})) == (
        f'{two}/leaf.yaml: task "t" is taken by {one}; every leaf has its own'
    )


def test_the_tables_hold_every_leaf_and_every_example_in_order():
    leaves, seeds = tabulate(parse_tree(knowledge() | skill(own={"rank": 2})))
    assert leaves.rows() == [
        ("foundational_skills/digits/largest", "foundational_skills", "read digits", "foundational_skills/digits/largest", 2, ""),
        ("knowledge/eats/what", "knowledge", "read digits", "knowledge/eats/what", 1, ""),
    ]
    assert leaves.columns == ["leaf", "branch", "topic", "task", "rank", "verifier"]
    assert seeds.columns == ["leaf", "place", "context", "query", "answer"]
    assert seeds.row(1) == ("foundational_skills/digits/largest", 1, "", "1 or 9 ?", "9")
    assert seeds.filter(leaf="knowledge/eats/what").row(14) == ("knowledge/eats/what", 14, "c4", "q2", "a2")
