"""Words of many texts as 64-bit numbers, cut and hashed in one compiled pass: what duplicates and leaks are looked for with.

The words are those of `text.match_words` (NFKC, case-folded, every mark a word of its own): two words get one number when they are
equal and, but for about one chance in 1.8e19 a pair, only then. Cutting words in Python was the cost of finding duplicates: 107 us
a document of 225 words against 6 here. The compiled code is kept beside this file (`__pycache__`), so only the first run waits for it.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from numba import njit, uint64
from numpy.typing import NDArray

OFFSET, PRIME = 0xCBF29CE484222325, 0x100000001B3  # FNV-1a, 64 bits: Fowler, Noll, Vo; RFC 9923, section 5
MIX_ONE, MIX_TWO = 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53  # fmix64 of MurmurHash3 (Appleby 2011)
GAP, LETTER, MARK = 0, 1, 2
MASK = 2**64 - 1

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


def hash_words(texts: Sequence[str]) -> tuple[Hashes, Ints]:
    """The words of all texts in order as (numbers, offsets): those of text i are numbers[offsets[i]:offsets[i + 1]].

    As `text.match_words` cuts them. One thread; several may run at once, for the compiled pass leaves the interpreter to the others.
    The numbers are the same on every machine and in every process: `hash_word` gives one of them.
    """
    letters, ends = _letters(texts)
    words, offsets = _cut(letters, ends, _kinds())
    return words.copy(), offsets  # a copy, so that the unused end of the space for them is given back


def hash_word(word: str) -> int:
    """The number of one word of `text.match_words`: fmix64(FNV-1a of its UTF-8 bytes), 64 bits.

    >>> hash_words(["Plum 7"])[0].tolist() == [hash_word("plum"), hash_word("7")]
    True
    """
    number = OFFSET
    for byte in word.encode("utf-8", "surrogatepass"):
        number = (number ^ byte) * PRIME & MASK
    number = (number ^ number >> 33) * MIX_ONE & MASK
    number = (number ^ number >> 33) * MIX_TWO & MASK
    return number ^ number >> 33


def _letters(texts: Sequence[str]) -> tuple[NDArray[np.uint8], Ints]:
    """All texts as one run of UTF-8, and where each ends. Case of ASCII is left to the compiled pass; the rest is folded as Python does."""
    even = [text if text.isascii() else unicodedata.normalize("NFKC", text).casefold() for text in texts]
    joined = "".join(even)
    raw = joined.encode("utf-8", "surrogatepass")
    if len(raw) == len(joined):
        sizes = np.fromiter(map(len, even), dtype=np.int64, count=len(even))
    else:
        sizes = np.fromiter((len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in even), dtype=np.int64, count=len(even))
    return np.frombuffer(raw, dtype=np.uint8), np.cumsum(sizes)


@cache
def _kinds() -> NDArray[np.uint8]:
    r"""GAP, LETTER or MARK for every code point, as Python's \s and \w have it."""
    kinds = np.full(0x110000, MARK, dtype=np.uint8)
    points = np.arange(0x110000, dtype="<u4").tobytes().decode("utf-32-le", "surrogatepass")
    for pattern, kind in ((r"\s+", GAP), (r"\w+", LETTER)):
        for found in re.finditer(pattern, points):
            kinds[found.start() : found.end()] = kind
    return kinds


@njit(cache=True, nogil=True)
def fmix64(number):
    """The finalizer of MurmurHash3: every bit of the input moves half of the bits of the output."""
    number = (number ^ (number >> uint64(33))) * uint64(MIX_ONE)
    number = (number ^ (number >> uint64(33))) * uint64(MIX_TWO)
    return number ^ (number >> uint64(33))


@njit(cache=True, nogil=True)
def _wide(letters, at):
    """(code point, bytes) of the two to four bytes of UTF-8 that begin at `at`."""
    first = letters[at]
    size = 2 + (first >= 0xE0) + (first >= 0xF0)
    point = first & (0x7F >> size)
    for i in range(1, size):
        point = (point << 6) | (letters[at + i] & 0x3F)
    return point, size


@njit(cache=True, nogil=True)
def _cut(letters, ends, kinds):
    words = np.empty(len(letters) + 1, dtype=np.uint64)  # a word has at least one byte; pages that are not reached cost nothing
    offsets = np.zeros(len(ends) + 1, dtype=np.int64)
    n, at = uint64(0), offsets[0]
    for text in range(len(ends)):
        number, inside = uint64(OFFSET), uint64(0)
        while at < ends[text]:
            byte, size = uint64(letters[at]), 1
            kind = kinds[byte]
            if byte >= 128:
                point, size = _wide(letters, at)
                kind = kinds[point]
            in_word = uint64(kind == LETTER)
            words[n] = number  # counts only if the word ends here
            n += inside & ~in_word
            number = number if in_word else uint64(OFFSET)
            number = (number ^ (byte + uint64(32) if uint64(byte - uint64(65)) < uint64(26) else byte)) * uint64(PRIME)
            for i in range(at + 1, at + size):
                number = (number ^ uint64(letters[i])) * uint64(PRIME)
            words[n] = number
            n += uint64(kind == MARK)
            number = number if in_word else uint64(OFFSET)
            inside, at = in_word, at + size
        words[n] = number
        n += inside
        offsets[text + 1] = n
    for i in range(n):
        words[i] = fmix64(words[i])
    return words[:n], offsets
