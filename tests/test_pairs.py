import doctest
import random
from collections import Counter

import numpy as np
import pytest

from espalier import pairs
from espalier.overlap import CHUNK_TEXTS, jaccard, shingle_sets
from espalier.pairs import buckets, components, join, keys_of, near_clusters, roots
from espalier.settings import Dedup
from espalier.text import shingles

WORDS = [f"w{i}" for i in range(60)]


def edited(n, *, seed, words=30, most_edits=4):
    """Texts of one frame of words with up to `most_edits` words changed."""
    draw = random.Random(seed)
    texts = []
    for _ in range(n):
        text = WORDS[:words]
        for at in draw.sample(range(words), draw.randint(0, most_edits)):
            text[at] = f"x{draw.randrange(9)}"
        texts.append(" ".join(text))
    return texts


def all_with_all(texts, threshold, n):
    """The first text of each one's cluster, by comparing every pair of Python sets."""
    sets, firsts = [shingles(text, n) for text in texts], list(range(len(texts)))
    for i, one in enumerate(sets):
        for j, two in enumerate(sets[:i]):
            union = one | two
            if firsts[i] != firsts[j] and (not union or len(one & two) / len(union) >= threshold):
                old, new = max(firsts[i], firsts[j]), min(firsts[i], firsts[j])
                firsts = [new if first == old else first for first in firsts]
    return firsts


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(pairs) == doctest.TestResults(failed=0, attempted=1)


def test_similarity_is_that_of_sets_of_python():
    texts = ["", "a", *edited(40, seed=1), *edited(5, seed=2, words=3, most_edits=2)]
    left, right = np.triu_indices(len(texts))
    sets = [shingles(text, 3) for text in texts]
    expected = [len(sets[i] & sets[j]) / len(sets[i] | sets[j]) if sets[i] | sets[j] else 1.0 for i, j in zip(left, right, strict=True)]
    assert jaccard(shingle_sets(texts, 3), left, right).tolist() == expected
    assert shingle_sets(texts, 3).sizes.tolist() == [len(one) for one in sets]


def test_texts_of_many_chunks_have_the_shingles_of_one_by_one():
    texts = edited(2 * CHUNK_TEXTS + 3, seed=4)
    whole, last = shingle_sets(texts, 3), shingle_sets(texts[-1:], 3)
    assert whole.grams[whole.starts[-1] :].tolist() == last.grams.tolist()
    assert keys_of(texts, Dedup(0.7, 3, 32))[:, -1].tolist() == keys_of(texts[-1:], Dedup(0.7, 3, 32))[:, 0].tolist()


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.9, 1.0])
def test_one_bucket_of_all_texts_is_joined_as_by_comparing_all_with_all(threshold):
    texts = edited(150, seed=5)
    n = len(texts)
    keys = np.full((1, n), 5, dtype=np.uint64)
    found = components(keys, shingle_sets(texts, 3), threshold)
    assert found.tolist() == all_with_all(texts, threshold, 3)
    assert 1 < len(set(found.tolist())) < n


def test_pairs_that_are_apart_are_not_compared_but_may_be_linked_through_a_third():
    texts = [" ".join(WORDS[:20]), " ".join(WORDS[:20]), " ".join(WORDS[:20]), " ".join(WORDS[30:50])]
    keys = np.full((1, 4), 5, dtype=np.uint64)
    assert components(keys, shingle_sets(texts, 3), 0.9, apart=np.array([0, 0, 0, 1])).tolist() == [0, 1, 2, 3]
    assert components(keys, shingle_sets(texts, 3), 0.9, apart=np.array([0, 0, 1, 0])).tolist() == [0, 0, 0, 3]


@pytest.mark.parametrize(("texts", "compared"), [([" ".join(WORDS)] * 300, 299), ([*[" ".join(WORDS)] * 300, " ".join(WORDS[:-20] + [f"z{i}" for i in range(20)])], 599)])
def test_a_bucket_of_copies_is_joined_without_looking_at_every_pair(texts, compared):
    n = len(texts)
    parents, places = np.arange(n), np.arange(n)
    assert join(parents, places, np.array([n]), shingles=shingle_sets(texts, 3), places=places, apart=places, threshold=0.8) == compared  # 44,850 pairs and more in all
    assert sorted(Counter(roots(parents).tolist()).values(), reverse=True) == [300, *[1] * (n - 300)]


def test_pairs_that_are_joined_are_not_looked_at_again():
    texts = [" ".join(WORDS)] * 9
    parents, places = np.arange(9), np.arange(9)
    looked_at = [join(parents, places, np.array([4, 9]), shingles=shingle_sets(texts, 3), places=places, apart=places, threshold=0.8) for _ in range(2)]
    assert looked_at == [3 + 4, 0]


def test_clusters_are_those_of_all_pairs_but_for_the_few_that_meet_in_no_band():
    texts = [text for frame in range(40) for text in (" ".join(f"{frame}{word}" for word in one.split()) for one in edited(8, seed=frame, words=40, most_edits=3))]
    random.Random(0).shuffle(texts)
    truth, found = all_with_all(texts, 0.7, 3), near_clusters(texts, Dedup(0.7, 3, 128)).tolist()
    pairs_of = [{(i, j) for j in range(len(texts)) for i in range(j) if firsts[i] == firsts[j]} for firsts in (truth, found)]
    assert pairs_of[1] <= pairs_of[0]
    assert len(pairs_of[1]) >= 0.98 * len(pairs_of[0]) > 300
    assert all(first == min(i for i, other in enumerate(found) if other == first) for first in found)


def test_strangers_in_one_bucket_are_told_apart():
    found = components(np.zeros((3, 2), dtype=np.uint64), shingle_sets(["a b c d", "e f g h"], 2), 0.1)
    assert found.tolist() == [0, 1]


def test_no_texts_and_texts_without_words():
    settings = Dedup(0.7, 3, 16)
    assert near_clusters([], settings).tolist() == []
    assert near_clusters(["a"], settings).tolist() == [0]
    assert near_clusters(["", "a", " "], settings).tolist() == [0, 1, 0]
    assert [part.tolist() for part in buckets(np.empty(0, dtype=np.uint64))] == [[], []]


def test_the_second_of_two_runs_gives_the_same_bytes():
    texts = edited(3000, seed=8)
    assert near_clusters(texts, Dedup(0.8, 3, 128)).tobytes() == near_clusters(texts, Dedup(0.8, 3, 128)).tobytes()
