"""How diverse is a data set? Coverage of the tasks first, surface second; every measure on the same number of words.

The fixed budget is the point: from 100 to 30,000 documents of one source distinct-2 falls from 0.62 to 0.35 with no change in the
text, so numbers of different amounts of words do not compare. A surface measure can also stay flat while a model collapses
(effective leaves 39 -> 9 at a compression ratio of 1.81 -> 1.94): the coverage measures are the primary ones.
"""

import json
import lzma
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from espalier.seeds import digest
from espalier.settings import Diversity
from espalier.text import effective_leaves, entropy_nats, full_text, hash_ngrams, ngrams, words

FIRST_WORDS = 4
SHARED_NGRAM = 4
VENDI_TEXTS = 2000  # the score grows with them, so it is one number for all
VENDI_NGRAM = 2
VENDI_FEATURES = 512  # at 1024 the eigenvalues took 0.4 to 7 s on two busy cores, at 512 0.4 s


def sample_rows(frame: pl.DataFrame, *, sample_words: int, seed: int) -> pl.DataFrame:
    """The longest prefix of the hash-shuffled rows with at most `sample_words` words of full text, in that order, with a column `text`.

    Fewer words than the budget means that the numbers do not compare with those of a fuller recipe.
    """
    texts = [full_text(*row) for row in frame.select("context", "query", "answer").iter_rows()]
    ids, chosen, total = frame["id"].to_list(), [], 0
    for i in sorted(range(len(ids)), key=lambda i: digest(seed, "diversity", ids[i])):
        total += len(words(texts[i]))
        if total > sample_words:
            break
        chosen.append(i)
    return frame.with_columns(pl.Series("text", texts, dtype=pl.String))[chosen]


def diversity_metrics(
    frame: pl.DataFrame,
    *,
    leaves: Sequence[str],
    attributes: Mapping[str, Sequence[str]],
    settings: Diversity,
    seed: int,
) -> dict[str, float]:
    """All measures of one recipe. `leaves`: every leaf of the taxonomy; `attributes`: every value of every attribute of the world."""
    sample = sample_rows(frame, sample_words=settings.sample_words, seed=seed)
    texts, delivered = sample["text"].to_list(), sample["delivered_leaf"].to_list()
    return {
        "rows": sample.height,
        "words": sum(len(words(text)) for text in texts),
        "effective_leaves": effective_leaves(delivered),
        "covered_leaf_share": leaf_coverage(delivered, leaves, covered_rows=settings.covered_rows),
        "covered_pair_share": pair_coverage([json.loads(one) for one in sample["attributes"]], attributes),
        "unique_problem_share": unique_share(sample["problem_key"]),
        "first_words_entropy_nats": first_words_entropy(texts, FIRST_WORDS),
        "shared_4gram_share": shared_ngram_share(texts, SHARED_NGRAM),
        "distinct_2": distinct_share(texts, 2),
        "compression_ratio": compression_ratio(texts),
        "vendi_score": vendi_score(texts[:VENDI_TEXTS], VENDI_NGRAM, features=VENDI_FEATURES),
    }


def leaf_coverage(delivered: Iterable[str], leaves: Sequence[str], *, covered_rows: int) -> float:
    """|leaves with at least covered_rows rows| / |leaves|, in 0..1; 0 for no leaves.

    Source: the taxonomy as yardstick, LAB (arXiv 2403.01081). Known trap: it saturates; once every leaf has
    covered_rows a data set of one huge leaf and 53 small ones looks perfect. Read it beside the effective leaves.
    """
    counts = Counter(delivered)
    return sum(counts[leaf] >= covered_rows for leaf in leaves) / len(leaves) if leaves else 0.0


def pair_coverage(rows: Sequence[Mapping[str, str]], attributes: Mapping[str, Sequence[str]]) -> float:
    """|pairs of values of two attributes that some row has| / |all such pairs|, in 0..1; 0 when there are fewer than two attributes.

    Source: t-way combinatorial coverage with t = 2 (Kuhn, Kacker, Lei, NIST SP 800-142). Known traps: these are the
    attributes that were asked for, and a teacher may not have obeyed; taking the pools from the rows instead of from the world
    would call a recipe with one value each complete.
    """
    pools = {name: frozenset(attributes[name]) for name in sorted(attributes)}
    pairs = list(combinations(pools, 2))
    possible = sum(len(pools[first]) * len(pools[second]) for first, second in pairs)
    seen = {
        (first, row[first], second, row[second])
        for row in rows
        for first, second in pairs
        if row.get(first) in pools[first] and row.get(second) in pools[second]
    }
    return len(seen) / possible if possible else 0.0


def unique_share(keys: Iterable[str]) -> float:
    """|distinct keys| / |rows with a key|, in 0..1; "" is no key; 0 for none.

    Known trap: it falls with the size of the sample (birthday collisions in a small world) and is blind to a collapse onto
    one rich leaf: the unique rate stayed 1.000 while the effective leaves went from 39 to 9.
    """
    known = [key for key in keys if key]
    return len(set(known)) / len(known) if known else 0.0


def first_words_entropy(texts: Sequence[str], n: int) -> float:
    """-sum p ln p over the first n words of each text, in nats; a shorter text counts as a whole.

    Finds stock openings: 59 % of TinyStories contain "once upon a time" (arXiv 2504.09184). Known traps: bounded by ln(texts);
    a grammar with few openings is low by nature, so compare recipes, not worlds.
    """
    return entropy_nats(Counter(tuple(words(text)[:n]) for text in texts).values())


def shared_ngram_share(texts: Sequence[str], n: int) -> float:
    """sum over texts |n-gram types that another text has too| / sum over texts |n-gram types|, in 0..1.

    In place of self-repetition (Salkar et al. 2022; Shaib et al. 2024, arXiv 2403.00553), which is a log of counts and grows
    with size and length. Known trap: still grows with the number of texts, hence the fixed words.
    """
    types = [set(hash_ngrams(words(text), n)) for text in texts]
    spread = Counter(gram for one in types for gram in one)
    total = sum(spread.values())
    return sum(count for count in spread.values() if count > 1) / total if total else 0.0


def distinct_share(texts: Sequence[str], n: int) -> float:
    """|distinct n-grams| / |n-grams| over all texts, none across the border of two; in 0..1.

    Source: distinct-n, Li et al. 2016 (arXiv 1510.03055). Known trap: falls with the number of words.
    """
    counts = Counter(gram for text in texts for gram in ngrams(words(text), n))
    return len(counts) / counts.total() if counts else 0.0


def compression_ratio(texts: Sequence[str]) -> float:
    """bytes / bytes after LZMA2, texts one a line in the given order; high is repetitive. 0 for no text.

    Source: Shaib et al. 2024 (arXiv 2403.00553), there with gzip. Known traps: gzip sees 32 KB back and preset 1 of
    xz 1 MB, so copies that lie farther apart are invisible; the dictionary here spans the whole corpus. The order of the
    texts matters (4.69 shuffled, 6.33 sorted), so shuffle with a fixed seed; small texts are dominated by the start-up cost.
    """
    data = "\n".join(texts).encode("utf-8", "surrogatepass")
    span = max(1 << 12, 1 << len(data).bit_length())  # LZMA takes 4 KB at least
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": span}])
    return len(data) / len(packed) if data else 0.0


def vendi_score(texts: Sequence[str], n: int, *, features: int) -> float:
    """exp(-sum w ln w) over the eigenvalues w of K / |texts|, K the cosine similarities of signed hashed n-gram counts; 1 for all alike.

    Computed in the dual form when that is smaller: K = XX' and X'X (features x features) have the same non-zero eigenvalues.
    Texts of fewer than n words are left out; 0 for none.
    Source: Friedman and Dieng 2023 (arXiv 2210.02410, definition 3.1); signed hashing: Weinberger et al. 2009.
    Known traps: it cannot exceed the number of texts nor `features`, and hash collisions pull it down when the vocabulary of
    n-grams is far larger than that, so n, features and the number of texts stay the same in every comparison.
    """
    grams = [found for text in texts if (found := hash_ngrams(words(text), n))]
    if not grams:
        return 0.0
    flat = np.array([gram for one in grams for gram in one], dtype=np.uint64)
    x_ND = np.zeros((len(grams), features))
    row = np.repeat(np.arange(len(grams)), [len(one) for one in grams])
    sign = np.where(flat >> np.uint64(63), 1.0, -1.0)
    np.add.at(x_ND, (row, (flat % np.uint64(features)).astype(np.int64)), sign)
    norms = np.linalg.norm(x_ND, axis=1, keepdims=True)
    x_ND /= np.where(norms > 0, norms, 1.0)
    products = x_ND @ x_ND.T if len(grams) < features else x_ND.T @ x_ND
    eigenvalues = np.linalg.eigvalsh(products / len(grams))
    positive = eigenvalues[eigenvalues > 1e-12]
    return float(np.exp(-(positive * np.log(positive)).sum()))
