"""The shipped seed tree, attribute lists and openings of the world general: what their authors promise."""

from collections import Counter
from math import gcd

import pytest

from espalier.attributes import parse_attributes, parse_openings
from espalier.gates import opens_badly
from espalier.general import check_leaf, constraints_of
from espalier.io import files_under, read_text
from espalier.taxonomy import BRANCHES, YAML_ENDINGS, parse_tree, tabulate
from espalier.verifiers.verify import verify_answer
from tests.closure import ROOT

FOLDER = ROOT / "data/seeds/taxonomy/general"
TREE = parse_tree({path: read_text(FOLDER / path) for path in files_under(FOLDER, YAML_ENDINGS)}, folder="general")
LISTS = parse_attributes((ROOT / "data/seeds/attributes/general.yaml").read_text(), file="general.yaml")
OPENINGS = parse_openings((ROOT / "data/seeds/openings/general.yaml").read_text(), file="general.yaml")


def test_the_tree_has_117_leaves_over_three_branches_with_six_to_eighteen_examples():
    assert Counter(leaf.branch for leaf in TREE) == {"knowledge": 36, "foundational_skills": 39, "compositional_skills": 42}
    assert {leaf.branch for leaf in TREE} == set(BRANCHES)
    assert {len(leaf.examples) for leaf in TREE} == {8, 18}  # a knowledge leaf has six contexts of three questions


@pytest.mark.parametrize("leaf", TREE, ids=lambda leaf: leaf.leaf)
def test_every_seed_answer_is_right_by_its_leafs_own_verifier(leaf):
    check_leaf(leaf, folder="general")
    leaves, _ = tabulate([leaf])
    checks = constraints_of(leaves["checks"].item(), where=leaf.leaf)
    for example in leaf.examples:
        found = verify_answer(leaf.verifier, answer=example.answer, context=example.context, query=example.question, gold=example.answer, checks=checks)
        assert (found.verdict, found.reason) == ("right" if leaf.verifier else "unknown", ""), example.answer


def test_every_list_is_co_prime_with_every_other_so_that_short_walks_already_mix_them():
    sizes = {name: len(values) for name, values in LISTS.items()}
    assert sizes["persona"] == 67
    assert [(one, other) for one in sizes for other in sizes if one < other and gcd(sizes[one], sizes[other]) > 1] == []


def test_no_seed_text_begins_with_a_banned_opening():
    assert len(OPENINGS) == 105
    texts = [text for leaf in TREE for example in leaf.examples for text in (example.context, example.question, example.answer)]
    assert [text for text in texts if text and opens_badly(text, OPENINGS)] == []
