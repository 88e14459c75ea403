"""Near duplicates in texts that nobody here wrote."""

import gzip
import json

import numpy as np
import pytest

from espalier.pairs import near_clusters
from espalier.settings import Dedup
from tests.closure import ROOT

ARTICLES, LADDER = (ROOT.parent / f"shared/data/{name}" for name in ("minhash_articles", "gpteacher_dedup_ladder"))


def unpacked(path):
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    return gzip.decompress(path.read_bytes()).decode()


@pytest.mark.parametrize(("n", "pairs"), [(100, 5), (1000, 10), (2500, 20)])
@pytest.mark.parametrize("words", [3, 5])
def test_the_near_copies_among_news_articles_are_all_found_and_nothing_else(n, pairs, words):
    names, texts = zip(*(line.split(" ", 1) for line in unpacked(ARTICLES / f"articles_{n}.train.gz").splitlines()), strict=True)
    truth = {frozenset(line.split()) for line in unpacked(ARTICLES / f"articles_{n}.truth.gz").splitlines() if line.strip()}
    firsts = near_clusters(texts, Dedup(0.6, words, 128))  # truth lies at 0.96 and above, other pairs at 0.21 and below
    assert {frozenset((names[first], names[i])) for i, first in enumerate(firsts) if first != i} == truth
    assert len(truth) == pairs


def kept_and_largest(texts, threshold):
    firsts = near_clusters(texts, Dedup(threshold, 3, 128))
    return len(set(firsts.tolist())), int(np.bincount(firsts).max())


def test_a_ladder_of_thresholds_drops_what_somebody_else_dropped_and_more_the_lower_it_goes():
    records = json.loads(unpacked(LADDER / "toolformer-dedupe-only-dataset.json.gz"))
    texts, found = [" ".join(record.values()) for record in records], []
    for threshold in (0.9, 0.8, 0.7, 0.6):
        reference = {json.dumps(record) for record in json.loads(unpacked(LADDER / f"toolformer-similarity-{threshold}-dataset.json.gz"))}
        theirs = np.array([json.dumps(record) not in reference for record in records])
        ours = near_clusters(texts, Dedup(threshold, 3, 128)) != np.arange(len(texts))
        found.append((int(ours.sum()), np.mean(ours[theirs]) / np.mean(ours[~theirs])))
    dropped, lift = zip(*found, strict=True)
    assert sorted(dropped) == list(dropped)
    assert min(lift) > 1.2  # theirs is another measure; what they dropped is dropped here more often than what they kept, at every step


def test_boilerplate_swallows_whole_records_and_the_largest_cluster_tells_so():
    """Most instructions begin with the same lines on how to call a tool; only their last line and the input differ."""
    records = json.loads(unpacked(LADDER / "toolformer-dedupe-only-dataset.json.gz"))
    whole = kept_and_largest([" ".join(record.values()) for record in records], 0.6)
    varying = kept_and_largest([f"{record['instruction'].splitlines()[-1]} {record['input']} {record['output']}" for record in records], 0.6)
    assert len(records) == 7673
    assert whole == (pytest.approx(1467, abs=15), pytest.approx(990, abs=10))  # 81 % gone
    assert varying == (pytest.approx(6654, abs=15), pytest.approx(41, abs=5))  # 13 % gone
