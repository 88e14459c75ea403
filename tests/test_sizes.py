import pytest
import torch

from espalier.model import build_model
from espalier.settings import Train
from espalier.sizes import SIZES, Shape, count_parameters, layer_matrix_parameters, train_flops

VOCABULARY = 49_152


@pytest.mark.parametrize(("size", "millions"), [("125m", 134.5), ("350m", 361.8), ("500m", 509.7), ("1b", 1073.8)])
def test_a_preset_has_the_parameters_of_its_name_and_those_of_its_model(size, millions):
    with torch.device("meta"):
        model = build_model(SIZES[size], vocabulary=VOCABULARY, pad_id=0, end_id=2, seed=0)
    assert count_parameters(SIZES[size], VOCABULARY) == sum(one.numel() for one in model.parameters())
    assert count_parameters(SIZES[size], VOCABULARY) / 1e6 == pytest.approx(millions, abs=0.05)


def test_every_size_of_params_is_a_preset():
    allowed = Train.__annotations__["size"].__metadata__[0].words
    assert tuple(SIZES) == allowed


def test_flops_by_hand():
    """d = 4, one layer, two heads of 2, one of keys, f = 8, V = 10, T = 3."""
    shape = Shape(hidden=4, layers=1, feed_forward=8, context_tokens=16, head=2, key_value_heads=1, rope_theta=1e4)
    matrices = 2 * 4 * 4 + 2 * 4 * 2 + 3 * 4 * 8  # 32 + 16 + 96
    assert layer_matrix_parameters(shape) == matrices == 144
    assert train_flops(shape, 10, 3) == 6 * (144 + 40) + 6 * 4 * 4


def test_flops_are_those_that_torch_counts():
    from torch.utils.flop_counter import FlopCounterMode

    shape = Shape(hidden=64, layers=2, feed_forward=96, context_tokens=64, head=32, key_value_heads=1, rope_theta=1e4)
    model = build_model(shape, vocabulary=100, pad_id=0, end_id=2, seed=0)
    model.config._attn_implementation = "eager"  # its matrix products are counted, the whole square of attention: twice the causal half
    ids = torch.arange(64)[None] % 100
    with FlopCounterMode(display=False) as counter:
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    whole_square = train_flops(shape, 100, 64) + 6 * 2 * 64 * (64 - 1)
    assert counter.get_total_flops() == pytest.approx(64 * whole_square, rel=0.01)
