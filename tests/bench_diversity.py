"""How long the diversity measures take, and how they move with the size. Run: python -m tests.bench_diversity DOCUMENTS WORDS.

Documents of WORDS words with frequencies of one over the rank, out of 50,000; all of them are measured. One line a measure: seconds on the clock and of CPU; then
the measures of wording at a hundredth, a tenth and all of the documents.
"""

import sys
import time
from collections.abc import Callable

import numpy as np
import polars as pl

from espalier.diversity import FIRST_WORDS, SHARED_NGRAM, VENDI_FEATURES, VENDI_NGRAM, VENDI_TEXTS, diversity_metrics, sample_rows
from espalier.settings import Diversity
from espalier.vendi import vendi_score
from espalier.wording import compression_ratio, distinct_share, first_words_entropy, heaps_exponent, number_words, shared_ngram_share, zipf_exponent

KINDS, LEAVES = 50_000, 54
POOLS = {"size": list("abc"), "style": list("def"), "opening": list("ghi"), "topic": list("jklmnopqrstu")}


def rows_of(documents: int, words: int) -> pl.DataFrame:
    """Rows as `mix` writes them, as far as the measures read them."""
    draw = np.random.default_rng(0)
    chances = 1 / np.arange(1, KINDS + 1)
    drawn = draw.choice(KINDS, (documents, words), p=chances / chances.sum())
    leaf = [f"leaf{i % LEAVES}" for i in range(documents)]
    attributes = ["{" + ", ".join(f'"{name}": "{draw.choice(pool)}"' for name, pool in POOLS.items()) + "}" for _ in range(documents)]
    return pl.DataFrame(
        {
            "id": [f"{i:08}" for i in range(documents)],
            "context": [""] * documents,
            "query": [" ".join(f"w{i}" for i in one) for one in drawn.tolist()],
            "answer": [""] * documents,
            "attributes": attributes,
            "leaf": leaf,
            "delivered_leaf": leaf,
            "problem_key": [f"k{i}" for i in range(documents)],
        }
    )


def timed(name: str, work: Callable[[], object]) -> object:
    """Do the work and print a line on it."""
    start, cpu = time.perf_counter(), time.process_time()
    found = work()
    shown = f"{found:.4f}" if isinstance(found, float) else ""
    print(f"{name:<24} {time.perf_counter() - start:7.2f} s  {time.process_time() - cpu:7.2f} s of CPU  {shown}")
    return found


def main(documents: int, words: int) -> None:
    frame, settings = rows_of(documents, words), Diversity(sample_words=documents * words, covered_rows=10)
    timed("all measures", lambda: diversity_metrics(frame, leaves=[f"leaf{i}" for i in range(LEAVES)], attributes=POOLS, settings=settings, seed=1))
    sample = timed("of these: the sample", lambda: sample_rows(frame, sample_words=documents * words, seed=1))
    texts = sample["text"].to_list()
    numbered = timed("numbering words", lambda: number_words(texts))
    timed("first words", lambda: first_words_entropy(numbered, FIRST_WORDS))
    timed("shared 4-grams", lambda: shared_ngram_share(numbered, SHARED_NGRAM))
    timed("distinct-2", lambda: distinct_share(numbered, 2))
    timed("Zipf", lambda: zipf_exponent(numbered))
    timed("Heaps", lambda: heaps_exponent(numbered))
    timed("LZMA", lambda: compression_ratio(texts))
    timed("Vendi", lambda: vendi_score(texts[:VENDI_TEXTS], VENDI_NGRAM, features=VENDI_FEATURES))
    for n in (documents // 100, documents // 10, documents):
        some = number_words(texts[:n])
        print(f"{n:,} documents: distinct-1 {distinct_share(some, 1):.3f}, -2 {distinct_share(some, 2):.3f}, -3 {distinct_share(some, 3):.3f}, shared 4-grams "
              f"{shared_ngram_share(some, SHARED_NGRAM):.3f}, Zipf {zipf_exponent(some):.3f}, Heaps {heaps_exponent(some):.3f}, LZMA {compression_ratio(texts[:n]):.2f}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
