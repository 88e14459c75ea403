"""How diverse is a data set? Coverage of the tasks first, surface second; every measure on the same number of words.

The fixed budget is the point: from 100 to 30,000 documents of one source distinct-2 falls from 0.62 to 0.35 with no change in the
text, so numbers of different amounts of words do not compare. A surface measure can also stay flat while a model collapses
(effective leaves 39 -> 9 at a compression ratio of 1.81 -> 1.94): the coverage measures are the primary ones.
"""

import json
from collections.abc import Mapping, Sequence

import polars as pl

from espalier.coverage import asked_leaf_share, leaf_coverage, tuple_coverage, unique_share
from espalier.seeds import digest
from espalier.settings import Diversity
from espalier.text import effective_leaves, full_text, words
from espalier.vendi import vendi_score
from espalier.wording import compression_ratio, distinct_share, first_words_entropy, heaps_exponent, number_words, shared_ngram_share, zipf_exponent

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
    numbered, combined = number_words(texts), [json.loads(one) for one in sample["attributes"]]
    return {
        "rows": sample.height,
        "words": len(numbered.ids),
        "effective_leaves": effective_leaves(delivered),
        "covered_leaf_share": leaf_coverage(delivered, leaves, covered_rows=settings.covered_rows),
        "asked_leaf_share": asked_leaf_share(sample["leaf"], delivered),
        "covered_pair_share": tuple_coverage(combined, attributes, 2),
        "covered_triple_share": tuple_coverage(combined, attributes, 3),
        "unique_problem_share": unique_share(sample["problem_key"]),
        "first_words_entropy_nats": first_words_entropy(numbered, FIRST_WORDS),
        "shared_4gram_share": shared_ngram_share(numbered, SHARED_NGRAM),
        "distinct_2": distinct_share(numbered, 2),
        "zipf_exponent": zipf_exponent(numbered),
        "heaps_exponent": heaps_exponent(numbered),
        "compression_ratio": compression_ratio(texts),
        "vendi_score": vendi_score(texts[:VENDI_TEXTS], VENDI_NGRAM, features=VENDI_FEATURES),
    }
