"""Neighbours: nearest similarity and groups of one subject."""

import math

import numpy as np
import polars as pl
import pytest

from espalier.errors import ParamsError
from espalier.scorers.clusters import by_first_row, spherical_clusters, unit
from espalier.scorers.cosines import nearest_dense, nearest_sparse
from espalier.scorers.embeddings import open_encoder
from espalier.scorers.neighbours import SCHEMA, neighbour_columns, neighbours
from espalier.scorers.tfidf import term_counts, unit_rows

SUBJECTS = ("bread dough oven flour yeast crust bake loaf", "ship sail mast harbour wind deck anchor keel", "sum digit carry add number plus total equal")


def found(texts, *, clusters=3, seed=1, ids=None):
    similarity, cluster = neighbours(texts, ids or [f"r{i:05}" for i in range(len(texts))], clusters=clusters, seed=seed)
    return similarity.tolist(), cluster.tolist()


def sentences(n, *, seed=0):
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(SUBJECTS[i % 3].split(), 12)) for i in range(n)]


def dense(texts):
    counts, _ = term_counts(texts)
    return unit_rows(counts, np.bincount(counts.indices, minlength=counts.shape[1]), len(texts))


def test_the_cosine_is_the_one_worked_out_by_hand():
    # terms: a b, "a b" | a c, "a c" | d. ln(4 / 2) for a, ln(4 / 1) for all others; a alone is common to rows 1 and 2
    common, own = math.log(4 / 2), math.log(4 / 1)
    by_hand = common**2 / (common**2 + 2 * own**2)  # 1 / (1 + 2 * 4) = 1 / 9, for ln 4 is 2 ln 2
    assert by_hand == pytest.approx(1 / 9)
    assert found(["a b", "a c", "d"])[0] == [pytest.approx(1 / 9, abs=1e-6), pytest.approx(1 / 9, abs=1e-6), 0.0]


def test_a_word_that_comes_twice_weighs_1_and_ln_2():
    # row 1: a twice and "a a"; row 2: a and b and "a b"; idf ln(3/2) of a, ln 3 of the others
    common, own, twice = math.log(3 / 2), math.log(3), 1 + math.log(2)
    cosine = twice * common**2 / math.hypot(twice * common, own) / math.hypot(common, own, own)
    assert found(["a a", "a b"])[0] == [pytest.approx(cosine, abs=1e-6)] * 2


def test_the_search_finds_what_a_comparison_of_all_with_all_finds():
    draw = np.random.default_rng(3)
    lexicon = [f"w{i}" for i in range(300)]
    chances = 1 / np.arange(1, 301)
    texts = [" ".join(draw.choice(lexicon, draw.integers(1, 30), p=chances / chances.sum())) for _ in range(700)]
    rows = dense(texts)
    products = (rows @ rows.T).toarray().astype(float)
    np.fill_diagonal(products, 0)
    assert nearest_sparse(rows) == pytest.approx(np.minimum(products.max(axis=1), 1), abs=2e-6)


def test_the_order_of_two_words_and_marks_count():
    assert found(["3 + 4", "4 + 3"])[0][0] < 0.9
    assert found(["3 + 4", "3 - 4"])[0][0] < 0.9


def test_copies_have_similarity_1_and_one_cluster():
    texts = [*sentences(30), "Red moon, rising", "red  MOON ,rising"]
    similarity, cluster = found(texts)
    assert similarity[-2:] == [1.0, 1.0]
    assert cluster[-2] == cluster[-1]


def test_the_order_of_the_rows_does_not_matter():
    texts, ids = [*sentences(300), "", "", "zebra"], [f"r{i:05}" for i in range(303)]
    order = np.random.default_rng(5).permutation(303)
    similarity, cluster = neighbours(texts, ids, clusters=7, seed=1)
    other, groups = neighbours([texts[i] for i in order], [ids[i] for i in order], clusters=7, seed=1)
    assert other.tobytes() == similarity[order].tobytes()
    assert groups.tobytes() == cluster[order].tobytes()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_clusters():
    one, same, other = (neighbours(sentences(200), [f"r{i:05}" for i in range(200)], clusters=9, seed=seed) for seed in (1, 1, 2))
    assert one[1].tobytes() == same[1].tobytes()
    assert one[1].tolist() != other[1].tolist()
    assert one[0].tobytes() == other[0].tobytes()


def test_groups_are_those_of_the_subjects():
    _, cluster = found(sentences(90), clusters=6)
    assert [len(set(zip(cluster, (i % 3 for i in range(90)), strict=True))), len(set(cluster))] == [6, 6]  # no group holds two subjects


def test_clusters_are_numbered_by_their_smallest_id():
    assert by_first_row(np.array([7, 2, 7, 9, 2])).tolist() == [0, 1, 0, 2, 1]
    _, cluster = neighbours(["blue sun", "red moon", "red moon"], ["c", "b", "a"], clusters=2, seed=1)
    assert cluster.tolist() == [1, 0, 0]


def test_texts_without_words_are_like_nothing_and_one_cluster():
    similarity, cluster = found(["", " \n", "red moon", "red sun"], clusters=1)
    assert (similarity[:2], cluster) == ([0.0, 0.0], [0, 0, 1, 1])


def test_texts_that_share_no_term_stay_alone_however_few_clusters_are_asked_for():
    assert found(["one", "two", "three", "red moon", "red sun"], clusters=1) [1] == [0, 1, 2, 3, 3]  # fmt: skip


def test_hostile_texts_are_measured_as_others_are():
    texts = ["\x00", "\x00", "\ud800 x", "\ud800 y", "a" * 10**6, "a" * 10**6, "a " * 500_000, "漢字 テスト", "\u202e\u200b"]
    similarity, cluster = found(texts)
    assert similarity[:2] == [1.0, 1.0]
    assert 0 < similarity[2] == similarity[3] < 1
    assert similarity[4:6] == [1.0, 1.0]
    assert similarity[6:8] == [0.0, 0.0]
    assert (cluster[0], cluster[4]) == (cluster[1], cluster[5])


@pytest.mark.parametrize("texts", [[], [""], ["one"]])
def test_too_few_texts_for_a_neighbour_have_none(texts):
    assert found(texts) == ([0.0] * len(texts), [0] * len(texts))


def test_a_frame_gets_two_columns_of_query_and_answer_whatever_its_context():
    frame = pl.DataFrame({"id": ["a", "b", "c"], "context": ["x", "y", "z"], "query": ["red", "red", "blue"], "answer": ["moon", "moon", "sun"]})
    added = neighbour_columns(frame, clusters=2, seed=1, embed=None)
    assert added.schema == SCHEMA
    assert added.rows() == [(1.0, 0), (1.0, 0), (0.0, 1)]
    assert neighbour_columns(frame.clear(), clusters=2, seed=1, embed=None).schema == SCHEMA


def test_vectors_of_a_model_take_the_place_of_words():
    angles = {"one": 0.0, "two": math.pi / 3, "three": math.pi}  # cosines 1/2 and -1/2, and -1
    similarity, _ = neighbours(
        [*angles, ""], ["a", "b", "c", "d"], clusters=2, seed=1, embed=lambda texts: np.array([[math.cos(angles[t]), math.sin(angles[t])] for t in texts])
    )
    assert similarity.tolist() == [pytest.approx(0.5, abs=1e-6), pytest.approx(0.5, abs=1e-6), 0.0, 0.0]


def test_vectors_of_no_length_are_like_nothing():
    rows = unit(np.array([[3.0, 4.0], [0.0, 0.0], [0.6, 0.8]], dtype=np.float32))
    assert nearest_dense(rows).tolist() == [pytest.approx(1.0), 0.0, pytest.approx(1.0)]
    labels = spherical_clusters(rows, 1, np.random.default_rng(0))
    assert labels.tolist() == [0, 2, 0]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A BERT of two layers and a vocabulary of letters, random weights."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    pieces = ["[PAD]", "[UNK]", *"abcdefghijklmnopqrstuvwxyz", *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz")]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 24}
    BertModel(BertConfig(vocab_size=len(pieces), **sizes)).save_pretrained(folder)
    return folder


def test_an_encoder_gives_the_mean_of_its_last_states(encoder):
    import torch
    from transformers import AutoModel, AutoTokenizer

    embed = open_encoder(str(encoder))
    rows = embed(["red moon rising", "sun", "x" * 1000])
    tokens = AutoTokenizer.from_pretrained(encoder)("sun", return_tensors="pt")
    with torch.inference_mode():
        mean = AutoModel.from_pretrained(encoder).eval()(**tokens).last_hidden_state[0].mean(0).numpy()
    assert rows.shape == (3, 16)
    assert rows[1] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)  # padding to the longest changes nothing
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_an_encoder_can_be_asked_by_the_scorer(encoder):
    embed = open_encoder(str(encoder))
    texts, ids = ["red moon", "red moon", "sun \ud800", "", "a ship"], list("abcde")
    one, two = (neighbours(texts, ids, clusters=2, seed=1, embed=embed) for _ in range(2))
    assert one[0][:2].tolist() == [1.0, 1.0]
    assert (one[0][3], one[1][0] == one[1][1]) == (0.0, True)
    assert one[0].tobytes() + one[1].tobytes() == two[0].tobytes() + two[1].tobytes()


def test_a_missing_encoder_is_named_with_its_setting(tmp_path):
    with pytest.raises(ParamsError, match=r"score\.embeddings is .*no/such/folder, which holds no model"):
        open_encoder(str(tmp_path / "no/such/folder"))


def test_a_pickle_is_refused(encoder, tmp_path):
    for file in encoder.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(ParamsError, match=r"score\.embeddings is .*cannot be loaded .*safetensors"):
        open_encoder(str(tmp_path))
