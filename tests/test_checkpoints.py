"""A run that stops goes on from its checkpoints, and ends with the weights of an undisturbed one."""

import errno
import json
import resource
from pathlib import Path

import pytest

from espalier import checkpoints
from espalier.errors import CorruptInput, DiskFull
from espalier.model import build_model
from espalier.ranges import BRANCHES
from espalier.settings import Model, Phase
from espalier.sizes import shape_of
from espalier.tokens import pack_by_branch
from espalier.train import Checkpoints, train_model
from tests.test_train import LENGTH, PAD, Stop, document, same, settings, stop_after, tiny, train, weights

# checkpoints


@pytest.fixture(scope="module")
def undisturbed():
    """Weights and curve of a run of 12 steps without checkpoints."""
    model = tiny()
    curve = train(model, settings(12))
    return weights(model), curve


def stopped(folder, *, after, every=3):
    """A run of 12 steps that ends in an error after some."""
    with pytest.raises(Stop):
        train(tiny(), settings(12), checkpoints=Checkpoints(folder, every), progress=stop_after(after))
    return sorted(path.name for path in folder.iterdir())


def resumed(folder):
    """Weights, curve and first step of the same run, started again with other weights in the model: all must come from the checkpoint."""
    return run_again(folder, seed=99)


def run_again(folder, *, seed=0):
    """Weights, curve and first step of the same run, started again."""
    model, heard = tiny(seed), []
    curve = train(model, settings(12), checkpoints=Checkpoints(folder, 3), progress=lambda step, steps: heard.append(step.step))
    return weights(model), curve, heard[0]


def test_checkpoints_change_no_bit_of_a_run(undisturbed, tmp_path):
    model = tiny()
    curve = train(model, settings(12), checkpoints=Checkpoints(tmp_path, 2))
    assert same(weights(model), undisturbed[0])
    assert curve == undisturbed[1]


@pytest.mark.parametrize(("after", "first"), [(5, 4), (6, 4), (8, 7), (11, 10)])
def test_a_run_that_stops_goes_on_and_ends_with_the_weights_of_an_undisturbed_one(undisturbed, tmp_path, after, first):
    """A step is reported before it is saved, so a run that stops at step 6 has saved step 3."""
    stopped(tmp_path, after=after)
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (first, True, undisturbed[1])


@pytest.mark.parametrize("after", [5, 8])
def test_a_run_with_phases_goes_on_in_the_phase_that_it_stopped_in(tmp_path, after):
    """Phases of 6, 3 and 3 steps; checkpoints in the first and at the end of it."""
    packed = pack_by_branch([document(6 + 7 * i % 24, 1 + i % 5) for i in range(60)], [i % 3 for i in range(60)], LENGTH, pad_id=PAD)
    phases = tuple(Phase((branch,), share, 0.3 if i else 0.0) for i, (branch, share) in enumerate(zip(BRANCHES, (0.5, 0.25, 0.25), strict=True)))

    def run(model, progress=lambda step, steps: None, **options):
        return train_model(model, packed, settings(12), seed=1, precision="fp32", progress=progress, phases=phases, **options)

    calm, model, heard = tiny(), tiny(99), []
    curve = run(calm, checkpoints=None)
    with pytest.raises(Stop):
        run(tiny(), stop_after(after), checkpoints=Checkpoints(tmp_path, 3))
    assert run(model, lambda step, steps: heard.append(step.step), checkpoints=Checkpoints(tmp_path, 3)) == curve
    assert (heard[0], same(weights(model), weights(calm))) == ((after - 1) // 3 * 3 + 1, True)
    mixed = tiny()
    assert train(mixed, settings(12), data=packed) != curve


def test_a_run_in_bf16_goes_on_as_well(tmp_path):
    calm, model = tiny(), tiny(99)
    train(calm, settings(12), precision="bf16")
    with pytest.raises(Stop):
        train(tiny(), settings(12), precision="bf16", checkpoints=Checkpoints(tmp_path, 3), progress=stop_after(8))
    train(model, settings(12), precision="bf16", checkpoints=Checkpoints(tmp_path, 3))
    assert same(weights(model), weights(calm))


def test_a_run_that_stops_before_its_first_checkpoint_starts_over(undisturbed, tmp_path):
    with pytest.raises(Stop):
        train(tiny(), settings(12), checkpoints=Checkpoints(tmp_path, 3), progress=stop_after(2))
    final, curve, began = run_again(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (1, True, undisturbed[1])


def test_a_run_may_stop_again_and_again(undisturbed, tmp_path):
    for after in (4, 7, 10):
        stopped(tmp_path, after=after)
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (10, True, undisturbed[1])


def test_the_two_newest_checkpoints_are_kept_and_none_of_the_last_step(tmp_path):
    assert stopped(tmp_path / "one", after=5) == ["000000003"]
    assert stopped(tmp_path / "four", after=11, every=2) == ["000000008", "000000010"]
    train(tiny(), settings(12), checkpoints=Checkpoints(tmp_path / "whole", 3))
    assert sorted(path.name for path in (tmp_path / "whole").iterdir()) == ["000000006", "000000009"]


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "curve.json"])
def test_a_torn_checkpoint_is_passed_over_for_the_one_before(undisturbed, tmp_path, file):
    assert stopped(tmp_path, after=7) == ["000000003", "000000006"]
    torn = tmp_path / "000000006" / file
    torn.write_bytes(torn.read_bytes()[:-40])
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (4, True, undisturbed[1])


def test_a_run_whose_checkpoints_are_all_torn_starts_over(undisturbed, tmp_path):
    for name in stopped(tmp_path, after=7):
        (tmp_path / name / "model.safetensors").unlink()
    final, curve, began = run_again(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (1, True, undisturbed[1])


def test_a_full_disk_ends_the_run_with_the_checkpoint_before_in_place(undisturbed, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_up(step, steps):
        if step.step == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (5000, before[1]))

    try:
        with pytest.raises(DiskFull) as caught:
            train(tiny(), settings(12), checkpoints=Checkpoints(tmp_path, 3), progress=fill_up)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value).startswith(f"{tmp_path}/000000006: the disk refused a checkpoint (")
    assert str(caught.value).endswith("; free some space and run again, training goes on from the one before")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000003"]
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (4, True, undisturbed[1])


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "curve.json"])
def test_a_disk_that_is_full_at_any_file_of_a_checkpoint_ends_the_run_with_the_ones_before_in_place(undisturbed, tmp_path, monkeypatch, file):
    """Half of the file is there when the system says ENOSPC, at the third checkpoint."""
    real_save, real_write = checkpoints.save_file, Path.write_text

    def refuse(path):
        if path.name == file and len(list(tmp_path.glob("[0-9]*"))) == 2:
            path.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", lambda tensors, path: refuse(path) or real_save(tensors, path))
    monkeypatch.setattr(Path, "write_text", lambda path, text: refuse(path) or real_write(path, text))
    with pytest.raises(DiskFull) as caught:
        train(tiny(), settings(12), checkpoints=Checkpoints(tmp_path, 3))
    monkeypatch.undo()
    assert str(caught.value) == (
        f"{tmp_path}/000000009: the disk refused a checkpoint ([Errno 28] No space left on device); "
        "free some space and run again, training goes on from the one before"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000003", "000000006"]
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (7, True, undisturbed[1])


def test_a_run_says_which_checkpoint_it_goes_on_from_and_which_it_passes_over(tmp_path, capsys):
    stopped(tmp_path, after=7)
    (tmp_path / "000000006" / "curve.json").write_text("[[1, 2")
    resumed(tmp_path)
    passed, goes_on = capsys.readouterr().err.splitlines()
    assert passed.startswith(f"train: {tmp_path}/000000006 cannot be read (Expecting ")
    assert passed.endswith("); the checkpoint before it is taken, if there is one")
    assert goes_on == f"train: goes on after step 3, from {tmp_path}/000000003"


def test_a_file_that_is_gone_from_the_last_checkpoint_is_named(undisturbed, tmp_path, capsys):
    stopped(tmp_path, after=7)
    (tmp_path / "000000006" / "optimizer.safetensors").unlink()
    final, curve, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0]), curve) == (4, True, undisturbed[1])
    assert "000000006/optimizer.safetensors" in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize(
    ("shape", "words", "found"),
    [
        (Model(32, 2, 64, 64), 31, "model.embed_tokens.weight is 30 x 32, here 31 x 32"),
        (Model(32, 2, 96, 64), 30, "model.layers.0.mlp.gate_proj.weight is 64 x 32, here 96 x 32"),
        (Model(32, 3, 64, 64), 30, "model.layers.2.self_attn.q_proj.weight is missing, here 32 x 32"),
    ],
)
def test_a_checkpoint_of_another_model_is_refused_and_nothing_of_it_is_taken(tmp_path, shape, words, found):
    stopped(tmp_path, after=5)
    other = build_model(shape_of(shape), vocabulary=words, pad_id=PAD, end_id=2, seed=0)
    before = weights(other)
    with pytest.raises(CorruptInput) as caught:
        train(other, settings(12), checkpoints=Checkpoints(tmp_path, 3))
    assert str(caught.value) == f"{tmp_path}/000000003: holds another model ({found}); set back what was changed, or remove {tmp_path}"
    assert same(weights(other), before)


def test_what_a_killed_write_left_does_not_disturb(undisturbed, tmp_path):
    stopped(tmp_path, after=4)
    (tmp_path / ".writing").mkdir()
    (tmp_path / ".writing" / "model.safetensors").write_bytes(b"half")
    final, _, began = resumed(tmp_path)
    assert (began, same(final, undisturbed[0])) == (4, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000000006", "000000009"]


def test_a_checkpoint_is_safetensors_and_json(tmp_path):
    stopped(tmp_path, after=5)
    assert sorted(path.name for path in (tmp_path / "000000003").iterdir()) == ["curve.json", "model.safetensors", "optimizer.safetensors"]
    curve = json.loads((tmp_path / "000000003" / "curve.json").read_text())
    assert [(step, tokens) for step, tokens, *_ in curve] == [(1, 64), (2, 128), (3, 192)]
