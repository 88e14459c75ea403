import math
import random
import zlib

import polars as pl
import pytest

from espalier.coverage import asked_leaf_share, leaf_coverage, tuple_coverage, unique_share
from espalier.diversity import diversity_metrics, sample_rows
from espalier.settings import Diversity
from espalier.text import effective_leaves
from espalier.vendi import vendi_score
from espalier.wording import compression_ratio, distinct_share, first_words_entropy, heaps_exponent, number_words, shared_ngram_share, zipf_exponent


def rows(n):
    return pl.DataFrame(
        {
            "id": [f"r{i:04}" for i in range(n)],
            "context": ["list : 4 9 ."] * n,
            "query": [f"what is w{i} ?" for i in range(n)],
            "answer": ["9"] * n,  # 5 + 4 + 1 words
            "attributes": ['{"size":"big","style":"short"}'] * n,
            "leaf": ["a", "a"] * (n // 2),
            "delivered_leaf": ["a", "b"] * (n // 2),
            "problem_key": [f"k{i % 10}" for i in range(n)],
        }
    )


def noise(n_words, *, seed=1):
    draw = random.Random(seed)
    return " ".join("".join(draw.choices("0123456789abcdef", k=16)) for _ in range(n_words))


def test_a_leaf_counts_from_the_wanted_number_of_rows_on():
    delivered = ["a"] * 3 + ["b"] * 2 + ["c"] + [""] * 9
    assert leaf_coverage(delivered, ["a", "b", "c", "d"], covered_rows=2) == 0.5
    assert leaf_coverage(delivered, ["a", "b", "c", "d"], covered_rows=3) == 0.25


def test_pairs_are_counted_out_of_all_that_the_world_has():
    pools = {"style": ["s", "t"], "size": ["1", "2", "3"], "opening": ["o"]}  # 2*3 + 2*1 + 3*1 = 11 pairs
    found = [{"style": "s", "size": "1", "opening": "o"}, {"style": "s", "size": "2", "opening": "o"}]
    assert tuple_coverage(found, pools, 2) == pytest.approx(5 / 11)  # s1 s2, so, 1o 2o
    assert tuple_coverage([*found, {"style": "s", "size": "9"}, {"mood": "sad"}, {}], pools, 2) == pytest.approx(5 / 11)
    assert tuple_coverage(found, {"style": ["s"]}, 2) == 0.0


def test_triples_are_counted_as_pairs_are():
    pools = {"style": ["s", "t"], "size": ["1", "2", "3"], "opening": ["o", "p"], "mood": ["m"]}
    possible = 2 * 3 * 2 + 2 * 3 * 1 + 2 * 2 * 1 + 3 * 2 * 1  # 28 triples of the four attributes
    found = [{"style": "s", "size": "1", "opening": "o", "mood": "m"}, {"style": "s", "size": "1", "opening": "p"}]
    assert tuple_coverage(found, pools, 3) == pytest.approx((4 + 1) / possible)  # s1o s1m som 1om; s1p
    assert tuple_coverage(found, {"style": ["s"], "size": ["1"]}, 3) == 0.0


def test_the_share_of_rows_that_deliver_what_they_were_asked_for():
    assert asked_leaf_share(["a", "a", "b", ""], ["a", "b", "b", "c"]) == pytest.approx(2 / 3)
    assert asked_leaf_share(["", ""], ["a", "b"]) == 0.0


def test_rows_without_a_problem_are_not_unique_problems():
    assert unique_share(["k", "k", "l", ""]) == pytest.approx(2 / 3)
    assert unique_share(["", ""]) == 0.0


def test_a_stock_opening_lowers_the_entropy_of_the_first_words():
    texts = ["once upon a time x", "once upon a time y", "two lists are here", "so"]
    assert first_words_entropy(number_words(texts), 4) == pytest.approx(1.5 * math.log(2))  # a half and two quarters
    assert first_words_entropy(number_words(["once upon a time"] * 5), 4) == 0.0


def test_an_ngram_is_shared_when_another_text_has_it_and_not_when_it_repeats_in_one():
    assert shared_ngram_share(number_words(["a b c d e", "x a b c d", "p q r s p q r s"]), 4) == pytest.approx(2 / 8)  # abcd in two; bcde, xabc, pqrs qrsp rspq spqr
    assert shared_ngram_share(number_words(["a b c", ""]), 4) == 0.0


def test_distinct_bigrams_are_counted_over_all_texts_and_not_across_their_border():
    assert distinct_share(number_words(["a b a b", "a b"]), 2) == pytest.approx(2 / 4)  # ab ba ab ab; not "b a" over the border
    assert distinct_share(number_words(["a"]), 2) == 0.0


def test_random_hex_digits_do_not_compress_beyond_their_four_bits():
    assert 1.7 < compression_ratio([noise(3000)]) < 17 / 8.5  # 17 bytes a word carry 16 digits of half a byte, and a known blank


def test_copies_far_beyond_the_window_of_gzip_are_seen():
    texts = [noise(20, seed=seed) for seed in range(300)]  # about 100 KB
    assert compression_ratio(texts + texts) == pytest.approx(2 * compression_ratio(texts), rel=0.02)
    assert compression_ratio([]) == 0.0


def test_k_texts_that_share_nothing_have_a_vendi_score_of_k():
    texts = ["a b c", "d e f", "g h i", "j k l"]
    assert vendi_score(texts, 2, features=2**12) == pytest.approx(4.0)
    assert vendi_score(texts * 3, 2, features=2**12) == pytest.approx(4.0)
    assert vendi_score(["a b c"] * 7, 2, features=64) == pytest.approx(1.0)


def test_two_texts_of_cosine_one_half_have_the_vendi_score_of_their_eigenvalues():
    score = vendi_score(["a b c", "b c d"], 2, features=2**12)  # ab bc | bc cd: cosine 1/2, K/2 has eigenvalues 3/4 and 1/4
    assert score == pytest.approx(math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25))))


def test_the_vendi_score_never_exceeds_texts_or_features_and_leaves_out_short_texts():
    texts = [noise(10, seed=seed) for seed in range(50)]
    assert vendi_score(texts, 2, features=16) <= 16
    assert vendi_score(texts, 2, features=1024) <= 50
    assert vendi_score(["a b c", "a", ""], 2, features=64) == pytest.approx(1.0)
    assert vendi_score([""], 2, features=64) == 0.0


def test_colliding_ngrams_add_noise_and_no_likeness():
    texts = [noise(10, seed=seed) for seed in range(200)]  # nine bigrams each on 32 features, none shared
    assert vendi_score(texts, 2, features=32) > 28  # unsigned counts share a mean and give 22


def test_the_sample_holds_the_budget_of_words_to_within_one_row():
    sample = sample_rows(rows(200), sample_words=999, seed=1)
    assert sample.height == 99  # rows of ten words
    assert sample["text"][0].split()[:4] == ["list", ":", "4", "9"]


def test_a_bigger_sample_begins_with_the_smaller_one_whatever_the_order_of_the_rows():
    small, big = (sample_rows(rows(200), sample_words=words, seed=1)["id"].to_list() for words in (300, 900))
    assert big[:30] == small
    assert sample_rows(rows(200).reverse(), sample_words=300, seed=1)["id"].to_list() == small
    assert sample_rows(rows(200), sample_words=300, seed=2)["id"].to_list() != small


def test_a_recipe_is_measured_on_its_budget_of_words():
    metrics = diversity_metrics(
        rows(200), leaves=["a", "b", "c", "d"], attributes={"size": ["big", "small"], "style": ["short", "long"]},
        settings=Diversity(sample_words=1000, covered_rows=5), seed=1,
    )  # fmt: skip
    assert (metrics["rows"], metrics["words"]) == (100, 1000)
    assert metrics["effective_leaves"] == pytest.approx(2.0, abs=0.05)
    assert (metrics["covered_leaf_share"], metrics["covered_pair_share"], metrics["unique_problem_share"]) == (0.5, 0.25, 0.1)
    assert metrics["first_words_entropy_nats"] == 0.0
    assert metrics["shared_4gram_share"] == pytest.approx(4 / 7)  # the first four of seven, up to "9 . what is", come in all texts
    assert len(metrics) <= 15
    assert metrics["asked_leaf_share"] == pytest.approx(0.5, abs=0.05)  # all asked for a, every second row is b


def test_no_rows_measure_zero():
    metrics = diversity_metrics(rows(2).clear(), leaves=["a"], attributes={}, settings=Diversity(1000, 5), seed=1)
    assert set(metrics.values()) == {0}


def spread(counts):
    """One text in which the i-th word comes counts[i] times."""
    return number_words([" ".join(f"w{i} " * n for i, n in enumerate(counts))])


def test_frequencies_of_one_over_the_rank_have_a_zipf_exponent_of_1():
    assert zipf_exponent(spread([1200, 600, 400, 300, 240, 200])) == pytest.approx(1.0)
    assert zipf_exponent(spread([7, 7, 7, 7])) == 0.0
    assert zipf_exponent(spread([3600, 900, 400, 225])) == pytest.approx(2.0)


def test_words_that_come_once_and_too_few_kinds_have_no_say_in_zipfs_exponent():
    assert zipf_exponent(spread([1200, 600, 400, *[1] * 50])) == pytest.approx(1.0)
    assert zipf_exponent(spread([9, 5, 1, 1])) == 0.0


def test_new_words_all_the_way_have_a_heaps_exponent_of_1_and_one_word_has_0():
    assert heaps_exponent(number_words([f"w{i}" for i in range(500)])) == pytest.approx(1.0)
    assert heaps_exponent(number_words(["a a a a", "a a"])) == 0.0
    assert heaps_exponent(number_words(["a b"])) == 0.0


def test_a_vocabulary_that_grows_with_the_root_of_the_words_has_a_heaps_exponent_of_one_half():
    """A new word at every square: after m words there are floor(root of m) kinds."""
    words = ["new" + str(i) if int(i**0.5) ** 2 == i else "new1" for i in range(1, 40_001)]
    assert heaps_exponent(number_words(words)) == pytest.approx(0.5, abs=0.03)


# the traps, as numbers


def zipf_texts(n, *, seed=0):
    """Texts of 50 words with frequencies of one over the rank, out of 5,000."""
    draw = random.Random(seed)
    kinds, weights = [f"w{i}" for i in range(5000)], [1 / rank for rank in range(1, 5001)]
    return [" ".join(draw.choices(kinds, weights, k=50)) for _ in range(n)]


def test_trap_distinct_2_and_heaps_fall_and_shared_4grams_rise_with_the_number_of_texts_of_one_source():
    small, large = number_words(zipf_texts(50)), number_words(zipf_texts(2000))
    assert distinct_share(large, 2) < 0.75 * distinct_share(small, 2)
    assert heaps_exponent(large) < heaps_exponent(small) - 0.05
    assert shared_ngram_share(large, 4) > shared_ngram_share(small, 4)


def test_trap_gzip_does_not_see_copies_farther_apart_than_32_kb_and_lzma_with_a_whole_dictionary_does():
    texts = [noise(20, seed=seed) for seed in range(300)]
    once, twice = ("\n".join(some).encode() for some in (texts, texts + texts))
    by_gzip = [len(one) / len(zlib.compress(one, 9)) for one in (once, twice)]
    assert by_gzip[1] == pytest.approx(by_gzip[0], rel=0.01)
    assert compression_ratio(texts + texts) > 1.9 * compression_ratio(texts)


def test_trap_gzip_hangs_on_the_order_of_the_texts_and_lzma_with_a_whole_dictionary_hardly_does():
    copies = [f"{text} {i % 3}" for text in zipf_texts(800) for i in range(3)]
    random.Random(1).shuffle(copies)
    in_order, shuffled = (len(data) / len(zlib.compress(data, 9)) for data in ("\n".join(some).encode() for some in (sorted(copies), copies)))
    assert in_order > 1.5 * shuffled
    assert compression_ratio(sorted(copies)) == pytest.approx(compression_ratio(copies), rel=0.01)


def test_trap_heaps_hangs_on_the_order_of_the_texts():
    new, old = [f"n{i}" for i in range(500)], ["old"] * 500
    first, last = heaps_exponent(number_words(new + old)), heaps_exponent(number_words(old + new))
    assert first == pytest.approx(0.97, abs=0.03)  # kinds = words up to 500, and only the last two points lie beyond
    assert last < 0.5  # one kind up to 500: flat but for the last two points, which rise to 196 and 501


def test_trap_a_collapse_onto_one_leaf_leaves_the_unique_share_at_1():
    assert unique_share([f"k{i}" for i in range(100)]) == 1.0
    assert effective_leaves(["only"] * 100) == pytest.approx(1.0)
