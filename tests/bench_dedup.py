"""The speeds of near-duplicate removal that LOG.md reports: `make bench-dedup`, and `make bench-dedup-scale` for the table to 4,000,000 documents.

The corpus: documents of 150-300 words of a Zipf vocabulary, every fifth a copy of an earlier one with words changed so that the Jaccard similarity of word 5-grams
is about 0.5, 0.6, ... 0.95. A pair counts as found when one of the two would be dropped; recall is over the pairs that are truly at 0.8 or above, precision over
what is dropped. Every system runs on the same documents in a process of its own (bench_systems.py), peers in the environment of requirements-bench.txt.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROWS = 100_000
PREFIX = {"datasketch, one MinHash a document": 20_000, "semhash": 10_000, "datatrove": 10_000, "text-dedup": 20_000}  # slower ones: the first so many documents
WANTED = {"datasketch, one MinHash a document": 80, "datasketch, batches, 2 processes": 7, "rensa": 6, "semhash": 30, "text-dedup": 30, "datatrove": 80}
TRIES = {"ours": 3, "ours, spilled": 3, "rensa": 3}  # the quick ones: the fastest of so many
LEVELS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
VOCABULARY, WORDS, THRESHOLD = 50_000, 5, 0.8
BLOCK = 1_000  # a copy's original stands in the same thousand, so that a prefix is a small corpus of the same kind
SCALE = (100_000, 400_000, 1_000_000, 4_000_000)
PEERS = ".venv-bench/bin/python"


def documents(rows: int, *, seed: int = 0) -> Iterator[tuple[list[str], list[tuple[int, int]]]]:
    """Blocks of (texts, pairs of positions in the block: original and copy)."""
    rng = np.random.default_rng(seed)
    letters = np.array([*"abcdefghijklmnopqrstuvwxyz"])
    vocabulary = np.array(sorted({"".join(rng.choice(letters, rng.integers(2, 10))) for _ in range(2 * VOCABULARY)}))
    vocabulary = rng.permutation(vocabulary)[:VOCABULARY].tolist()
    rank = np.cumsum(1.0 / np.arange(1, len(vocabulary) + 1))

    def draw(n):
        return np.searchsorted(rank, rng.random(n) * rank[-1])

    for at in range(0, rows, BLOCK):
        block, pairs = [], []
        originals = rng.permutation([i for i in range(BLOCK) if i % 5 != 4]).tolist()
        for i in range(min(BLOCK, rows - at)):
            if i % 5 != 4:
                block.append(draw(rng.integers(150, 301)))
                continue
            origin = next(k for k in range(len(originals)) if originals[k] < i)
            origin = originals.pop(origin)
            level, copy = LEVELS[rng.integers(len(LEVELS))], block[origin].copy()
            grams = len(copy) - WORDS + 1
            changed = round(grams * (1 - level) / (1 + level) / WORDS)  # J = (g - 5c) / (g + 5c) for c changed words apart from each other
            copy[rng.choice(len(copy), changed, replace=False)] = draw(changed)
            pairs.append((origin, i))
            block.append(copy)
        yield [" ".join(vocabulary[word] for word in one) for one in block], pairs


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of word 5-grams, by sets of Python."""
    left, right = ({tuple(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)} for words in (one.split(), other.split()))
    return len(left & right) / len(left | right)


def compare_systems() -> None:
    """Print the table of all systems."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, pairs = Path(folder, "corpus.jsonl"), []
        with corpus.open("w") as file:
            for number, (texts, block) in enumerate(documents(ROWS)):
                file.writelines(json.dumps({"id": str(number * BLOCK + i), "text": text}) + "\n" for i, text in enumerate(texts))
                pairs += [(number * BLOCK + i, number * BLOCK + j) for i, j in block if similarity(texts[i], texts[j]) >= THRESHOLD]
        print(f"{len(os.sched_getaffinity(0))} cores; {ROWS:,} documents, {len(pairs):,} pairs at {THRESHOLD} or above\n")
        print("| system | documents | documents/s | peak MiB | recall | precision | ours is faster by | wanted |\n|---|---|---|---|---|---|---|---|", flush=True)
        speed = 0.0
        for name, python in _systems():
            rows = PREFIX.get(name, ROWS)
            tries = [_run(python, name, corpus, rows) for _ in range(TRIES.get(name, 1))]
            found = None if None in tries else min(tries, key=lambda one: one["seconds"])
            if found is None:
                print(f"| {name} | failed or is not installed ||||||", flush=True)
                continue
            speed = speed or rows / found["seconds"]
            truth = [(i, j) for i, j in pairs if j < rows]
            dropped, paired = set(found["dropped"]), {i for pair in truth for i in pair}
            recall = sum(i in dropped or j in dropped for i, j in truth) / len(truth)
            precision = len(dropped & paired) / max(1, len(dropped))
            ratio = speed / (rows / found["seconds"])
            line = (f"{rows:,}", f"{rows / found['seconds']:,.0f}", f"{found['peak_mib']:,.0f}", f"{recall:.4f}", f"{precision:.4f}", f"{ratio:.1f}", f"{WANTED.get(name, '')}")
            print(f"| {name} | {' | '.join(line)} |", flush=True)
        print(f"\nours: a process starts in {_run(sys.executable, 'ours', corpus, 100)['start_s']:.1f} s (imports, compiled code from its cache); ", end="")
        print(f"the first one after an installation in {_run(sys.executable, 'ours', corpus, 100, NUMBA_CACHE_DIR=f'{folder}/numba')['start_s']:.1f} s (compiles)")


def _systems() -> list[tuple[str, str]]:
    from tests.bench_systems import SYSTEMS

    return [(name, sys.executable if name.startswith("ours") else PEERS) for name in SYSTEMS]


def _run(python: str, name: str, corpus: Path, rows: int, **variables: str) -> dict | None:
    made = subprocess.run([python, "-m", "tests.bench_systems", name, str(corpus), str(rows)], capture_output=True, text=True, env=os.environ | variables)
    if made.returncode:
        print(made.stderr[-2000:], file=sys.stderr)
    return None if made.returncode else json.loads(made.stdout.splitlines()[-1])


def scale(*rows: int) -> None:
    """Print seconds and peak memory of `cluster_documents` for corpora of these sizes; each is written to a parquet file first and read from there."""
    print("| documents | parquet GB | seconds | documents/s | peak GiB | kept | largest cluster |\n|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for n in rows:
            file = Path(folder, f"{n}.parquet")
            _write_corpus(n, file)
            made = subprocess.run([sys.executable, "-m", "tests.bench_dedup", "one", str(file), f"{folder}/{n}"], capture_output=True, text=True, check=True)
            print(f"| {n:,} | {file.stat().st_size / 1e9:.2f} | {made.stdout.strip()} |", flush=True)
            file.unlink()


def _write_corpus(rows: int, file: Path) -> None:
    import polars as pl

    blocks = (pl.DataFrame({"id": [f"{at * BLOCK + i}" for i in range(len(texts))], "text": texts}) for at, (texts, _) in enumerate(documents(rows)))
    parts = []
    for block in blocks:
        parts.append(block)
        if len(parts) == 100:
            pl.concat(parts).write_parquet(file.with_suffix(f".{len(list(file.parent.glob('*.part'))):05}.part"), row_group_size=16_384)
            parts = []
    if parts:
        pl.concat(parts).write_parquet(file.with_suffix(".99999.part"), row_group_size=16_384)
    written = sorted(file.parent.glob("*.part"))
    pl.scan_parquet(written).sink_parquet(file, row_group_size=16_384)
    for part in written:
        part.unlink()


def _one(file: str, scratch: str) -> None:
    import resource

    from espalier.settings import Dedup
    from espalier.spill import cluster_documents

    begun = time.perf_counter()
    found = cluster_documents(Path(file), Path(scratch), settings=Dedup(THRESHOLD, WORDS, 128))
    seconds = time.perf_counter() - begun
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.1f} | {found.documents / seconds:,.0f} | {peak_gib:.2f} | {found.kept:,} | {found.largest_cluster}")


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            compare_systems()
        case ["scale", *rows]:
            scale(*(map(int, rows) if rows else SCALE))
        case ["one", file, scratch]:
            _one(file, scratch)
