import re
from collections import Counter
from itertools import product
from math import prod

import pytest

from espalier.attributes import choose, parse_attributes, walk
from espalier.errors import ParamsError
from tests.closure import ROOT

FILE = "data/seeds/attributes/builtin.yaml"


def lists(*lengths):
    return {f"list{j}": tuple(f"{j}.{i}" for i in range(length)) for j, length in enumerate(lengths)}


def combinations(attributes, indices, *, seed=1):
    return [tuple(walk(attributes, i, seed=seed).values()) for i in indices]


@pytest.mark.parametrize(
    "lengths",
    [(1,), (5,), (2, 3), (3, 4, 5), (2, 2), (2, 4), (4, 2), (6, 4), (2, 2, 2), (4, 6, 9), (6, 10, 15), (3, 3, 3), (2, 4, 8), (8, 4, 2), (12, 3, 3, 3),
     (2, 6, 3, 4), (6, 4, 10, 3), (1, 2, 1, 2)],
)  # fmt: skip
def test_a_round_visits_every_combination_exactly_once(lengths):
    attributes, n = lists(*lengths), prod(lengths)
    assert sorted(combinations(attributes, range(n))) == sorted(product(*attributes.values()))


@pytest.mark.parametrize("lengths", [(3, 4), (4, 6, 9), (12, 3, 3, 3)])
def test_every_later_round_is_the_first_again(lengths):
    attributes, n = lists(*lengths), prod(lengths)
    assert combinations(attributes, range(n, 2 * n)) == combinations(attributes, range(n))
    assert sorted(combinations(attributes, range(10**18 + 7, 10**18 + 7 + n))) == sorted(product(*attributes.values()))


@pytest.mark.parametrize("lengths", [(12, 3, 3, 3), (4, 6, 9), (5, 5), (7, 2)])
def test_every_value_comes_up_evenly_from_the_start(lengths):
    attributes = lists(*lengths)
    for n in range(1, prod(lengths) + 1, 5):
        visited = combinations(attributes, range(n))
        counts = Counter(first for first, *_ in visited)
        assert set(counts.values()) | {n // lengths[0]} <= {n // lengths[0], -(-n // lengths[0])}  # the floor or the ceiling, for every value
        for j, length in enumerate(lengths[1:], 1):
            later = Counter(combination[j] for combination in visited)
            assert max(later.values()) - min(later.get(value, 0) for value in attributes[f"list{j}"]) <= length


def test_another_seed_walks_another_way_through_the_same_combinations():
    attributes = lists(4, 6)
    one, other = combinations(attributes, range(24), seed=1), combinations(attributes, range(24), seed=2)
    assert sorted(one) == sorted(other)
    assert one != other


def test_a_walk_without_lists_gives_nothing():
    assert [walk({}, index, seed=1) for index in (0, 5)] == [{}, {}]


def test_the_shipped_lists_are_those_of_the_world():
    found = parse_attributes((ROOT / FILE).read_text(), file=FILE)
    assert {name: len(values) for name, values in found.items()} == {"topic": 12, "opening": 3, "style": 3, "size": 3}
    assert found["style"] == ("question", "command", "short")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "found no lists; it must map a name to a list of values"),
        ("{}", "found no lists; it must map a name to a list of values"),
        ("- a", "found no lists; it must map a name to a list of values"),
        ("size: short", "size is short; it must be a list of words (quote numbers, yes and no)"),
        ("size: []", "size is []; it must be a list of words (quote numbers, yes and no)"),
        ("size: [short, 3]", "size is ['short', 3]; it must be a list of words (quote numbers, yes and no)"),
        ("size: [short, '']", "size is ['short', '']; it must be a list of words (quote numbers, yes and no)"),
        ("size: [true]", "size is [True]; it must be a list of words (quote numbers, yes and no)"),
        ("size: [short, long, short]", "size names a value twice; take one out"),
    ],
)
def test_lists_that_cannot_be_walked_are_refused(text, expected):
    with pytest.raises(ParamsError, match=f"^{re.escape(f'{FILE}: {expected}')}$"):
        parse_attributes(text, file=FILE)


def test_what_is_not_yaml_is_named_with_its_line():
    with pytest.raises(ParamsError, match=r"^f\.yaml, line 2, column 2: not YAML"):
        parse_attributes("size: [a\nb: [c]", file="f.yaml")


def test_lists_are_chosen_by_name_in_the_order_asked():
    assert list(choose(lists(2, 3, 4), ["list2", "list0"], where="x")) == ["list2", "list0"]
    assert choose(lists(2), [], where="x") == {}


def test_a_list_that_is_not_there_is_named_with_the_one_that_was_meant():
    with pytest.raises(ParamsError) as raised:
        choose({"topic": ("a",), "size": ("b",)}, ["topics"], where="params.yaml: recipes.lab")
    assert str(raised.value) == 'params.yaml: recipes.lab names the attribute "topics"; did you mean "topic"?'
