"""Nested parts of the training text, and the students that the stage train makes of them."""

import io
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

import espalier.train
import stages.train
from espalier.errors import ParamsError
from espalier.io import read_json, read_rows, write_bytes
from espalier.nested import Part, count_text_tokens, nested_parts
from espalier.settings import Model
from espalier.sizes import SIZES, shape_of, train_flops
from espalier.tokens import Document, Packed, pack, save_chat, word_chat
from tests.worlds import tiny_params, with_params


def numbered(n, length=4):
    """N sequences whose tokens are their number; the last token of the even ones is padding."""
    tokens = np.repeat(np.arange(n, dtype=np.uint32)[:, None], length, axis=1)
    documents = np.zeros((n, length), dtype=np.int32)
    documents[::2, -1] = -1
    return Packed(tokens, documents, documents == 0)


def sequences(part):
    return [int(row[0]) for row in part.tokens_NT[np.arange(len(part.tokens_NT))]]


def test_a_smaller_part_is_the_beginning_of_a_larger_one_and_no_sequence_comes_twice():
    small, middle, large = map(sequences, nested_parts(numbered(40), (0.1, 0.25, 0.9), seed=1))
    assert [len(small), len(middle), len(large)] == [4, 10, 36]
    assert middle[:4] == small
    assert large[:10] == middle
    assert len(set(large)) == 36


def test_the_parts_of_another_seed_are_others():
    first, again, other = (sequences(nested_parts(numbered(200), (0.5,), seed=seed)[0]) for seed in (1, 1, 2))
    assert first == again
    assert 30 < len(set(first) & set(other)) < 70  # by chance 50


def test_every_sequence_has_the_same_chance_to_be_in_a_part():
    drawn = np.zeros(20)
    for seed in range(400):
        drawn[sequences(nested_parts(numbered(20), (0.25,), seed=seed)[0])] += 1
    assert drawn.sum() == 400 * 5
    assert abs(drawn - 100).max() < 4 * (400 * 0.25 * 0.75) ** 0.5  # four standard deviations


def test_a_part_keeps_tokens_documents_and_targets_together():
    data = numbered(40)
    [part] = nested_parts(data, (0.25,), seed=3)
    for place, sequence in enumerate(sequences(part)):
        for ours, whole in zip((part.tokens_NT, part.documents_NT, part.targets_NT), (data.tokens_NT, data.documents_NT, data.targets_NT), strict=True):
            assert np.array_equal(ours[np.array([place])], whole[sequence : sequence + 1])


def test_a_part_has_the_shape_and_rows_of_the_array_that_it_stands_for():
    array, places = np.arange(24).reshape(6, 4), np.array([5, 0, 3])
    part, copied = Part(array, places), array[places]
    assert (part.shape, len(part), part.max()) == (copied.shape, len(copied), 23)
    for rows in (slice(0, 2), slice(1, 9), np.array([2, 2, 0])):
        assert np.array_equal(part[rows], copied[rows])
    assert Part(numbered(10_000).tokens_NT, np.arange(10_000)).max() == 9_999  # more rows than are looked through at a time


def test_text_tokens_are_counted_without_padding():
    assert count_text_tokens(numbered(10_000)) == 10_000 * 4 - 5_000
    [part] = nested_parts(numbered(10_000), (0.5,), seed=1)
    assert count_text_tokens(part) == 5_000 * 4 - sum(sequence % 2 == 0 for sequence in sequences(part))


@pytest.mark.parametrize(("shares", "sizes"), [((0.01, 0.5), "[0, 5]"), ((0.5, 0.52), "[5, 5]"), ((0.5, 0.99), "[5, 10]")])
def test_text_too_short_to_tell_the_parts_apart_is_refused(shares, sizes):
    with pytest.raises(ParamsError) as refusal:
        nested_parts(numbered(10), shares, seed=1)
    assert str(refusal.value).startswith(f"params.yaml: train.sizes cuts 10 packed sequences into parts of {sizes}, which must differ")


# the stage


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A folder with the tokens of one recipe, for students of the smallest shape: 40 sequences of 128 tokens, 20 steps of 8."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(SIZES, "tiny", shape_of(Model(32, 1, 32, 128)))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    chat = word_chat([f"w{i}" for i in range(24)])
    data = pack([Document([4, *(6 + (i + j) % 24 for j in range(20 + i % 7)), 2], 5) for i in range(200)], 128, pad_id=chat.pad_id)
    for name, array in (("tokens", data.tokens_NT), ("documents", data.documents_NT), ("targets", data.targets_NT)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        write_bytes(f"data/tokens/lab/{name}.npy", buffer.getvalue())
    save_chat(chat, tmp_path / "data/tokens/lab", context_tokens=128)
    write_params(tmp_path)
    return tmp_path


def write_params(folder, **changes):
    (folder / "params.yaml").write_text(with_params(tiny_params(), {name.replace("__", "."): value for name, value in changes.items()}))


def train():
    return CliRunner().invoke(stages.train.main, ["lab", "1"])


def files(folder):
    """Every file under a folder, with its bytes."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_without_sizes_the_stage_leaves_the_student_and_its_curve_alone(study):
    assert train().exit_code == 0
    assert {name.split("/")[0] for name in files(study / "data/train/lab/1")} == {"model", "curve.parquet"}
    assert not (study / ".espalier/checkpoints").exists() or files(study / ".espalier/checkpoints") == {}
    numbers = read_json("metrics/train/lab/1.json")["train"]["lab"]["1"]
    shape = SIZES["tiny"]
    assert (numbers["tokens"], numbers["flops"]) == (20_480, 20_480 * train_flops(shape, 30, 128))


def test_sizes_add_students_of_nested_parts_with_as_many_epochs_and_change_no_byte_of_the_whole(study):
    assert train().exit_code == 0
    alone, metrics = files(study / "data/train/lab/1"), (study / "metrics/train/lab/1.json").read_bytes()
    write_params(study, train__sizes="[0.25, 0.5]")
    assert train().exit_code == 0
    together = files(study / "data/train/lab/1")
    assert {name: data for name, data in together.items() if not name.startswith("sizes")} == alone
    assert (study / "metrics/train/lab/1.json").read_bytes() == metrics
    models = [together[f"sizes/{share}/model/model.safetensors"] for share in ("0.25", "0.5")] + [alone["model/model.safetensors"]]
    assert len(set(models)) == 3
    table = read_rows(study / "data/train/lab/1/sizes.parquet")
    n = len(np.load(study / "data/tokens/lab/tokens.npy"))
    assert table["share"].to_list() == [0.25, 0.5, 1.0]
    assert table["sequences"].to_list() == [round(n / 4), round(n / 2), n]
    assert table["tokens"].to_list() == [5 * 1024, 10 * 1024, 20 * 1024]
    assert table["text_tokens"].to_list()[-1] == sum(20 + i % 7 + 2 for i in range(200))
    assert table["text_tokens"].is_sorted()


def test_a_stage_killed_in_its_second_student_makes_few_steps_again_and_ends_in_the_same_bytes(study, monkeypatch):
    write_params(study, train__sizes="[0.25, 0.5]")
    assert train().exit_code == 0
    calm, saved = files(study / "data/train/lab/1"), []

    def dies(model, folder):
        saved.append(folder)
        if len(saved) == 2:
            raise KeyboardInterrupt
        return whole(model, folder)

    whole = stages.train.save_model
    monkeypatch.setattr(stages.train, "save_model", dies)
    assert train().exit_code == 130
    monkeypatch.setattr(stages.train, "save_model", whole)
    shutil.rmtree(study / "data/train")  # as dvc does before a stage
    steps, step = [], espalier.train._step
    monkeypatch.setattr(espalier.train, "_step", lambda *given, **named: steps.append(1) or step(*given, **named))
    assert train().exit_code == 0
    assert files(study / "data/train/lab/1") == calm
    assert len(steps) == 5 + 5 + 10  # of 20, 5 and 10: the whole goes on from step 15, the quarter had no checkpoint before its last step
