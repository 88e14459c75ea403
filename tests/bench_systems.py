"""One way to find near duplicates, timed in a process of its own: `python -m tests.bench_systems SYSTEM corpus.jsonl ROWS` prints a line of JSON. See bench_dedup.py.

Each takes texts and gives the positions of those it would drop, at Jaccard similarity 0.8 of word 5-grams, 128 permutations and 2 processes or threads where it
has them. Words are cut at white space; the corpus has nothing else. Runs in the environment of its own system, so each imports only that.
"""

import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

THRESHOLD, WORDS, PERMUTATIONS, CORES = 0.8, 5, 128, 2


def ours(texts):
    import numpy as np

    from espalier.pairs import near_clusters
    from espalier.settings import Dedup

    firsts = near_clusters(texts, Dedup(THRESHOLD, WORDS, PERMUTATIONS))
    return np.flatnonzero(firsts != np.arange(len(texts))).tolist()


def spilled(texts):
    import polars as pl

    from espalier.settings import Dedup
    from espalier.spill import cluster_documents

    frame = pl.DataFrame({"id": [str(i) for i in range(len(texts))], "text": texts}, schema={"id": pl.String, "text": pl.String})
    with tempfile.TemporaryDirectory() as folder:
        cluster_documents((frame[at : at + 16_384] for at in range(0, len(texts), 16_384)), Path(folder), settings=Dedup(THRESHOLD, WORDS, PERMUTATIONS))
        return pl.read_parquet(f"{folder}/clusters/*.parquet").filter(~pl.col("stays"))["row"].to_list()


def datasketch_one_by_one(texts):
    from datasketch import MinHash

    return _index(_update(MinHash(num_perm=PERMUTATIONS), text) for text in texts)


def datasketch_batches(texts):
    """Signatures in two processes, whole batches at a time, tokens hashed by xxhash."""
    with multiprocessing.Pool(CORES) as pool:
        parts = pool.map(_bulk, [texts[at : at + 2000] for at in range(0, len(texts), 2000)], chunksize=1)
    return _index(one for part in parts for one in part)


def rensa(texts):
    from rensa import RMinHashDeduplicator

    index = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=PERMUTATIONS, use_lsh=True)
    keep = index.add_pairs((str(i), _grams(text)) for i, text in enumerate(texts))
    return [i for i, stays in enumerate(keep) if not stays]


def semhash(texts):
    """With its default index and threshold. Its model comes from a hub, so it gets one of the same kind and size with random vectors: that is as fast."""
    import numpy as np
    from model2vec import StaticModel
    from semhash import SemHash
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = sorted({word for text in texts for word in text.split()})
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["[UNK]", *words])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    vectors = np.random.default_rng(0).normal(size=(len(words) + 1, 256)).astype(np.float32)
    records = [{"text": text, "id": str(i)} for i, text in enumerate(texts)]
    result = SemHash.from_records(records, columns=["text"], model=StaticModel(vectors, tokenizer)).self_deduplicate()
    return [int(one.record["id"]) for one in result.filtered]


def text_dedup(texts):
    """Its command line, on a JSON file, with the faster of its two hash functions."""
    from datasets import load_from_disk
    from text_dedup.minhash import main

    with tempfile.TemporaryDirectory() as folder:
        _write(texts, f"{folder}/in.jsonl")
        main(
            ["--path", "json", "--data_files", f"{folder}/in.jsonl", "--split", "train", "--cache_dir", f"{folder}/cache", "--output", f"{folder}/out", "--column", "text",
             "--ngram", str(WORDS), "--num_perm", str(PERMUTATIONS), "--threshold", str(THRESHOLD), "--hash_func", "xxh3", "--num_proc", str(CORES)],
            standalone_mode=False,
        )  # fmt: skip
        kept = set(load_from_disk(f"{folder}/out")["id"])
    return [i for i in range(len(texts)) if str(i) not in kept]


def datatrove(texts):
    """Its four steps with its own settings (14 bands x 8 rows, English words by spaCy) under its local executor."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=WORDS)
    with tempfile.TemporaryDirectory() as folder:
        half = len(texts) // 2
        for part, (a, b) in enumerate([(0, half), (half, len(texts))]):
            _write(texts[a:b], f"{folder}/in/{part}.jsonl", first=a)
        steps = {
            "signatures": ([JsonlReader(f"{folder}/in"), MinhashDedupSignature(f"{folder}/signatures", config=config)], CORES),
            "buckets": ([MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)], config.num_buckets),
            "clusters": ([MinhashDedupCluster(f"{folder}/buckets", f"{folder}/remove", config=config)], 1),
            "filter": ([JsonlReader(f"{folder}/in"), MinhashDedupFilter(f"{folder}/remove"), JsonlWriter(f"{folder}/out", compression=None)], CORES),
        }
        for name, (pipeline, tasks) in steps.items():
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=CORES, logging_dir=f"{folder}/logs/{name}").run()
        kept = {json.loads(line)["id"] for file in Path(folder, "out").glob("*") for line in file.open()}
    return [i for i in range(len(texts)) if str(i) not in kept]


def _grams(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + WORDS]) for i in range(len(words) - WORDS + 1)]


def _update(minhash, text):
    for gram in _grams(text):
        minhash.update(gram.encode())
    return minhash


def _bulk(texts):
    from datasketch import MinHash
    from xxhash import xxh32_intdigest

    return MinHash.bulk([[gram.encode() for gram in _grams(text)] for text in texts], num_perm=PERMUTATIONS, hashfunc=xxh32_intdigest)


def _index(minhashes):
    """Those that resemble an earlier one, by datasketch's index as it comes."""
    from datasketch import MinHashLSH

    index, dropped = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS), []
    for i, minhash in enumerate(minhashes):
        if index.query(minhash):
            dropped.append(i)
        else:
            index.insert(i, minhash)
    return dropped


def _write(texts: Sequence[str], file: str, *, first: int = 0) -> None:
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts, first)))


SYSTEMS = {
    "ours": ours, "ours, spilled": spilled, "datasketch, one MinHash a document": datasketch_one_by_one, "datasketch, batches, 2 processes": datasketch_batches, "rensa": rensa,
    "semhash": semhash, "text-dedup": text_dedup, "datatrove": datatrove,
}  # fmt: skip


def main(name: str, corpus: str, rows: str) -> None:
    """Print seconds to start (imports, and compiled code fetched by a first small call), seconds for the rows, peak memory and what would be dropped."""
    with open(corpus) as lines:
        texts = [json.loads(line)["text"] for _, line in zip(range(int(rows)), lines, strict=False)]
    read_s = time.perf_counter()
    SYSTEMS[name](texts[:50])
    start_s = time.perf_counter() - read_s
    begun = time.perf_counter()
    dropped = SYSTEMS[name](texts)
    seconds = time.perf_counter() - begun
    peak_mib = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
    print("\n" + json.dumps({"start_s": start_s, "seconds": seconds, "peak_mib": peak_mib, "dropped": dropped}))


if __name__ == "__main__":
    main(*sys.argv[1:])
