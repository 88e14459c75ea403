import random

import numpy as np
import polars as pl
import pytest

from espalier import spill
from espalier.errors import CorruptInput, EspalierError, InputMissing
from espalier.pairs import near_clusters
from espalier.settings import Dedup
from espalier.spill import Found, cluster_documents
from tests.test_pairs import edited

SETTINGS = Dedup(0.7, 3, 128)


def documents(n=600):
    """Frames of edited texts with some exact copies, an empty text twice, and others between."""
    texts = [*(f"{frame}{text}" for frame in "ab" for text in edited(n // 3, seed=ord(frame))), "", *edited(n // 6, seed=9, words=20), "", *edited(n // 6, seed=9, words=20)]
    random.Random(1).shuffle(texts)
    return pl.DataFrame({"id": [f"d{i:05}" for i in range(len(texts))], "text": texts})


def batches(frame, rows):
    return (frame[at : at + rows] for at in range(0, frame.height, rows))


def clusters(scratch):
    return pl.read_parquet(scratch / "clusters" / "*.parquet")


@pytest.mark.parametrize("rows", [50, 1000])
def test_clusters_are_those_that_are_found_in_memory(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(spill, "BLOCK_MEMBERS", 40)  # so that most bands are verified in several blocks
    monkeypatch.setattr(spill, "PART_ROWS", 120)  # and spilled in several files
    frame = documents()
    found = cluster_documents(batches(frame, rows), tmp_path, settings=SETTINGS)
    firsts = near_clusters(frame["text"].to_list(), SETTINGS)
    table = clusters(tmp_path)
    assert table["id"].to_list() == frame["id"].to_list()
    assert table["row"].to_list() == [*range(frame.height)]
    assert table["cluster"].to_list() == firsts.tolist()
    assert table["stays"].to_list() == (firsts == np.arange(len(firsts))).tolist()
    copies = frame.height - frame["text"].n_unique()
    assert found == Found(frame.height, len(set(firsts.tolist())), copies, int(np.bincount(firsts).max()))
    assert 100 < copies < frame.height - found.kept


def test_a_parquet_file_gives_what_its_batches_give(tmp_path):
    frame = documents()
    frame.with_columns(other=1).write_parquet(tmp_path / "documents.parquet")
    one = cluster_documents(tmp_path / "documents.parquet", tmp_path / "one", settings=SETTINGS)
    two = cluster_documents(batches(frame, 77), tmp_path / "two", settings=SETTINGS)
    assert one == two
    assert clusters(tmp_path / "one").equals(clusters(tmp_path / "two"))


def test_nothing_but_the_clusters_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(spill, "PART_ROWS", 25)
    cluster_documents(batches(documents(60), 25), tmp_path, settings=SETTINGS)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["clusters", *(f"clusters/00000{i}.parquet" for i in range(3))]


def test_the_first_document_of_a_cluster_stays(tmp_path):
    text = " ".join(f"w{i}" for i in range(30))
    frame = pl.DataFrame({"id": ["z", "y", "x"], "text": [f"{text} .", "something else", f"{text} !"]})  # 28 of 30 3-grams shared
    assert cluster_documents([frame], tmp_path, settings=SETTINGS) == Found(3, 2, 0, 2)
    assert clusters(tmp_path).rows() == [("z", 0, 0, True), ("y", 1, 1, True), ("x", 2, 0, False)]


def test_no_documents_and_empty_batches(tmp_path):
    empty = documents(6).clear()
    assert cluster_documents([], tmp_path / "none", settings=SETTINGS) == Found(0, 0, 0, 0)
    assert cluster_documents([empty, documents(6)[:1], empty], tmp_path / "one", settings=SETTINGS) == Found(1, 1, 0, 1)
    assert clusters(tmp_path / "one").height == 1


def test_a_scratch_folder_that_holds_something_is_refused(tmp_path):
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(EspalierError, match="is not empty; name an empty folder"):
        cluster_documents([], tmp_path, settings=SETTINGS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_documents_that_cannot_be_read_are_named(tmp_path):
    def refusal(source):
        with pytest.raises(EspalierError) as caught:
            cluster_documents(source, tmp_path / "scratch", settings=SETTINGS)
        for left in sorted((tmp_path / "scratch").glob("*")):
            left.unlink()
        return type(caught.value), str(caught.value)

    (tmp_path / "broken").write_text("no parquet")
    kind, words = refusal(tmp_path / "broken")
    assert (kind, words.startswith(f"{tmp_path / 'broken'}: not a parquet file with the columns id and text (")) == (CorruptInput, True)
    assert refusal(tmp_path / "gone") == (InputMissing, f"{tmp_path / 'gone'}: no such file; name a parquet file with the columns id and text")
    kind, words = refusal([pl.DataFrame({"id": ["a", None], "text": ["b", "c"]})])
    assert (kind, "with nulls {'id': 1, 'text': 0}; wanted are id and text, both String and without null" in words) == (CorruptInput, True)
    kind, words = refusal([pl.DataFrame({"id": [1], "text": ["b"]})])
    assert (kind, "found columns {'id': Int64, 'text': String}" in words) == (CorruptInput, True)
