"""Shared word n-grams of many texts with many items, counted by a compiled rolling hash: 64 bits, one pass a text, no strings.

Reads words as `wordhash.hash_words` gives them. A text is a prompt and a reply; an n-gram across their border counts for the item's share (a leak may
start in the prompt and end in the reply) and not for the shares of the parts. Measured beside sets of Python strings in LOG.md (`make canaries`).

Source: rolling hash as in Karp, Rabin 1987; 64 bits because 32 gave 56 false hits in 20,000 documents (LOG.md).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from espalier.wordhash import fmix64

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no word is ever shifted out of the 64 bits
BITS_PER_GRAM = 16  # of the table that is asked first: 1 of 16 strange n-grams gets past it, and it fits into the cache

Words = NDArray[np.uint64]
Places = NDArray[np.int64]
Shares = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NgramIndex:
    """The n-grams of all items: a hash table gram -> items that hold it. sizes: distinct n-grams of each item. groups: the benchmark of each item, 0 ..
    n_groups - 1."""

    n: int
    sizes: Places
    groups: Places
    n_groups: int
    bits: Words
    slots: Words
    grams: NDArray[np.int32]
    starts: Places
    items: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Coverage:
    """What each text shares with the items of each group; all arrays are texts x groups, an item is -1 where nothing is shared.

    item_share: highest |distinct n-grams of an item that the text holds| / |distinct n-grams of that item|, and `item` which.
    part_share: highest |n-grams of the prompt, or of the reply, that one item holds| / |n-grams of that part|, repeats counted, and `part_item` which.
    Of equal shares the first item counts.
    """

    item: Places
    item_share: Shares
    part_item: Places
    part_share: Shares


def ngram_hashes(words: Words, n: int) -> Words:
    """A 64-bit number for each n-gram of one text, in order, with repeats; none when there are fewer than `n` words. Never 0."""
    return _rolled(words, n, _power(n))


def index_ngrams(words: Words, offsets: Places, n: int, *, groups: Places) -> NgramIndex:
    """Index items. words, offsets: item i holds words[offsets[i]:offsets[i + 1]]. groups: the group of each item, from 0, without gaps."""
    assert len(groups) == len(offsets) - 1, (len(groups), len(offsets))
    found = [np.unique(ngram_hashes(words[start:end], n)) for start, end in zip(offsets[:-1], offsets[1:], strict=True)]
    sizes = np.array([len(one) for one in found], dtype=np.int64)
    flat = np.concatenate([*found, np.empty(0, dtype=np.uint64)])
    distinct, gram_of = np.unique(flat, return_inverse=True)
    order = np.argsort(gram_of, kind="stable")  # within a gram the items stay in their order
    starts = np.concatenate([[0], np.cumsum(np.bincount(gram_of, minlength=len(distinct)))]).astype(np.int64)
    items = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)[order]
    bits, slots, grams = _fill(distinct, _power_of_two(2 * len(distinct)), _power_of_two(BITS_PER_GRAM * len(distinct)))
    return NgramIndex(n, sizes, groups.astype(np.int64), int(groups.max(initial=0)) + 1, bits, slots, grams, starts, items)


def cover(words: Words, offsets: Places, index: NgramIndex) -> Coverage:
    """The best covered item of each text and group, both ways.

    words, offsets: text i has its prompt at words[offsets[2 * i]:offsets[2 * i + 1]] and its reply from there to offsets[2 * i + 2].
    """
    shape = ((len(offsets) - 1) // 2, index.n_groups)
    made = Coverage(np.full(shape, -1), np.zeros(shape), np.full(shape, -1), np.zeros(shape))
    table = (index.bits, index.slots, index.grams, index.starts, index.items, index.sizes, index.groups)
    _cover(words, offsets, index.n, _power(index.n), table, made.item, made.item_share, made.part_item, made.part_share)
    return made


def pair_shares(prompt: Words, reply: Words, item: Words, n: int) -> tuple[float, float]:
    """(item_share, part_share) of one text and one item, as `Coverage` defines them; 0 where there is no n-gram."""
    held, in_prompt, in_reply, wanted = _pair(np.concatenate([prompt, reply]), len(prompt), np.unique(ngram_hashes(item, n)), n, _power(n))
    return held / max(wanted, 1), max(in_prompt / max(1, len(prompt) - n + 1), in_reply / max(1, len(reply) - n + 1))


def sequence_hashes(words: Words, offsets: Places) -> Words:
    """One number for each text: equal word for word, equal number; 0 for a text without words."""
    return _whole(words, offsets)


def _power(n: int) -> np.uint64:
    """BASE ** n modulo 2 ** 64: what the word that leaves the window weighs."""
    return np.uint64(pow(int(BASE), n, 1 << 64))


def _power_of_two(least: int) -> int:
    return 1 << max(6, (least - 1).bit_length())


@njit(cache=True, nogil=True)
def _rolled(words, n, power):
    made = np.empty(max(0, len(words) - n + 1), dtype=np.uint64)
    rolling = np.uint64(0)
    for i in range(len(words)):
        rolling = rolling * BASE + words[i]
        if i >= n:
            rolling -= words[i - n] * power
        if i >= n - 1:
            made[i - n + 1] = max(fmix64(rolling), np.uint64(1))  # mixed, for the low bits of a polynomial depend on low bits alone; 0 marks an empty slot
    return made


@njit(cache=True, nogil=True)
def _pair(words, middle, wanted, n, power):
    """How many of the sorted n-grams `wanted` stand in the words; how many n-grams of prompt and of reply are wanted ones; how many are wanted."""
    held, in_prompt, in_reply = np.zeros(len(wanted), dtype=np.uint8), 0, 0
    grams = _rolled(words, n, power)
    for at in range(len(grams)):
        place = np.searchsorted(wanted, grams[at])
        if place < len(wanted) and wanted[place] == grams[at]:
            held[place] = 1
            in_prompt += at + n <= middle
            in_reply += at >= middle
    return held.sum(), in_prompt, in_reply, len(wanted)


@njit(cache=True, nogil=True)
def _whole(words, offsets):
    made = np.zeros(len(offsets) - 1, dtype=np.uint64)
    for i in range(len(made)):
        rolling = np.uint64(0)
        for at in range(offsets[i], offsets[i + 1]):
            rolling = rolling * BASE + words[at]
        if offsets[i + 1] > offsets[i]:
            made[i] = max(fmix64(rolling), np.uint64(1))
    return made


@njit(cache=True, nogil=True)
def _fill(distinct, n_slots, n_bits):
    bits, slots, grams = np.zeros(n_bits >> 6, dtype=np.uint64), np.zeros(n_slots, dtype=np.uint64), np.zeros(n_slots, dtype=np.int32)
    for gram in range(len(distinct)):
        value = distinct[gram]
        bit = value & np.uint64(n_bits - 1)
        bits[bit >> np.uint64(6)] |= np.uint64(1) << (bit & np.uint64(63))
        slot = (value >> np.uint64(24)) & np.uint64(n_slots - 1)
        while slots[slot] != np.uint64(0):
            slot = (slot + np.uint64(1)) & np.uint64(n_slots - 1)
        slots[slot], grams[slot] = value, gram
    return bits, slots, grams


@njit(cache=True, nogil=True)
def _find(value, bits, slots, grams):
    """The gram's number, or -1."""
    bit = value & np.uint64(len(bits) * 64 - 1)
    if not (bits[bit >> np.uint64(6)] >> (bit & np.uint64(63))) & np.uint64(1):
        return -1
    slot = (value >> np.uint64(24)) & np.uint64(len(slots) - 1)
    while slots[slot] != np.uint64(0):
        if slots[slot] == value:
            return grams[slot]
        slot = (slot + np.uint64(1)) & np.uint64(len(slots) - 1)
    return -1


@njit(cache=True, nogil=True)
def _cover(words, offsets, n, power, table, best, best_share, best_part, best_part_share):
    bits, slots, grams, starts, items, sizes, groups = table
    counts = np.zeros((len(sizes), 3), dtype=np.int32)  # of the text at hand: distinct grams; grams of the prompt; of the reply
    touched = np.empty(len(sizes), dtype=np.int32)
    seen = np.full(max(1, len(starts) - 1), -1, dtype=np.int32)  # the last text that held the gram
    for text in range(len(best)):
        start, middle, end = offsets[2 * text], offsets[2 * text + 1], offsets[2 * text + 2]
        n_touched, rolling = 0, np.uint64(0)
        for at in range(start, end):
            rolling = rolling * BASE + words[at]
            first = at - n + 1
            if first > start:
                rolling -= words[first - 1] * power
            if first < start:
                continue
            gram = _find(max(fmix64(rolling), np.uint64(1)), bits, slots, grams)
            if gram < 0:
                continue
            is_new = seen[gram] != text
            seen[gram] = text
            part = 1 if at < middle else 2 if first >= middle else 0
            for place in range(starts[gram], starts[gram + 1]):
                item = items[place]
                if is_new:
                    if counts[item, 0] == 0:
                        touched[n_touched] = item
                        n_touched += 1
                    counts[item, 0] += 1
                if part:
                    counts[item, part] += 1
        in_prompt, in_reply = max(1, middle - start - n + 1), max(1, end - middle - n + 1)
        for place in range(n_touched):
            item = touched[place]
            group, share = groups[item], counts[item, 0] / sizes[item]
            part_share = max(counts[item, 1] / in_prompt, counts[item, 2] / in_reply)
            if share > best_share[text, group] or (share == best_share[text, group] and item < best[text, group]):
                best[text, group], best_share[text, group] = item, share
            if part_share > 0 and (part_share > best_part_share[text, group] or (part_share == best_part_share[text, group] and item < best_part[text, group])):
                best_part[text, group], best_part_share[text, group] = item, part_share
            counts[item, :] = 0
