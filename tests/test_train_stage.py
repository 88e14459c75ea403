"""The stage train from its files to its files: what it says, what it leaves, and how it ends on bad input."""

import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from espalier.order import branch_number
from espalier.tokens import encode_samples, pack, pack_by_branch, save_chat, word_chat
from stages.train import main
from tests.closure import ROOT
from tests.worlds import tiny_params

CHAT = word_chat([f"w{i}" for i in range(40)])
LEAVES = ["knowledge/a", "foundational_skills/b", "compositional_skills/c"]
STEPS = {"train.optimizer.tokens": "6144"}
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
PHASES = (
    "[{branches: [knowledge], share: 0.5, replay: 0}, {branches: [foundational_skills], share: 0.25, replay: 0.2}, "
    "{branches: [compositional_skills], share: 0.25, replay: 0.2}]"
)


def documents(n=300):
    prompts = [(("user", f"w{i % 40} w{7 * i % 40}"),) for i in range(n)]
    return encode_samples(CHAT, prompts, [f"w{(i + 1) % 40} w{(i + 2) % 40}" for i in range(n)])


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with params.yaml and the packed tokens of recipe lab; 6 steps, a checkpoint after the fifth."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "params.yaml").write_text(tiny_params(**STEPS))
    write_tokens(tmp_path, pack(documents(), 128, pad_id=CHAT.pad_id))
    return tmp_path


def write_tokens(folder, packed, chat=CHAT):
    source = folder / "data/tokens/lab"
    save_chat(chat, source, context_tokens=128)
    for name in ("tokens", "documents", "targets", "branches"):
        array = getattr(packed, f"{name}_N" if name == "branches" else f"{name}_NT")
        if array is not None:
            np.save(source / f"{name}.npy", array)


def train(seed="1"):
    """Exit code and lines of talk."""
    result = CliRunner().invoke(main, ["lab", seed])
    return result.exit_code, result.stderr.splitlines()


def left(folder):
    """Weights, curve and metrics, as bytes."""
    out = folder / "data/train/lab/1"
    return (out / "model/model.safetensors").read_bytes(), (out / "curve.parquet").read_bytes(), (folder / "metrics/train/lab/1.json").read_bytes()


def test_a_run_says_what_it_will_take_and_then_what_came_of_it(place):
    code, lines = train()
    assert code == 0, lines
    assert re.fullmatch(r"train: 343,776 parameters on [\d,]+ packed tokens of lab, seed 1, 6,144 tokens in all", lines[0]), lines[0]
    # 6,144 tokens x (6 x (3 x (4 x 96 x 96 + 3 x 96 x 264) + 46 x 96) + 6 x 3 x 96 x 129) = 14.02e9
    assert re.fullmatch(
        r"train: 6 steps of 8 sequences of 128 tokens, 14\.02 GFLOP in all; memory: 1\.0 GiB expected in a process "
        r"\(8 sequences at a time, 1 GiB for libraries\), [\d.]+ GiB free: fits",
        lines[1],
    ), lines[1]
    assert re.fullmatch(r"train: MFU is the share of [\d.]+ GFLOP/s in (fp32|bf16), the peak measured on this machine", lines[2]), lines[2]
    assert lines[-2].startswith("train: last loss ")
    assert not (place / ".espalier/checkpoints").exists() or not list((place / ".espalier/checkpoints").iterdir())


def test_live_plots_change_no_byte_of_what_is_left(place, monkeypatch):
    train()
    plain = left(place)
    assert not (place / "runs/live").exists()  # no DVC repository here
    monkeypatch.setenv("DVC_ROOT", str(place))
    monkeypatch.setattr("espalier.live.FIRST_S", 0.0)
    code, lines = train()
    assert code == 0, lines
    assert left(place) == plain
    assert sorted(path.name for path in (place / "runs/live/train/lab/1/plots/metrics").iterdir()) == [
        "gradient_norm.tsv", "learning_rate.tsv", "loss_nats.tsv", "tokens_s.tsv",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_stage_killed_three_times_leaves_the_bytes_of_an_undisturbed_one(place):
    """By SIGKILL, whenever one, three and five checkpoints have been written; one is written at every step."""
    (place / "params.yaml").write_text(tiny_params(**{"train.optimizer.tokens": "16384", "train.checkpoint_steps": "1"}))
    assert train()[0] == 0
    calm = left(place)
    shutil.rmtree(place / "data/train")
    checkpoints, command = place / ".espalier/checkpoints", [sys.executable, "-m", "stages.train", "lab", "1"]
    for step in (1, 3, 5):
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while process.poll() is None and newest(checkpoints) < step:
            time.sleep(0.002)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not (place / "data/train").exists()
    before = newest(checkpoints)
    code, lines = train()
    assert code == 0, lines
    assert f"train: goes on after step {before}, from .espalier/checkpoints/" in "\n".join(lines)
    assert left(place) == calm


@pytest.mark.slow
def test_two_nodes_leave_the_bytes_of_two_processes_of_one(place, monkeypatch):
    (place / "params.yaml").write_text(tiny_params(**STEPS, **{"train.processes": "2"}))
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    assert train()[0] == 0
    of_one_node = left(place)
    shutil.rmtree(place / "data/train")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        meeting = ["--nnodes", "2", "--nproc-per-node", "1", "--master-addr", "127.0.0.1", "--master-port", str(one.getsockname()[1])]
    command = [sys.executable, "-m", "torch.distributed.run", *meeting]
    nodes = [subprocess.Popen([*command, "--node-rank", rank, "-m", "stages.train", "lab", "1"], env=ENVIRONMENT, stderr=subprocess.DEVNULL) for rank in "01"]
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]
    assert left(place) == of_one_node


def newest(checkpoints):
    """The step of the newest checkpoint of the only run; 0 before the first."""
    return max((int(path.name) for path in checkpoints.glob("*/[0-9]*")), default=0)


def test_phases_are_read_from_tokens_that_are_packed_by_branch(place):
    train()
    mixed = left(place)
    (place / "params.yaml").write_text(tiny_params(**STEPS, **{"tokens.by_branch": "true", "train.phases": PHASES}))
    code, lines = train()
    assert (code, lines[-1]) == (3, "train@lab-1: data/tokens/lab/branches.npy: no such file; make it with `dvc repro tokens@lab`")
    write_tokens(place, pack_by_branch(documents(), [branch_number(LEAVES[i % 3]) for i in range(300)], 128, pad_id=CHAT.pad_id))
    assert train()[0] == 0
    assert left(place)[0] != mixed[0]
    assert json.loads(left(place)[2])["train"]["lab"]["1"]["tokens"] == json.loads(mixed[2])["train"]["lab"]["1"]["tokens"] == 6_144


# what goes wrong


def test_a_context_longer_than_the_models_is_refused(place):
    write_tokens(place, pack(documents(), 256, pad_id=CHAT.pad_id))
    assert train() == (2, ["train@lab-1: params.yaml: tokens.context_tokens is 256, but the model sees 128; lower it, or take a larger model"])


def test_tokens_of_another_tokenizer_are_refused(place):
    write_tokens(place, pack(documents(), 128, pad_id=CHAT.pad_id), chat=word_chat(["w1", "w2"]))
    code, lines = train()
    assert (code, lines) == (1, [
        "train@lab-1: train: the training set holds token 45, but the model's tokenizer has 8 (0 .. 7); it was packed with another one: "
        "run `dvc repro`, which packs it again"
    ])  # fmt: skip


def test_a_training_set_without_sequences_is_refused(place):
    write_tokens(place, pack([], 128, pad_id=CHAT.pad_id))
    code, lines = train()
    assert (code, lines) == (1, [
        "train@lab-1: train: the training set holds no sequences; run `dvc repro`, so that the stages before fill it or say why they cannot"
    ])  # fmt: skip


@pytest.mark.parametrize("name", ["tokens", "documents", "targets"])
def test_a_torn_array_is_named(place, name):
    file = place / f"data/tokens/lab/{name}.npy"
    file.write_bytes(file.read_bytes()[:-100])
    code, lines = train()
    assert code == 1
    assert lines[0].startswith(f"train@lab-1: data/tokens/lab/{name}.npy: not a readable array (")


def test_arrays_of_different_lengths_are_refused(place):
    buffer = io.BytesIO()
    np.save(buffer, np.load(place / "data/tokens/lab/targets.npy")[:-1])
    (place / "data/tokens/lab/targets.npy").write_bytes(buffer.getvalue())
    code, lines = train()
    assert code == 1
    assert re.fullmatch(r"train@lab-1: data/tokens/lab: its arrays hold (\d+) and \1 and \d+ sequences; run `dvc repro tokens@lab`", lines[0]), lines
