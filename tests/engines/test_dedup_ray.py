"""Near-duplicate clusters on a real cluster of two nodes on this machine: those of one process."""

import os

import polars as pl
import pytest

from espalier.teachers.cluster import VARIABLES

os.environ.update(VARIABLES)  # Ray reads them when it is imported
pytest.importorskip("ray.data", reason="ray is not installed here; `make test-vllm` has it")

import ray

from espalier.dedup_ray import ray_clusters
from espalier.pairs import near_clusters
from espalier.settings import Dedup
from tests.test_spill import documents

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning")  # Ray's own are not ours to mend

SETTINGS = Dedup(0.7, 3, 128)


def in_one_process(frame):
    """(id, smallest id of its cluster) of all documents that another is like."""
    rows = frame.sort("id")
    table = rows.select("id").with_columns(cluster=rows["id"].gather(near_clusters(rows["text"].to_list(), SETTINGS)))
    return table.filter(pl.len().over("cluster") > 1)


def test_two_nodes_find_the_clusters_of_one_process(cluster):
    frame = documents()
    dataset = ray.data.from_arrow([frame[at : at + 100].to_arrow() for at in range(0, frame.height, 100)])
    found = ray_clusters(dataset, settings=SETTINGS, partitions=5)
    assert found.equals(in_one_process(frame))
    assert found["cluster"].n_unique() < found.height - 100
    assert found.filter(pl.col("id") == pl.col("cluster")).height == found["cluster"].n_unique()  # the one that stays is in its cluster


def test_documents_that_are_all_different_and_copies_alone_are_no_trouble(cluster):
    different = ray.data.from_items([{"id": f"d{i}", "text": f"word{i} and{i} more{i}"} for i in range(20)])
    copies = ray.data.from_items([{"id": f"d{i}", "text": f"word{i % 2} and{i % 2} more{i % 2}"} for i in range(6)])
    assert ray_clusters(different, settings=SETTINGS, partitions=3).rows() == []
    assert ray_clusters(copies, settings=SETTINGS, partitions=3).rows() == [("d0", "d0"), ("d1", "d1"), ("d2", "d0"), ("d3", "d1"), ("d4", "d0"), ("d5", "d1")]
