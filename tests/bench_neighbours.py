"""How long the neighbour scorer takes and what it needs. Run: python -m tests.bench_neighbours ROWS WORDS CLUSTERS WORDNET (synsets.jsonl.gz).

Texts of WORDS words are dictionary glosses, each one once for 15 words, several drawn at random for more; CLUSTERS groups. One line: seconds, peak MiB.
"""

import gzip
import json
import resource
import sys
import time

import numpy as np

from espalier.scorers import neighbours as tier


def texts_of(file: str, rows: int, words: int) -> list[str]:
    """`rows` texts of `words` words or somewhat more; every gloss stands in about rows x words / 1.6 million of them."""
    with gzip.open(file, "rt") as lines:
        glosses = [f"{' '.join(one['words'])}: {one['gloss']} {' '.join(one['examples'])}" for one in map(json.loads, lines)]
    draw = np.random.default_rng(0)
    if words <= 15:
        return [glosses[i] for i in draw.choice(len(glosses), rows, replace=False)]
    return [" ".join(glosses[i] for i in draw.choice(len(glosses), round(words / 15.6))) for _ in range(rows)]


def main(rows: int, words: int, clusters: int, file: str) -> None:
    texts, ids = texts_of(file, rows, words), [f"{i:08}" for i in range(rows)]
    tier.neighbours(texts[:100], ids[:100], clusters=4, seed=1)  # loads the compiled code
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    similarity, cluster = tier.neighbours(texts, ids, clusters=clusters, seed=1)
    seconds, peak = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{rows:,} rows of {np.mean([len(text.split()) for text in texts]):.0f} words: {seconds:.1f} s, peak {peak / 1024:,.0f} MiB (with texts, {before / 1024:,.0f} before); "
          f"mean similarity {similarity.mean():.3f}, {len(set(cluster.tolist())):,} clusters, largest {np.bincount(cluster).max():,}")  # fmt: skip


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4])
