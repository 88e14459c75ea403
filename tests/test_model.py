import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from espalier.errors import CorruptInput, InputMissing
from espalier.model import build_model, load_model, save_model
from espalier.ranges import CONTEXTS
from espalier.settings import Model
from espalier.sizes import SIZES, Shape, count_parameters, shape_of
from tests.worlds import tiny_model

TINY = Model(64, 2, 96, 48)


def build(shape=TINY, *, vocabulary=100, seed=0):
    return build_model(shape if isinstance(shape, Shape) else shape_of(shape), vocabulary=vocabulary, pad_id=0, end_id=2, seed=seed)


def weights(model):
    return sum(parameter.numel() for parameter in model.parameters())


def drawn(model):
    """The weights that start at random, the pad's row of zeros left out."""
    matrices = {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.ndim == 2}
    return {name: tensor[1:] if "embed" in name else tensor for name, tensor in matrices.items()}


def test_the_checks_of_params_know_every_size_and_its_context():
    assert {name: shape.context_tokens for name, shape in SIZES.items()} == CONTEXTS


@pytest.mark.parametrize("hidden", [64, 256])
def test_weights_start_at_a_standard_deviation_of_one_over_the_root_of_the_width(hidden):
    for name, tensor in drawn(build(Model(hidden, 1, 96, 48))).items():
        wanted, spread = hidden**-0.5, (2 * tensor.numel()) ** -0.5  # of the estimate of a standard deviation, relative
        assert float(tensor.std()) == pytest.approx(wanted, rel=5 * spread), name
        assert abs(float(tensor.mean())) < 5 * wanted / tensor.numel() ** 0.5, name


def test_norms_start_at_one():
    norms = [tensor for tensor in build().parameters() if tensor.ndim == 1]
    assert len(norms) == 2 * 2 + 1
    assert {float(value) for tensor in norms for value in tensor.detach()} == {1.0}


def test_weights_hang_on_the_seed_alone():
    torch.manual_seed(5)
    one = drawn(build(seed=1))
    again, other = drawn(build(seed=1)), drawn(build(seed=2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_a_shape_has_heads_of_32_dimensions_with_keys_of_their_own():
    config = build(Model(128, 1, 96, 48)).config
    assert (config.head_dim, config.num_attention_heads, config.num_key_value_heads, config.max_position_embeddings) == (32, 4, 4, 48)
    assert (config.vocab_size, config.pad_token_id, config.bos_token_id, config.eos_token_id) == (100, 0, None, 2)


def test_the_size_tiny_has_3_heads_of_32_dimensions():
    config = build(SIZES["tiny"]).config
    assert (config.hidden_size, config.head_dim, config.num_attention_heads, config.num_key_value_heads) == (96, 32, 3, 3)


def test_the_size_125m_has_the_shape_and_the_parameters_of_smollm2_135m():
    with torch.device("meta"):
        model = build(SIZES["125m"], vocabulary=49152)
    attention = 2 * 576 * 576 + 2 * 576 * 3 * 64  # queries and output; keys and values of 3 heads
    layer = attention + 3 * 576 * 1536 + 2 * 576  # SwiGLU, two norms
    assert count_parameters(SIZES["125m"], 49152) == weights(model) == 49152 * 576 + 30 * layer + 576 == 134_515_008
    assert (model.config.num_attention_heads, model.config.num_key_value_heads, model.config.head_dim) == (9, 3, 64)


def test_a_tied_embedding_counts_once():
    layer = 4 * 64 * 64 + 3 * 64 * 96 + 2 * 64
    assert count_parameters(shape_of(TINY), 100) == weights(build()) == 100 * 64 + 2 * layer + 64


def test_a_saved_model_is_safetensors_and_loads_in_transformers_with_equal_logits(tmp_path):
    model, ids = build(seed=3).eval(), torch.tensor([[4, 7, 9, 99, 5]])
    save_model(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "generation_config.json", "model.safetensors"]
    with torch.inference_mode():
        wanted = model(input_ids=ids).logits
        for loaded in (AutoModelForCausalLM.from_pretrained(tmp_path), load_model(tmp_path)):
            assert loaded.dtype == torch.float32
            assert torch.equal(loaded(input_ids=ids).logits, wanted)
    assert float(wanted.std()) > 0.1


def test_a_folder_without_a_model_is_missing_with_what_to_do(tmp_path):
    with pytest.raises(InputMissing) as caught:
        load_model(tmp_path / "none")
    assert str(caught.value) == f"{tmp_path}/none: holds no model (no config.json); name a folder in Hugging Face layout, or run `dvc repro`"


def spoil(folder: Path, name: str, data: bytes | None) -> Path:
    (folder / name).unlink()
    if data is not None:
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("config.json", b"{"),
        ("config.json", b"{}"),
        ("config.json", b'{"model_type": "nonsense"}'),
        ("config.json", b'{"model_type": "vit"}'),
        ("model.safetensors", None),
        ("model.safetensors", b""),
        ("model.safetensors", b"\x40\x00\x00\x00\x00\x00\x00\x00 no header"),
    ],
    ids=["cut config", "empty config", "unknown kind", "no language model", "no weights", "empty weights", "other bytes"],
)
def test_a_model_that_cannot_be_loaded_is_corrupt_input_that_names_the_folder(tmp_path, name, data):
    folder = spoil(tiny_model(tmp_path / "model", words=["w1"]), name, data)
    with pytest.raises(CorruptInput, match=rf"^{re.escape(str(folder))}: cannot be loaded as a causal language model \(.+\)$"):
        load_model(folder)
