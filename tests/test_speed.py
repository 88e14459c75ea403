"""Tokens a second, MFU and memory; what a run is said to take before it begins; the words of the log lines."""

import re

import psutil
import pytest
import torch

from espalier.forecast import memory_words, run_words
from espalier.hardware import GIB, known_peak, step_memory
from espalier.params import parse_params
from espalier.sizes import SIZES
from espalier.speed import Meter, Pace, device_peak, measure_peak, peak_memory_bytes, room_bytes
from espalier.spikes import Spike
from espalier.train import Step
from espalier.training_log import TrainingLog, step_words
from tests.closure import ROOT
from tests.worlds import with_params

TEXT = (ROOT / "params.yaml").read_text()


def settings(**changes):
    return parse_params(with_params(TEXT, {name.replace("__", "."): value for name, value in changes.items()})).train


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def paces(seconds, tokens):
    """Tokens a second as said after each step, given the seconds between the steps and the tokens of each."""
    clock = Clock()
    meter, said, done = Meter(2.0, 1000.0, clock=clock), [], 0
    for second, more in zip(seconds, tokens, strict=True):
        clock.now_s += second
        done += more
        said.append(meter(done))
    return said


def test_the_pace_is_that_of_the_steps_since_the_first():
    said = paces([9, 2, 2], [100, 100, 300])
    assert [pace.tokens_s for pace in said] == [0, 50, 100]  # 100 / 2 s, 400 / 4 s: the 9 s before the first step do not count
    assert [pace.mfu for pace in said] == [0, 0.1, 0.2]  # 2 FLOP a token, a peak of 1,000 FLOP/s


def test_a_run_that_slows_down_shows_it_within_two_windows():
    said = paces([1] * 15 + [1] * 25, [1000] * 15 + [10] * 25)
    assert [round(said[i].tokens_s) for i in (14, 39)] == [1000, 10]


def test_peak_memory_is_that_of_this_process_in_mib():
    before_mib = peak_memory_bytes() / 2**20
    assert 100 < before_mib <= paces([1], [1])[0].memory_mib < 100_000


def test_the_peak_of_a_cpu_is_measured():
    """Between one and a hundred thousand billion operations a second."""
    peak, source = device_peak("fp32")
    assert 1e9 < peak < 1e14
    assert source == "the peak measured on this machine"
    assert measure_peak("fp32") == pytest.approx(peak, rel=0.9)


@pytest.mark.parametrize(
    ("card", "bf16", "fp32"),
    [
        ("NVIDIA GeForce RTX 4090", 165.2, 82.6), ("NVIDIA GeForce RTX 4090 Laptop GPU", 0, 0), ("NVIDIA GeForce RTX 3090 Ti", 0, 0),
        ("NVIDIA A100-SXM4-80GB", 312, 19.5), ("NVIDIA A10", 0, 0), ("NVIDIA H100 PCIe", 756, 51), ("NVIDIA H100 80GB HBM3", 989.4, 66.9),
        ("NVIDIA L40S", 362, 91.6), ("NVIDIA L4", 121, 30.3), ("NVIDIA L40", 0, 0), ("Tesla T4", 0, 0),
    ],
)  # fmt: skip
def test_a_card_has_its_own_peak_or_none(card, bf16, fp32):
    assert (known_peak(card, "bf16"), known_peak(card, "fp32")) == (pytest.approx(bf16 * 1e12), pytest.approx(fp32 * 1e12))


def test_a_process_asks_its_own_card(monkeypatch):
    """Without a GPU here, CUDA's answers are ours: the current card is that which was set, the first before that."""
    current = [0]
    monkeypatch.setenv("LOCAL_RANK", "3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda place: current.append(place))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (current[-1] * GIB, 24 * GIB))
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda: current[-1] * 2**20)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: f"NVIDIA GeForce RTX {['', '', '', '4090'][current[-1]]}")
    assert room_bytes(processes=8) == 3 * GIB
    current.clear()
    assert peak_memory_bytes() == 3 * 2**20
    current.clear()
    assert device_peak("bf16") == (pytest.approx(165.2e12), "the peak of NVIDIA GeForce RTX 4090 by its maker")


def test_processes_of_a_machine_without_gpus_share_what_is_free():
    assert room_bytes(4) == pytest.approx(psutil.virtual_memory().available / 4, rel=0.2)


# before the first step


def test_the_operations_of_a_run_by_hand():
    """125m: 30 x (2 x 576^2 + 2 x 576 x 192 + 3 x 576 x 1536) + 49,152 x 576 weights met, 6 each, and 6 x 30 x 576 x 2,049 for attention; 750,000 tokens less a rest."""
    chosen = settings(train__size="125m", tokens__context_tokens="2048", train__optimizer__batch_tokens="8192")
    flops = 91 * 8192 * (6 * (30 * (2 * 576**2 + 2 * 576 * 192 + 3 * 576 * 1536) + 49_152 * 576) + 6 * 30 * 576 * 2049)
    assert flops == pytest.approx(759.87e12, rel=1e-5)
    assert run_words(chosen.optimizer, SIZES["125m"], 49_152, sequence=2048) == "91 steps of 4 sequences of 2,048 tokens, 759.87 TFLOP in all"


def memory(room_gib, **changes):
    chosen = settings(train__size="125m", tokens__context_tokens="2048", train__optimizer__batch_tokens="65536", **changes)
    return memory_words(chosen, SIZES["125m"], 49_152, sequence=2048, processes=2, precision="bf16", room_bytes=int(room_gib * GIB))


def test_the_memory_of_a_process_is_that_of_its_part_of_a_step_and_said_to_fit_or_not():
    """65,536 tokens are 32 sequences, 16 for each of 2 processes."""
    way = {"sequence": 2048, "processes": 2, "sharding": "ddp", "checkpointing": False, "packed": True}
    wanted = step_memory(SIZES["125m"], 49_152, micro_batch=16, **way).total / GIB + 1
    said = f"{wanted:.1f} GiB expected in a process (16 sequences at a time, 1 GiB for libraries)"
    assert memory(200) == f"{said}, 200.0 GiB free: fits"
    assert memory(wanted - 0.05).startswith(f"{said}, {wanted - 0.05:.1f} GiB free: DOES NOT FIT; set train.micro_batch to 15")
    assert memory(2).endswith("2.0 GiB free: DOES NOT FIT; see `espalier hardware plan` for sharding, checkpointing and sizes")


def test_the_micro_batch_that_is_advised_fits_and_one_more_does_not():
    advised = int(re.search(r"set train.micro_batch to (\d+)$", memory(24))[1])
    assert memory(24, train__micro_batch=str(advised)).endswith("24.0 GiB free: fits")
    assert "DOES NOT FIT" in memory(24, train__micro_batch=str(advised + 1))


# the lines


def test_a_log_line_says_tokens_loss_rates_speed_mfu_and_memory():
    step = Step(120, 122_880, 1.2345, 0.5, 0.7)
    assert step_words(step, settings().optimizer, Pace(16_899.6, 0.4123, 811.7)) == (
        "122,880 tokens, loss 1.234 nats, lr 7.50e-04 and 2.00e-03, 16,900 tokens/s, MFU 41.2%, peak memory 812 MiB"
    )


def test_a_spike_is_said_with_its_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    log = TrainingLog("train@lab-1", settings().optimizer, flops_token=1.0, precision="fp32", processes=1, live=tmp_path)
    log.spike(Spike(412, 3.25, 17.5, 31.04, (4, 8), True))
    log.spike(Spike(1413, 3.25, 17.5, 31.04, tuple(range(9)), False))
    assert capsys.readouterr().err.splitlines()[1:] == [
        "train: spike at step 412: loss 3.250 nats, gradient norm 17.5, 31.0 deviations above the steps before; sequences 4, 8; its update is left out",
        "train: spike at step 1,413: loss 3.250 nats, gradient norm 17.5, 31.0 deviations above the steps before; sequences 0, 1, 2, 3, 4, 5, 6, 7 ..",
    ]
