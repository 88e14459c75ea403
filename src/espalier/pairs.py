"""Near pairs of texts and what they join: buckets of equal band keys -> exact Jaccard similarity -> connected components.

Every candidate is verified, so precision is 1 and only recall is a matter of chance. It has to be: the transitive closure over unverified
bands has taken one public corpus from 859,092 documents down to 2.

The trap is boilerplate. Texts that share a long frame and differ in a few words meet in one bucket, m of them cost up to m**2 / 2 comparisons,
and what reaches the threshold is joined though it says different things. Shingle the part that varies, and watch the largest cluster.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numba import njit
from numpy.typing import NDArray

from espalier.minhash import band_keys, choose_bands, hash_shingles, sign, text_keys
from espalier.overlap import Shingles, count_shared, distinct, empty_set, fill, over_chunks, shingle_sets
from espalier.settings import Dedup

Hashes = NDArray[np.uint64]
Ints = NDArray[np.int64]


def near_clusters(texts: Sequence[str], settings: Dedup) -> Ints:
    """For each text the position of the first text of its cluster, which is itself where nothing is like it.

    A cluster is a connected component over pairs with Jaccard similarity >= threshold; two texts without words are alike.
    Held beside the texts: 8 bytes a band and text, and the shingles of those that meet another in a bucket.
    """
    keys = keys_of(texts, settings)
    meets = np.zeros(len(texts), dtype=np.bool_)
    for members, _ in buckets_of(keys):
        meets[members] = True
    places = np.flatnonzero(meets)
    found = components(np.ascontiguousarray(keys[:, places]), shingle_sets([texts[i] for i in places], settings.shingle_words), settings.threshold)
    firsts = np.arange(len(texts))
    firsts[places] = places[found]
    return firsts


def keys_of(texts: Sequence[str], settings: Dedup) -> Hashes:
    """The keys of the texts' bands, bands x texts, on every core; bands for a recall of at least `minhash.RECALL` where the permutations allow it."""
    bands, rows = choose_bands(settings.threshold, settings.permutations)
    make = partial(text_keys, words=settings.shingle_words, permutations=settings.permutations, bands=bands, rows=rows)
    return np.concatenate(over_chunks(make, texts), axis=1)


def sketch(texts: Sequence[str], settings: Dedup) -> tuple[Hashes, Ints, Hashes, Hashes]:
    """(distinct shingles, how many of each text, keys of the bands, copy keys): all that is to know of texts which are not kept.

    Texts with one copy key have equal sets of shingles: it is the sum of the set and its size modulo 2**64, equal for two other sets once in 1.8e19.
    """
    grams, sizes = distinct(*hash_shingles(texts, settings.shingle_words))
    offsets = np.append(0, np.cumsum(sizes))
    keys = band_keys(sign(grams, offsets, permutations=settings.permutations), *choose_bands(settings.threshold, settings.permutations))
    sums = np.append(np.uint64(0), np.cumsum(grams, dtype=np.uint64))[offsets]
    return grams, sizes, keys, np.diff(sums) + sizes.astype(np.uint64)


def keys_within(keys: Hashes, groups: Ints) -> Hashes:
    """Keys that meet only inside a group."""
    return keys + groups.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: spreads small numbers over all bits


def components(keys: Hashes, shingles: Shingles, threshold: float, *, apart: Ints | None = None) -> Ints:
    """For each text the smallest position in its connected component over the verified pairs that share a key of a band.

    keys: bands x texts. Pairs with an equal number in `apart` are not compared (None: all are).
    """
    parents = np.arange(len(shingles.sizes))
    apart = np.arange(len(parents)) if apart is None else apart
    for members, ends in buckets_of(keys):
        join(parents, members, ends, shingles=shingles, places=members, apart=apart, threshold=threshold)
    return roots(parents)


def buckets_of(keys: Hashes) -> Iterator[tuple[Ints, Ints]]:
    """`buckets` of each band; the next is sorted while one is looked at."""
    with ThreadPoolExecutor(1) as ahead:
        yield from ahead.map(buckets, keys)


def buckets(keys: Hashes) -> tuple[Ints, Ints]:
    """(members, ends): positions of the texts whose key another has too, bucket by bucket, each in order; bucket b is members[ends[b - 1]:ends[b]].

    Sorted are numbers with the key above and the position below, which is several times faster than sorting an index. The key loses its lowest
    bits to it: strangers may share a bucket (about 2 pairs a band among 4 million texts) and are told apart by their shingles.

    >>> buckets(np.array([7, 9, 7, 5, 9, 7], dtype=np.uint64) << np.uint64(8))
    (array([0, 2, 5, 1, 4]), array([3, 5]))
    """
    low = np.uint64(max(1, (len(keys) - 1).bit_length()))
    packed = np.sort((keys >> low << low) | np.arange(len(keys), dtype=np.uint64))
    same = np.diff(packed >> low) == 0  # i and i + 1 are of one bucket
    goes_on, came = np.append(same, False)[: len(packed)], np.append(False, same)[: len(packed)]
    met = goes_on | came
    members = packed[met] & ((np.uint64(1) << low) - np.uint64(1))
    return members.astype(np.int64), np.flatnonzero(~goes_on[met]) + 1


def join(parents: Ints, members: Ints, ends: Ints, *, shingles: Shingles, places: Ints, apart: Ints, threshold: float) -> int:
    """Unite in `parents` (changed in place) what is near within each bucket, unless it is joined already; gives the number of pairs compared.

    members are positions in `parents` and `apart`; places tell where the same texts stand in `shingles`.
    """
    return _join(parents, members, ends, places, apart, threshold, shingles.grams, shingles.starts, shingles.sizes)


def roots(parents: Ints) -> Ints:
    """The smallest position of each one's component."""
    found = parents
    while not np.array_equal(found, further := found[found]):
        found = further
    return found


@njit(cache=True, nogil=True)
def find(parents, one):
    """The root of one, its way there cut by half."""
    while parents[one] != one:
        parents[one] = parents[parents[one]]
        one = parents[one]
    return one


@njit(cache=True, nogil=True)
def unite(parents, one, other):
    """Put two components under the smaller of their roots."""
    one, other = find(parents, one), find(parents, other)
    parents[max(one, other)] = min(one, other)


@njit(cache=True, nogil=True)
def _join(parents, members, ends, places, apart, threshold, grams, starts, sizes):
    """The first member of a bucket is compared with all others; those joined with it by then, its mates, with the rest; then the rest alone.

    So copies are looked at once each and not in pairs, and yet every pair that is not joined is compared.
    """
    most = widest = begin = compared = stamp = np.int64(0)
    for place in places:
        most = max(most, sizes[place])
    for end in ends:
        widest, begin = max(widest, end - begin), end
    table, stamps = empty_set(most)
    order, begin = np.empty(widest, dtype=np.int64), 0
    for end in ends:
        n = end - begin
        for i in range(n):
            order[i] = begin + i
        first = 0
        while first < n - 1:
            one, mates = first, first + 1
            while one < mates:
                here, stamp, filled = order[one], stamp + 1, False
                for other in range(mates, n):
                    there = order[other]
                    if _is_open(parents, members[here], members[there], apart, sizes[places[here]], sizes[places[there]], threshold):
                        if not filled:
                            fill(table, stamps, stamp, grams, starts[places[here]], sizes[places[here]])
                            filled = True
                        compared += 1
                        shared = count_shared(table, stamps, stamp, grams, starts[places[there]], sizes[places[there]])
                        union = sizes[places[here]] + sizes[places[there]] - shared
                        if union == 0 or shared / union >= threshold:
                            unite(parents, members[here], members[there])
                if one == first:
                    for other in range(mates, n):
                        if find(parents, members[order[other]]) == find(parents, members[here]):
                            order[mates], order[other], mates = order[other], order[mates], mates + 1
                one += 1
            first = mates
        begin = end
    return compared


@njit(cache=True, nogil=True)
def _is_open(parents, one, other, apart, size, other_size, threshold):
    """Whether a pair is to be compared: not apart, not joined, and near enough in size (Jaccard is at most the smaller size over the larger)."""
    if apart[one] == apart[other] or find(parents, one) == find(parents, other):
        return False
    return min(size, other_size) >= threshold * max(size, other_size) * (1 - 1e-9)  # less a hair, for rounding
