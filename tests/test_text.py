import doctest
import math
import subprocess
import sys

import pytest

from espalier import text
from espalier.scorers import vote
from espalier.text import echo_share, effective_count, effective_leaves, entropy_nats, fold, hash_ngrams, match_words, ngrams, repeat_share, shingles


@pytest.mark.parametrize("module", [text, vote])
def test_the_examples_in_the_docstrings_are_true(module):
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


def test_folding_changes_white_space_and_nothing_else():
    assert fold(" A\u00a0b\n\n c.") == "A b c."


def test_words_for_matching_ignore_case_and_width_but_keep_marks():
    assert match_words("３ + 4 = Seven.") == ["3", "+", "4", "=", "seven", "."]
    assert match_words("3 + 4") != match_words("3 - 4")


def test_a_text_of_k_words_has_k_minus_n_plus_1_ngrams():
    assert ngrams("a b c d".split(), 3) == [("a", "b", "c"), ("b", "c", "d")]
    assert ngrams("a b".split(), 3) == []


def test_equal_ngrams_have_equal_hashes_and_order_counts():
    first, second, third = hash_ngrams("a b a b a".split(), 3)
    assert first == third != second
    assert 0 <= first < 2**64


def test_hashes_do_not_change_between_processes():
    code = "from espalier.text import hash_ngrams; print(hash_ngrams(['list', ':', '4'], 3)[0])"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": p, "PYTHONHASHSEED": h}).stdout
            for p, h in ((str(_source()), "1"), (str(_source()), "2"))]
    assert runs[0] == runs[1] == f"{hash_ngrams(['list', ':', '4'], 3)[0]}\n"


def test_a_text_shorter_than_a_shingle_is_one_shingle_and_an_empty_one_none():
    assert shingles("4 9", 3) == set(hash_ngrams(["4", "9"], 2))
    assert shingles(" ", 3) == set()


def test_repeats_are_counted_by_hand():
    assert repeat_share("9 9 9 9 9".split(), 3) == pytest.approx(2 / 3)  # three times (9 9 9), one kind
    assert repeat_share("1 2 3 4 5".split(), 3) == 0.0
    assert repeat_share("9 9".split(), 3) == 0.0  # no 3-gram at all


def test_an_echo_is_counted_by_hand():
    source = "what is the largest number ?".split()
    assert echo_share("the largest number is 9".split(), source, 3) == pytest.approx(1 / 3)
    assert echo_share("9".split(), "list 9".split(), 3) == 0.0


def test_entropy_of_a_half_and_two_quarters_is_one_and_a_half_bits():
    assert entropy_nats([2, 1, 1, 0]) == pytest.approx(1.5 * math.log(2))
    assert effective_count([2, 1, 1]) == pytest.approx(2**1.5)


@pytest.mark.parametrize("count", [1, 3, 15000])
def test_one_kind_is_exactly_one_effective_kind(count):
    assert effective_count([count]) == 1.0


def test_rows_without_a_leaf_do_not_count_as_a_leaf():
    assert effective_leaves(["a", "", "b", ""]) == pytest.approx(2.0)
    assert effective_leaves(["", ""]) == 0.0


def _source():
    from pathlib import Path

    return Path(text.__file__).parents[1]
