import doctest
import math
import random

import numpy as np
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from datasketch.hashfunc import sha1_hash32

from espalier import minhash
from espalier.minhash import band_keys, choose_bands, datasketch_bands, gram_hash32, hash_shingles, lean_minhashes, permutation_constants, sign, text_keys
from espalier.text import match_words, shingles

PIECES = ["list", "List", "4", "9", "?", "what's", "Ärger", "straße", "数学", "ﬁn", "e\u0301", "½", "\u00a0", "\n", "…", "🍎", "snake_case"]


def grams_of(text, n):
    """The n-grams of a text as bytes, as somebody would give them to datasketch."""
    found = match_words(text)
    n = min(n, len(found))
    return [" ".join(found[i : i + n]).encode("utf-8", "surrogatepass") for i in range(len(found) - n + 1)] if found else []


def random_texts(n, *, seed):
    draw = random.Random(seed)
    return ["", " \n", "plum", "数学", "\ud800", *(" ".join(draw.choices(PIECES, k=draw.randrange(40))) for _ in range(n - 5))]


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(minhash) == doctest.TestResults(failed=0, attempted=3)


def test_ten_thousand_signatures_are_bit_for_bit_those_of_datasketch():
    texts = random_texts(10_000, seed=3)
    ours = sign(*hash_shingles(texts, 3), permutations=128)
    for at in range(0, len(texts), 1000):
        theirs = MinHash.generator([grams_of(text, 3) for text in texts[at : at + 1000]], num_perm=128, seed=1, hashfunc=gram_hash32)
        assert np.array_equal(ours[at : at + 1000], [one.hashvalues for one in theirs])
    assert set(ours[0].tolist()) == {2**32 - 1}  # the empty text
    assert ours.dtype == np.uint32


@pytest.mark.parametrize(("permutations", "seed", "n"), [(1, 1, 1), (16, 7, 5), (130, 2**31, 2)])
def test_signatures_are_those_of_datasketch_update_by_update_at_any_size_and_seed(permutations, seed, n):
    texts = random_texts(200, seed=9)
    ours = sign(*hash_shingles(texts, n), permutations=permutations, seed=seed)
    for text, row in zip(texts, ours, strict=True):
        theirs = MinHash(num_perm=permutations, seed=seed, hashfunc=gram_hash32)
        for gram in grams_of(text, n):
            theirs.update(gram)
        assert row.tolist() == theirs.hashvalues.tolist()


def test_hashes_of_any_other_function_give_its_signatures_too():
    sets = [grams_of(text, 3) for text in random_texts(50, seed=4)]
    numbers = np.array([sha1_hash32(gram) for grams in sets for gram in grams], dtype=np.uint64)
    offsets = np.cumsum([0, *map(len, sets)])
    theirs = MinHash.bulk(sets, num_perm=64, seed=1)  # datasketch's own hash function
    assert sign(numbers, offsets, permutations=64).tolist() == [one.hashvalues.tolist() for one in theirs]


def test_signatures_are_those_of_affine32_worked_out_by_hand():
    odd, shift = permutation_constants(16, seed=1)
    numbers = [gram_hash32(gram) for gram in grams_of("list : 4 9 2 . what ?", 3)]
    by_hand = [min((int(a) * fmix32(number) + int(b)) % 2**32 for number in numbers) for a, b in zip(odd, shift, strict=True)]
    assert sign(*hash_shingles(["list : 4 9 2 . what ?"], 3), permutations=16).tolist() == [by_hand]
    assert MinHash(num_perm=16, seed=1).permutations.tolist() == [odd.tolist(), shift.tolist()]


def fmix32(h):
    """The finalizer of MurmurHash3 (Appleby 2011)."""
    h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
    h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
    return h ^ h >> 16


def test_signatures_in_one_batch_are_those_of_two():
    texts = random_texts(500, seed=6)
    whole, first, rest = (sign(*hash_shingles(some, 3), permutations=32) for some in (texts, texts[:123], texts[123:]))
    assert whole.tolist() == [*first.tolist(), *rest.tolist()]


def test_signatures_estimate_the_jaccard_similarity():
    one, two = np.arange(3000, dtype=np.uint64), np.arange(1000, 4000, dtype=np.uint64)  # J = 2000 / 4000
    first, second = sign(np.concatenate([one, two]), np.array([0, 3000, 6000]), permutations=1024)
    assert abs(np.mean(first == second) - 0.5) < 4 * math.sqrt(0.25 / 1024)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_shingles_are_as_many_as_those_of_the_slow_way(n):
    texts = random_texts(300, seed=8)
    numbers, offsets = hash_shingles(texts, n)
    assert [len(set(numbers[a:b].tolist())) for a, b in zip(offsets, offsets[1:], strict=False)] == [len(shingles(text, n)) for text in texts]


def test_our_signatures_are_found_in_an_index_of_datasketch():
    texts = ["one two three four five six seven", "red blue green black white", "one two three four five six eight"]
    signatures = sign(*hash_shingles(texts, 2), permutations=128)
    ours = lean_minhashes(signatures)
    index = MinHashLSH(threshold=0.5, num_perm=128)
    for name, one in zip("abc", ours, strict=True):
        index.insert(name, one)
    theirs = LeanMinHash(MinHash.bulk([grams_of(texts[0], 2)], num_perm=128, hashfunc=gram_hash32)[0])
    assert theirs == ours[0]
    assert sorted(index.query(theirs)) == ["a", "c"]  # 5 of 7 2-grams shared
    assert ours[0].jaccard(ours[2]) == np.mean(signatures[0] == signatures[2])


def test_a_key_is_equal_where_all_rows_of_a_band_are_and_nowhere_else():
    signatures = np.array([[1, 2, 3, 4, 9], [1, 2, 4, 3, 9], [2, 1, 3, 4, 9], [1, 2, 1, 2, 9]], dtype=np.uint32)
    keys = band_keys(signatures, 2, 2)
    assert (keys[0] == keys[0][0]).tolist() == [True, True, False, True]
    assert (keys[1] == keys[1][0]).tolist() == [True, False, True, False]
    assert keys[0][3] != keys[1][3]  # the same values in another band
    assert text_keys(["a b c"], 2, permutations=4, bands=2, rows=2).tolist() == band_keys(sign(*hash_shingles(["a b c"], 2), permutations=4), 2, 2).tolist()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("permutations", [16, 128, 256])
def test_bands_find_a_pair_on_the_threshold_98_times_in_100_wherever_that_can_be_done(threshold, permutations):
    bands, size = choose_bands(threshold, permutations)
    assert bands * size <= permutations
    assert 1 - (1 - threshold**size) ** bands >= min(0.98, 1 - (1 - threshold) ** permutations)


def test_the_bands_of_datasketch_find_fewer_pairs_on_the_threshold_than_ours():
    found = {bands: 1 - (1 - 0.8 ** bands[1]) ** bands[0] for bands in (datasketch_bands(0.8, 128), choose_bands(0.8, 128))}
    assert found == {(9, 13): pytest.approx(0.3988, abs=1e-4), (18, 7): pytest.approx(0.9855, abs=1e-4)}
