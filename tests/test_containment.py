from collections import Counter

import numpy as np
import pytest

from espalier.containment import cover, index_ngrams, ngram_hashes, pair_shares, sequence_hashes
from espalier.wordhash import hash_words


def grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def by_sets(prompt, reply, item, n):
    """Both shares as sets and lists of Python say."""
    wanted, held = set(grams(item, n)), set(grams(prompt + reply, n))
    parts = [sum(gram in wanted for gram in found) / len(found) for part in (prompt, reply) if (found := grams(part, n))]
    return len(wanted & held) / max(len(wanted), 1), max(parts, default=0.0)


def drawn(seed, n_texts, longest):
    rng = np.random.default_rng(seed)
    return [[f"w{i}" for i in rng.integers(0, 4, rng.integers(0, longest))] for _ in range(n_texts)]  # 4 words, so that much is shared and much repeats


def hashed(texts):
    return hash_words([" ".join(words) for words in texts])


@pytest.mark.parametrize("n", [2, 3, 5, 8])
def test_every_share_is_that_of_sets_of_words(n):
    items, parts, groups = drawn(1, 40, 25), drawn(2, 60, 30), np.arange(40) % 3
    found = cover(*hashed(parts), index_ngrams(*hashed(items), n, groups=groups))
    for text in range(30):
        shares = [by_sets(parts[2 * text], parts[2 * text + 1], item, n) for item in items]
        for group in range(3):
            own = [place for place in range(40) if groups[place] == group]
            for way, (places, best) in enumerate(((found.item, found.item_share), (found.part_item, found.part_share))):
                highest = max(shares[place][way] for place in own)
                assert best[text, group] == pytest.approx(highest, abs=1e-12)
                assert places[text, group] == (next(place for place in own if shares[place][way] == highest) if highest else -1)


def test_the_shares_of_a_pair_are_those_of_the_sets():
    for prompt, reply, item in zip(*(drawn(seed, 30, 20) for seed in (3, 4, 5)), strict=True):
        words, offsets = hashed([prompt, reply, item])
        parts = [words[offsets[i] : offsets[i + 1]] for i in range(3)]
        assert pair_shares(*parts, 3) == pytest.approx(by_sets(prompt, reply, item, 3))


def test_an_ngram_over_the_border_counts_for_the_item_and_for_no_part():
    item, prompt, reply = "a b c d".split(), "x a b".split(), "c d y".split()  # its 3-grams: abc, bcd; the row's parts are xab and cdy
    found = cover(*hashed([prompt, reply]), index_ngrams(*hashed([item]), 3, groups=np.zeros(1, dtype=np.int64)))
    assert (found.item_share.tolist(), found.part_share.tolist()) == ([[1.0]], [[0.0]])


def test_a_text_starts_anew_with_its_own_words():
    words, offsets = hashed(["a b".split(), [], "c d".split(), []])  # "b c" stands in no text
    found = cover(words, offsets, index_ngrams(*hashed([["b", "c"]]), 2, groups=np.zeros(1, dtype=np.int64)))
    assert found.item.tolist() == [[-1], [-1]]


def test_the_order_of_words_matters_and_their_place_does_not():
    words, _ = hashed(["a b c a b b a".split()])
    found = ngram_hashes(words, 2)  # ab bc ca ab bb ba
    assert Counter(found.tolist())[int(found[0])] == 2
    assert (found[0], len(set(found.tolist()))) == (found[3], 5)


def test_a_million_ngrams_have_a_million_numbers():
    words = np.random.default_rng(0).integers(0, 2**63, 1_000_007, dtype=np.uint64)
    assert len(np.unique(ngram_hashes(words, 8))) == 1_000_000  # with 32 bits about 116 pairs would fall together: 10**12 / 2 / 2**32


def test_texts_are_equal_word_for_word_or_have_other_numbers():
    found = sequence_hashes(*hashed(["a b".split(), "b a".split(), ["A", "b"], [], ["a"], ["a", "b", "a"]])).tolist()
    assert (found[0] == found[2], found[3], len(set(found))) == (True, 0, 5)
    assert all(found[0] != other for other in (found[1], found[4], found[5]))
