import math

import numpy as np
import pytest

from espalier.numbers import LEAST_NUMBERS, number_key
from espalier.paraphrase import LETTERS, index_letters, most_alike


def one_group(texts):
    return index_letters(texts, groups=np.zeros(len(texts), dtype=np.int64))


def by_dicts(texts, items):
    """Cosines as dictionaries of n-grams say."""

    def grams(text):
        line = f" {' '.join(''.join(c if c.isalnum() else ' ' for c in text.lower()).split())} "
        return [line[i : i + LETTERS] for i in range(len(line) - LETTERS + 1)]

    def weights(text):
        found = grams(text)
        return {gram: (1 + math.log(found.count(gram))) * (1 + math.log((1 + len(items)) / (1 + holders.get(gram, 0)))) for gram in found}

    holders = {}
    for item in items:
        for gram in set(grams(item)):
            holders[gram] = holders.get(gram, 0) + 1

    def cosine(one, other):
        return sum(weight * other.get(gram, 0) for gram, weight in one.items()) / math.sqrt(sum(w * w for w in one.values()) * sum(w * w for w in other.values()))

    return [[cosine(weights(text), weights(item)) for item in items] for text in texts]


ITEMS = [
    "Ann has three apples and buys two more apples.",
    "A train leaves the station at noon and travels for three hours.",
    "Ann has three pears and buys two more pears.",
]
TEXTS = ["ANN has three apples; she buys two more apples!", "The train left that station at noon, for a three hour ride.", "Bob buys two more dogs that bark."]


def test_the_cosine_is_that_of_the_written_formula():
    expected = by_dicts(TEXTS, ITEMS)
    items, cosines = most_alike(TEXTS, one_group(ITEMS))
    assert cosines.ravel().tolist() == pytest.approx([max(row) for row in expected], abs=1e-5)
    assert items.ravel().tolist() == [0, 1, max(range(3), key=lambda i: expected[2][i])]


def test_case_marks_and_white_space_do_not_count_and_the_first_of_equals_is_named():
    items, cosines = most_alike(["  ann HAS, three\napples -- and buys two more apples"], one_group([*ITEMS, ITEMS[0]]))
    assert (items.tolist(), cosines.round(5).tolist()) == ([[0]], [[1.0]])


def test_every_benchmark_has_its_own_best_item():
    items, cosines = most_alike([ITEMS[0]], index_letters(ITEMS, groups=np.array([0, 0, 1])))
    assert items.tolist() == [[0, 2]]
    assert 0.2 < cosines[0, 1] < cosines[0, 0] == pytest.approx(1.0, abs=1e-5)


def test_what_too_many_items_hold_is_left_out_and_costs_nothing(monkeypatch):
    monkeypatch.setattr("espalier.paraphrase.MOST_HOLDERS", 2)
    items = [f"what is the capital of {name} ?" for name in ("armenia", "belgium", "cambodia")]
    found, cosines = most_alike(["what is the capital of armenia", "what is the capital of denmark"], one_group(items))
    assert (found.tolist(), cosines.round(5).tolist()) == ([[0], [-1]], [[1.0], [0.0]])


def test_a_text_without_letters_or_as_long_as_a_book_is_like_nothing():
    texts = ["", "?!", "\0\0\0", "q" * 10_000_000, "half \ud800 a surrogate", "🍎🍐🍇" * 9]
    items, cosines = most_alike(texts, one_group(ITEMS))
    assert (items.max(), cosines.max()) == (-1, 0.0)
    assert most_alike([], one_group(ITEMS))[0].shape == (0, 1)


def test_other_scripts_are_compared_by_their_letters():
    items, cosines = most_alike(["сколько яблок у анны?"], one_group(["Сколько яблок у Анны", *ITEMS]))
    assert (items.tolist(), cosines.round(5).tolist()) == ([[0]], [[1.0]])


def test_numbers_are_a_multiset_in_any_spelling_and_few_of_them_tell_nothing():
    assert LEAST_NUMBERS == 4
    assert number_key("Two of 1,000 at $2.50 for 12") == number_key("twelve, 2.5 and 1000 and 2") == "1000 12 2 2.5"
    assert number_key("2 2 3 4") != number_key("2 3 3 4")
    assert (number_key("two of 1,000 at 2.50"), number_key("one by one by one by one")) == ("", "")
    assert number_key(f"{'9' * 10_000} 007 0.50 3") == f"0.5 3 7 {'9' * 10_000}"
