"""Two real processes (gloo, on the CPU) against one: the same training, and it goes on after a kill, a torn checkpoint and a full disk."""

import shutil

import pytest
import torch
from safetensors.torch import load_file

from espalier.errors import EspalierError, ParamsError
from espalier.launch import launch
from espalier.train import train_model
from tests.parallel_run import SPIKE, STEPS, run, run_with_spike
from tests.test_train import corpus, same, settings, tiny

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Weights and losses by the name of the run: one process, two with each sharding, and those that went on after a stop or a kill."""
    folder = tmp_path_factory.mktemp("parallel")
    run(folder, "ddp", name="one")
    run_with_spike(folder, "ddp", name="one spiked", sees=True)
    launch("tests.parallel_run", [str(folder), "whole"], processes=2)
    with pytest.raises(EspalierError, match=r"^one of 2 processes ended early \(exit code 1\); its own lines above say why$"):
        launch("tests.parallel_run", [str(folder), "killed"], processes=2)
    assert saved(folder, "ddp") == ["000000002", "000000004"]
    for name in ("torn", "unread"):
        shutil.copytree(folder / "checkpoints/ddp", folder / "checkpoints" / name)
    torn = folder / "checkpoints/torn/000000004/model.safetensors"
    torn.write_bytes(torn.read_bytes()[:-40])
    with pytest.raises(EspalierError, match=r"^one of 2 processes ended early \(exit code 1\); its own lines above say why$"):
        launch("tests.parallel_run", [str(folder), "full"], processes=2)
    assert saved(folder, "full") == ["000000002"]
    launch("tests.parallel_run", [str(folder), "resumed"], processes=2)
    return {file.stem: load_file(file) for file in folder.glob("*.safetensors")}


def saved(folder, name):
    return sorted(path.name for path in (folder / "checkpoints" / name).iterdir())


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_read_the_same_tokens_and_make_the_same_updates_as_one(made, sharding):
    """Losses of all steps agree only if every step has the same sequences; sums are in another order."""
    assert made[sharding]["losses"].tolist() == pytest.approx(made["one"]["losses"].tolist(), abs=1e-5)
    assert made[sharding].keys() == made["one"].keys()
    assert len(made["one"]["losses"]) == STEPS
    for name, tensor in made["one"].items():
        assert float((made[sharding][name] - tensor).abs().max()) < 1e-4, name


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_a_killed_or_stopped_run_of_two_processes_ends_with_the_bits_of_an_undisturbed_one(made, sharding):
    assert same(made[f"{sharding} resumed"], made[sharding])


@pytest.mark.parametrize("name", ["torn", "unread", "full"])
def test_two_processes_go_on_from_the_same_checkpoint_when_the_last_is_torn_or_unread_by_one_or_was_never_written(made, name):
    assert same(made[name], made["ddp"])


@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_an_update_is_left_out_in_both_processes_when_one_of_them_finds_a_spike(made, sharding):
    found, one = made[f"{sharding} spiked"], made["one spiked"]
    names = [name for name in found if name.startswith(f"{SPIKE} ")]
    assert len(names) == len(made["one"]) - 1  # all weights; `one` has the losses too
    for name in names:
        before = name.replace(f"{SPIKE} ", f"{SPIKE - 1} ")
        assert torch.equal(found[name], found[before])
        assert torch.equal(one[name], one[before])
    assert found["norms"].tolist()[:20] == pytest.approx(one["norms"].tolist()[:20], rel=1e-3)  # the same in whole and shared models


def test_a_step_that_cannot_be_shared_out_is_an_error(monkeypatch):
    monkeypatch.setattr("accelerate.Accelerator.num_processes", 3)
    with pytest.raises(ParamsError) as caught:
        train_model(tiny(), corpus(), settings(1, rows=4), seed=1, precision="fp32", checkpoints=None, progress=lambda step, steps: None)
    assert str(caught.value) == "params.yaml: a step has 4 sequences of 32 tokens, train.processes is 3; make batch_tokens a multiple of both"
