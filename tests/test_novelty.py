"""ROUGE-L against a pool, and the prefix filter against brute force."""

import random

import pytest

from espalier.novelty import Pool, rouge_l
from espalier.text import match_words


def longest(one, other):
    """Length of the longest common subsequence by the textbook's table."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if left == right else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def texts(n, seed, words=12, vocabulary=9):
    """Short texts of few words, so that many are alike."""
    drawn = random.Random(seed)
    return [" ".join(f"w{min(drawn.randrange(vocabulary), drawn.randrange(vocabulary))}" for _ in range(drawn.randrange(words))) for _ in range(n)]


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence():
    for one, other in zip(texts(300, 1), texts(300, 2), strict=True):
        left, right = one.split(), other.split()
        expected = 2 * longest(left, right) / (len(left) + len(right)) if left and right else 0.0
        assert rouge_l(left, right) == expected == rouge_l(right, left)


@pytest.mark.parametrize("limit", [0.0, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_the_prefix_filter_finds_what_brute_force_finds(limit):
    known, asked = texts(150, 3), texts(150, 4)
    pool = Pool(known, max_overlap=limit)
    found = 0
    for text in asked:
        overlaps = [rouge_l(match_words(text), match_words(one)) for one in known]
        best = max(overlaps)
        expected = (best, known[overlaps.index(best)]) if best > limit else (0.0, "")
        assert pool.closest(text) == expected
        found += best > limit
    assert found > 0


@pytest.mark.parametrize("limit", [0.3, 0.7])
def test_a_pool_grows_by_what_brute_force_would_take(limit):
    pool, taken = Pool([], max_overlap=limit), []
    for text in texts(200, 5):
        is_new = all(rouge_l(match_words(text), match_words(one)) <= limit for one in taken)
        assert (pool.add(text) is None) == is_new
        taken += [text] if is_new else []
    assert pool.texts == taken
    assert 5 < len(taken) < 200


def test_a_near_copy_is_named_and_a_text_on_the_limit_is_new():
    pool = Pool(["a b c d e f g h i j"], max_overlap=0.7)
    assert pool.add("a b c d e f g h x y") == "ROUGE-L 0.80 with: a b c d e f g h i j"  # 2 x 8 / 20
    assert pool.add("a b c d e f g x y z") is None  # 2 x 7 / 20 = 0.7, which is not above it


def test_case_and_glued_marks_make_no_new_text_and_order_does():
    pool = Pool(["Which river is longer?"], max_overlap=0.7)
    assert pool.add("which RIVER is longer ?") == "ROUGE-L 1.00 with: Which river is longer?"
    assert pool.add("longer is river which?") is None


def test_with_a_limit_of_1_every_text_is_new_even_a_copy():
    pool = Pool(["a b"], max_overlap=1.0)
    assert (pool.add("a b"), pool.texts) == (None, ["a b", "a b"])


@pytest.mark.parametrize("text", ["", " ", "\0", "\ud800 a", "a " * 5000])
def test_no_text_makes_the_pool_fall(text):
    assert Pool(["a b c"], max_overlap=0.7).add(text) is None
