import json
from collections import Counter

import pytest

from espalier.errors import ParamsError
from espalier.stats import weights_by_rank
from espalier.taxonomy import BRANCHES, SeedExample, check_tree, parse_tree, tabulate
from espalier.world.demonstrations import seed_tree
from espalier.world.grammar import LEAF_OF, verify
from espalier.world.tree import tree_files
from tests.closure import ROOT

TREE = ROOT / "data/seeds/taxonomy/builtin"
SHIPPED = {str(file.relative_to(TREE)): file.read_text() for file in sorted(TREE.rglob("*.yaml"))}
GONE = object()
ALONE = "; it alone is refused, see `espalier taxonomy tree`"
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


def bare(files):
    """The files without leaf.yaml, as outside trees have them."""
    return {path: text for path, text in files.items() if path.endswith("qna.yaml")}


def parse(files):
    return parse_tree(files, folder="tree")


def message(files):
    with pytest.raises(ParamsError) as raised:
        parse(files)
    return str(raised.value)


def test_the_shipped_tree_has_54_leaves_in_three_branches_of_18():
    tree = parse(SHIPPED)
    assert Counter(leaf.branch for leaf in tree) == dict.fromkeys(BRANCHES, 18)
    assert [leaf.leaf for leaf in tree] == sorted(LEAF_OF)
    assert sorted(leaf.rank for leaf in tree) == list(range(1, 55))


def test_every_shipped_example_is_a_right_one_of_its_leaf():
    tree = parse(SHIPPED)
    verdicts = {verify(f"{example.context} {example.question}", example.answer).verdict for leaf in tree for example in leaf.examples}
    leaves = [(leaf.verifier, verify(f"{example.context} {example.question}", example.answer).leaf) for leaf in tree for example in leaf.examples]
    assert verdicts == {"right"}
    assert [wanted for wanted, found in leaves if wanted != found] == []


def test_the_shipped_files_are_those_that_the_world_writes():
    assert tree_files(seed_tree(seed=0)) == SHIPPED, "run `espalier seeds`"


def test_the_files_of_a_tree_parse_to_the_same_tree():
    tree = seed_tree(seed=7)
    assert parse(tree_files(tree)) == tree
    assert tree != seed_tree(seed=0)


def test_a_skill_with_a_context_is_a_grounded_example():
    entries = [{"context": f"a long\n  text {i}", "question": "what is it ?", "answer": "a text"} for i in range(5)]
    (found,) = parse(skill(seed_examples=entries))
    assert found.examples[1] == SeedExample("a long\n  text 1", "what is it ?", "a text")
    assert (found.leaf, found.branch, found.rank, found.topic) == ("foundational_skills/digits/largest", "foundational_skills", 1, "read digits")


def test_a_knowledge_leaf_has_an_example_for_every_question_of_every_context():
    (found,) = parse(knowledge())
    assert len(found.examples) == 15
    assert found.examples[4] == SeedExample("c1", "q1", "a1")


def test_leaves_may_lie_at_any_depth_and_come_back_sorted():
    files = skill("foundational_skills/b") | skill("foundational_skills/a/deep/er", own={"rank": 2})
    assert [leaf.leaf for leaf in parse(files)] == ["foundational_skills/a/deep/er", "foundational_skills/b"]


def test_other_files_of_a_tree_are_passed():
    assert len(parse(skill() | {"foundational_skills/README.md": "hello", "foundational_skills/digits/attribution.txt": "x"})) == 1


def test_leaf_yaml_alone_is_no_leaf_and_qna_yaml_alone_is_one():
    files = skill()
    path = "foundational_skills/digits/largest"
    assert message({f"{path}/leaf.yaml": files[f"{path}/leaf.yaml"]}).startswith(f"tree/{path}/qna.yaml: the file is missing; ")
    (found,) = parse({f"{path}/qna.yaml": files[f"{path}/qna.yaml"]})
    assert (found.task, found.topic, found.rank, found.verifier) == ("largest digit", "digits", 1, "")


def test_a_knowledge_leaf_without_leaf_yaml_takes_its_task_from_domain_and_outline():
    (found,) = parse(bare(knowledge("knowledge/eats/what_people-like")))
    assert (found.task, found.topic, found.branch) == ("eats facts: meals", "eats", "knowledge")


@pytest.mark.parametrize(("folder", "topic"), [
    ("knowledge/arts/pop_music/fan-dom", "arts, pop music"), ("knowledge/arts", "arts"), ("knowledge", "knowledge"),
])  # fmt: skip
def test_the_topic_is_the_path_of_the_folder_around_the_leaf_in_words(folder, topic):
    assert parse(bare(knowledge(folder)))[0].topic == topic


def test_leaves_without_a_rank_all_count_alike():
    tree = parse(bare(skill("foundational_skills/b")) | bare(knowledge()) | bare(skill("foundational_skills/a")))
    assert [leaf.rank for leaf in tree] == [1, 1, 1]
    assert weights_by_rank([leaf.rank for leaf in tree], 1.0).tolist() == [1 / 3] * 3


def test_leaves_without_a_rank_share_the_one_after_the_last_that_is_given():
    files = skill("foundational_skills/a", own={"rank": 4}) | skill("foundational_skills/b", own={"rank": GONE}) | bare(skill("foundational_skills/c"))
    assert [(leaf.leaf[-1], leaf.rank) for leaf in parse(files)] == [("a", 4), ("b", 5), ("c", 5)]


def test_a_task_that_two_outside_leaves_share_gets_their_paths():
    one, two, own = "foundational_skills/a", "foundational_skills/b", "foundational_skills/c"
    files = bare(skill(one)) | bare(skill(two, task_description="largest\n digit \n")) | skill(own, own={"task": "largest digit"})
    assert [leaf.task for leaf in parse(files)] == [f"largest digit ({one})", f"largest\n digit ({two})", "largest digit"]
    assert [leaf.task for leaf in parse(bare(skill(one)) | bare(skill(two, task_description="least digit")))] == ["largest digit", "least digit"]


def test_the_shipped_tree_without_its_leaf_files_keeps_leaves_and_examples():
    tree = parse({path: text for path, text in SHIPPED.items() if path.endswith("qna.yaml")})
    assert [(leaf.leaf, leaf.examples) for leaf in tree] == [(leaf.leaf, leaf.examples) for leaf in parse(SHIPPED)]
    assert {leaf.rank for leaf in tree} == {1}
    assert len({leaf.task for leaf in tree}) == 54


def test_the_shipped_texts_are_those_that_folding_all_blanks_would_give():
    texts = [text for leaf in parse(SHIPPED) for example in leaf.examples for text in (example.context, example.question, example.answer)]
    assert len(texts) == 3 * (36 * 5 + 18 * 15)
    assert [text for text in texts if text != " ".join(text.split())] == []


def test_a_tree_without_leaves_is_refused():
    assert message({}) == message({"README.md": "x"}) == "tree: holds no qna.yaml; taxonomy.tree in params.yaml names a folder with leaves"


@pytest.mark.parametrize("name", ["qna.yml", "QNA.yaml", "my_qna.yaml", "other.yaml"])
def test_yaml_of_another_name_in_a_branch_is_refused(name):
    path = f"foundational_skills/digits/least/{name}"
    assert message(skill() | {path: json.dumps(SKILL)}).startswith(f'tree/{path}: the file\'s name is "{name}"; it must be qna.yaml')


def test_a_second_file_beside_a_qna_yaml_is_refused_and_the_leaf_stays():
    path = "foundational_skills/digits/largest"
    checked = check_tree(skill() | {f"{path}/qna.yml": json.dumps(SKILL), f"{path}/a.yaml": "["})
    assert [leaf.leaf for leaf in checked.leaves] == [path]
    assert [(refusal.file, refusal.reason) for refusal in checked.refusals] == [(f"{path}/a.yaml", "not YAML"), (f"{path}/qna.yml", "file name")]


def test_a_qna_yaml_that_lies_in_no_folder_is_refused():
    assert message({"qna.yaml": json.dumps(SKILL)}).startswith('tree/qna.yaml: the branch is ""; move the leaf into a branch; known: ')


def test_yaml_outside_of_the_branches_is_passed_unless_it_is_a_qna():
    assert len(parse(skill() | {".github/lint.yml": "[", "docs/x.yaml": "["})) == 1
    assert message(skill() | {"docs/template_qna.yaml": json.dumps(SKILL)}).startswith("tree/docs/template_qna.yaml: the file's name is ")


@pytest.mark.parametrize(("branch", "hint"), [
    ("foundational", 'did you mean "foundational_skills"?'),
    ("zzz", "known: compositional_skills, foundational_skills, knowledge"),
])  # fmt: skip
def test_a_branch_that_is_none_is_refused(branch, hint):
    path = f"{branch}/digits/largest/qna.yaml"
    assert message(skill(f"{branch}/digits/largest")) == f'tree/{path}: the branch is "{branch}"; move the leaf into a branch; {hint}{ALONE}'


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({"verifier": GONE}, "verifier is missing; add it"),
        ({"ranks": 1}, 'ranks is no key here; rename it or take it out; did you mean "rank"?'),
        ({"rank": 0}, "rank is 0; it must be a whole number from 1, the most common task"),
        ({"rank": 1.5}, "rank is 1.5; it must be a whole number from 1, the most common task"),
        ({"rank": True}, "rank is True; it must be a whole number from 1, the most common task"),
        ({"task": 5}, "task is 5; it must be words (verifier may be '')"),
        ({"verifier": None}, "verifier is empty; it must be words (verifier may be '')"),
    ],
)
def test_a_malformed_leaf_file_is_refused(own, expected):
    assert message(skill(own=own)) == f"tree/foundational_skills/digits/largest/leaf.yaml: {expected}{ALONE}"


def test_two_leaves_that_claim_one_task_or_one_rank_are_refused():
    one, two = "foundational_skills/a", "foundational_skills/b"
    assert message(skill(one) | skill(two)) == f'tree/{two}/leaf.yaml: rank 1 is taken by {one}; every leaf has its own: change one{ALONE}'
    assert message(skill(one, own={"task": "t"}) | skill(two, own={"task": "t", "rank": 2})) == (
        f'tree/{two}/leaf.yaml: task "t" is taken by {one}; every leaf has its own: change one{ALONE}'
    )
    assert len(parse(skill(one) | skill(two, own={"rank": 2}))) == 2


def test_a_check_finds_every_fault_of_a_tree_and_keeps_the_leaves_that_are_right():
    files = skill("foundational_skills/a") | skill("foundational_skills/b", version=2, own={"rank": 2}) | skill("foundational_skills/c", own={"rank": 0})
    checked = check_tree(files | {"knowledge/x/qna.yaml": "a: [", "knowledge/y/qna.yaml": "{}"})
    assert [leaf.leaf for leaf in checked.leaves] == ["foundational_skills/a"]
    assert [(refusal.file, refusal.field, refusal.reason) for refusal in checked.refusals] == [
        ("foundational_skills/b/qna.yaml", "version", "old version"),
        ("foundational_skills/c/leaf.yaml", "rank", "wrong type"),
        ("knowledge/x/qna.yaml", "line 1, column 5,", "not YAML"),
        ("knowledge/y/qna.yaml", "version", "old version"),
    ]
    assert (checked.files, checked.versions) == (8, {"3": 2, "2": 1, "1 (absent)": 1, "unreadable": 1})
    assert message(files).endswith("; 2 of 6 files are refused, see `espalier taxonomy tree`")


def test_the_tables_hold_every_leaf_and_every_example_in_order():
    leaves, seeds = tabulate(parse(knowledge() | skill(own={"rank": 2})))
    assert leaves.rows() == [
        ("foundational_skills/digits/largest", "foundational_skills", "read digits", "foundational_skills/digits/largest", 2, "", "[]"),
        ("knowledge/eats/what", "knowledge", "read digits", "knowledge/eats/what", 1, "", "[]"),
    ]
    assert leaves.columns == ["leaf", "branch", "topic", "task", "rank", "verifier", "checks"]
    assert seeds.columns == ["leaf", "place", "context", "query", "answer", "held_out"]
    assert seeds.row(1) == ("foundational_skills/digits/largest", 1, "", "1 or 9 ?", "9", False)
    assert seeds.filter(leaf="knowledge/eats/what").row(14) == ("knowledge/eats/what", 14, "c4", "q2", "a2", False)


def test_held_out_examples_are_the_last_ones_and_of_a_knowledge_leaf_whole_contexts():
    _, seeds = tabulate(parse(knowledge() | skill(own={"rank": 2})), held_out=2)
    held = {leaf: some.filter("held_out")["place"].to_list() for (leaf,), some in seeds.group_by("leaf")}
    assert held == {"foundational_skills/digits/largest": [3, 4], "knowledge/eats/what": [12, 13, 14]}  # 5 contexts of 3 questions


def test_three_examples_of_every_leaf_stay_for_the_prompts():
    _, seeds = tabulate(parse(knowledge() | skill(own={"rank": 2})), held_out=3)
    assert seeds.filter("held_out")["leaf"].unique().to_list() == ["knowledge/eats/what"]  # the skill has five


def test_a_leaf_says_what_every_answer_must_hold_to():
    leaves, _ = tabulate(parse(skill(own={"checks": [{"kind": "max_words", "n": 3}]})))
    assert leaves["checks"].to_list() == ['[{"kind": "max_words", "n": 3}]']
    assert 'leaf.yaml: checks is "short"; it must be a list of mappings' in message(skill(own={"checks": "short"}))
