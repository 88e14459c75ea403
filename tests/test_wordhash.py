import doctest
import random
import sys
import unicodedata

import numpy as np
import pytest

from espalier import wordhash
from espalier.text import match_words
from espalier.wordhash import hash_word, hash_words

EVERY_POINT = [chr(point) for point in range(sys.maxunicode + 1)]


def hashed(text):
    numbers, offsets = hash_words([text])
    assert offsets.tolist() == [0, len(numbers)]
    return numbers.tolist()


def by_hand(text):
    return [hash_word(word) for word in match_words(text)]


def test_the_examples_in_the_docstrings_are_true():
    assert doctest.testmod(wordhash) == doctest.TestResults(failed=0, attempted=1)


def test_the_number_of_a_letter_is_fnv_1a_and_the_finalizer_of_murmur():
    number = (0xCBF29CE484222325 ^ ord("a")) * 0x100000001B3 % 2**64
    assert number == 0xAF63DC4C8601EC8C  # FNV-1a of "a", table of the FNV authors
    for multiplier in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        number = (number ^ number >> 33) * multiplier % 2**64
    assert hashed("a") == hashed(" A\n") == [number ^ number >> 33]


@pytest.mark.parametrize(
    "text",
    ["", " \t\n", "a", "What's 3+4?", "snake_case x9", "Straße ＡＢＣ ﬁne İstanbul ΣΑΣ", "数学の問題 x=３", "naïve — “quoted” … 1½", "a\u0301 e\u0301", "\ud800 lone", "🍎🍏 plum",
     "nul\0byte", "zero\u200bwidth no\u00a0break", "١٢٣ + ४"],
)  # fmt: skip
def test_words_are_those_of_match_words(text):
    assert hashed(text) == by_hand(text)


def test_every_code_point_is_cut_and_folded_as_match_words_does():
    texts = [" ".join(EVERY_POINT[at : at + 512]) for at in range(0, len(EVERY_POINT), 512)]
    texts += ["".join(EVERY_POINT[at : at + 512]) for at in range(0, len(EVERY_POINT), 512)]
    numbers, offsets = hash_words(texts)
    words = [match_words(text) for text in texts]
    assert np.diff(offsets).tolist() == [len(one) for one in words]
    known = {word: hash_word(word) for one in words for word in one}
    assert numbers.tolist() == [known[word] for one in words for word in one]
    assert len(set(known.values())) == len(known) > 500_000  # and no two words share a number


def test_ten_thousand_random_texts_are_cut_alike_in_one_batch_and_in_many():
    draw = random.Random(5)
    pieces = ["plum", "Plum", "7", "-", "Ä", "ß", "中文", " ", "\n", "  ", "_", "…", "½", unicodedata.lookup("COMBINING ACUTE ACCENT")]
    texts = ["".join(draw.choices(pieces, k=draw.randrange(30))) for _ in range(10_000)]
    numbers, offsets = hash_words(texts)
    assert numbers.tolist() == [number for text in texts for number in by_hand(text)]
    halves = [hash_words(texts[:4_000]), hash_words(texts[4_000:])]
    assert np.concatenate([one for one, _ in halves]).tolist() == numbers.tolist()
    assert [*halves[0][1], *(halves[0][1][-1] + halves[1][1][1:])] == offsets.tolist()


def test_no_texts_have_no_words():
    numbers, offsets = hash_words([])
    assert (numbers.tolist(), offsets.tolist()) == ([], [0])
