"""The nearest leaf by TF-IDF."""

import pytest

from espalier.nearest import NearestLeaf

EXAMPLES = [
    ("food/bread", "How long does a loaf of rye bread bake?"), ("food/bread", "Why does dough rise?"), ("sea/ships", "How does a ship find its latitude?"),
    ("sea/ships", "What is the bell on a ship for?"), ("sums/add", "What is 3 + 4?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "leaf"), [("A loaf that does not rise", "food/bread"), ("The ship's BELL", "sea/ships"), ("3 and 4", "sums/add"), ("zebra", ""), ("", "")])
def test_the_leaf_with_the_rarest_common_words_is_the_nearest(text, leaf):
    assert NearestLeaf(EXAMPLES).find(text) == leaf


def test_every_example_is_nearest_to_its_own_leaf_whatever_their_order():
    for examples in (EXAMPLES, EXAMPLES[::-1]):
        assert [NearestLeaf(examples).find(text) for _, text in EXAMPLES] == [leaf for leaf, _ in EXAMPLES]


def test_of_equally_near_leaves_the_first_by_name_is_taken():
    assert NearestLeaf([("b", "red moon"), ("a", "red moon"), ("c", "blue sun")]).find("red moon") == "a"


def test_a_word_of_every_leaf_says_nothing_about_any():
    leaves = NearestLeaf([("a", "the cat"), ("b", "the dog")])
    assert (leaves.find("the dog"), leaves.find("the cat")) == ("b", "a")


@pytest.mark.parametrize("examples", [[], [("a", "")], [("a", "one text alone")]])
def test_a_tree_that_tells_nothing_apart_makes_nothing_fall(examples):
    assert NearestLeaf(examples).find("one text alone") in ("", "a")
