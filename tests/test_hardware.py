from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from espalier.cli import cli
from espalier.hardware import GIB, RESERVED, activation_bytes, fits, step_memory
from espalier.model import build_model
from espalier.sizes import SIZES, Shape, layer_matrix_parameters

SMALL = Shape(hidden=128, layers=1, feed_forward=256, context_tokens=128, head=32, key_value_heads=2, rope_theta=1e4)
WAY = {"sequence": 64, "processes": 1, "sharding": "ddp", "checkpointing": False}


def kept(shape, *, checkpointing, precision="bf16", packed=False):
    """Bytes of all different tensors that torch keeps for the backward pass of 2 x 64 tokens, weights left out. packed: documents of 16 tokens."""
    model, sizes = build_model(shape, vocabulary=100, pad_id=0, end_id=2, seed=0).train(), {}
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.arange(128).reshape(2, 64) % 100
    places = {"position_ids": (torch.arange(64) % 16).expand(2, 64)} if packed else {}
    with torch.autograd.graph.saved_tensors_hooks(note, lambda one: one), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        output = model(input_ids=ids, labels=ids, use_cache=False, **places)
    assert output.loss.requires_grad  # alive until here, so that no storage was used twice
    return sum(sizes.values())


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
@pytest.mark.parametrize("shape", [SMALL, replace(SMALL, hidden=256, feed_forward=640, key_value_heads=4), replace(SMALL, feed_forward=512, key_value_heads=4)])
def test_a_layers_activations_are_those_that_torch_keeps(shape, precision, packed):
    way = {"checkpointing": False, "precision": precision}
    found = (kept(replace(shape, layers=3), packed=packed, **way) - kept(shape, packed=packed, **way)) / 2
    found -= 2 * layer_matrix_parameters(shape) * (precision == "bf16")  # bf16 copies of weights
    assert found / 128 == pytest.approx(activation_bytes(shape, mask_tokens=64 if packed else 0, **way), rel=0.005)


def test_a_checkpointed_layer_keeps_its_input_in_fp32():
    found = (kept(replace(SMALL, layers=3), checkpointing=True) - kept(SMALL, checkpointing=True)) / 2
    assert found / 128 == 4 * 128 == activation_bytes(replace(SMALL, layers=2), checkpointing=True) - activation_bytes(SMALL, checkpointing=True)


def test_the_memory_of_a_step_by_hand():
    """125m: 134,515,008 parameters, 30 x 3,538,944 in matrices of layers; 4 sequences of 64 tokens."""
    every, inside = 134_515_008, 30 * (2 * 576 * 576 + 2 * 576 * 192 + 3 * 576 * 1536)
    memory = step_memory(SIZES["125m"], 49_152, micro_batch=4, **WAY)
    assert (memory.weights, memory.gradients, memory.copies, memory.exchange) == (4 * every, 4 * every, 2 * every, 0)
    assert memory.optimizer == 4 * inside + 8 * (every - inside)
    assert memory.activations == 256 * 30 * (30 * 576 + 8 * 1536 + 4 * 192 + 4 * 9 + 8)
    assert memory.logits == 256 * 49_152 * 12
    shared = step_memory(SIZES["125m"], 49_152, micro_batch=4, **{**WAY, "processes": 8, "sharding": "fsdp"})
    assert (shared.weights, shared.gradients, shared.optimizer) == (memory.weights // 8, memory.gradients // 8, memory.optimizer // 8)
    assert (shared.activations, shared.logits) == (memory.activations, memory.logits)
    assert step_memory(SIZES["125m"], 49_152, micro_batch=4, **{**WAY, "processes": 2}).exchange == 4 * every
    plain = step_memory(SIZES["125m"], 49_152, micro_batch=4, precision="fp32", packed=True, **WAY)
    assert (plain.copies, plain.logits) == (0, 256 * 49_152 * 16)
    assert plain.activations == 256 * 30 * (32 * 576 + 16 * 1536 + 8 * 192 + 4 * 9 + 8 + 4 * (64 + 2 * (576 - 192)))


@pytest.mark.parametrize("size", SIZES)
def test_the_largest_micro_batch_fits_and_one_sequence_more_does_not(size):
    for fit in fits(SIZES[size], 49_152, sequence=1024, processes=8, card_bytes=24 * GIB):
        way = {"sequence": 1024, "processes": 8, "sharding": fit.sharding, "checkpointing": fit.checkpointing, "packed": True}
        sizes = [step_memory(SIZES[size], 49_152, micro_batch=n, **way).total for n in (fit.micro_batch, fit.micro_batch + 1)]
        assert sizes[0] <= 24 * GIB - RESERVED < sizes[1] or fit.micro_batch == 0 < sizes[1] - (24 * GIB - RESERVED)


def test_on_cards_of_24_gib_125m_trains_as_it_is_and_1b_is_shared_or_checkpointed():
    small = fits(SIZES["125m"], 49_152, sequence=2048, processes=8, card_bytes=24 * GIB)
    large = fits(SIZES["1b"], 49_152, sequence=2048, processes=8, card_bytes=24 * GIB)
    assert [(fit.sharding, fit.checkpointing) for fit in large] == [("ddp", False), ("ddp", True), ("fsdp", False), ("fsdp", True)]
    assert small[0].micro_batch >= 4
    assert [fit.micro_batch for fit in large[:2]] == [0, 2]
    assert all(fit.micro_batch >= 2 for fit in large[2:])


def test_the_command_prints_a_line_for_every_size_and_way():
    result = CliRunner().invoke(cli, ["hardware", "plan", "--size", "1b", "--size", "125m"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert len(lines) == 2 + 2 * 4
    assert lines[2].split()[:5] == ["1b", "1,073,809,408", "6.845", "2,048", "ddp"]
    assert "does not fit" in lines[2]
    assert CliRunner().invoke(cli, ["hardware", "plan", "--processes", "1"]).output.count("fsdp") == 0
