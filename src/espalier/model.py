"""Llama models of our sizes, from scratch: transformers' LlamaForCausalLM, so that transformers, vLLM and llama.cpp load a student at once.

Heads have 32 dimensions in the small sizes (vLLM's CPU kernels need at least 32). Weights start at a standard deviation of hidden**-0.5: with
transformers' default of 0.02 a model of this width had learnt nothing after 1.2 M tokens (15 % against 47 % right, LOG.md).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from espalier.errors import CorruptInput, InputMissing
from espalier.settings import Model

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

# 125m: the shape of SmolLM2-135M (huggingface/smollm, text/pretraining/smollm2/config_smollm2_135M.yaml).
SIZES = {
    "tiny": Model(hidden=96, layers=3, feed_forward=264, context_tokens=128),
    "125m": Model(hidden=576, layers=30, feed_forward=1536, context_tokens=2048),
}
HEAD_DIMENSIONS = {"tiny": 32, "125m": 64}
KEY_VALUE_HEADS = {"tiny": 3, "125m": 3}
ROPE_THETA = {"tiny": 1000.0, "125m": 10000.0}


def build_model(shape: Model, *, vocabulary: int, pad_id: int, end_id: int, seed: int, size: str = "") -> "LlamaForCausalLM":
    """A model with random weights that belong to `seed`; `size` names a preset, empty for a shape of heads with 32 dimensions."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    head = HEAD_DIMENSIONS.get(size, 32)
    heads = shape.hidden // head
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=heads,
        num_key_value_heads=KEY_VALUE_HEADS.get(size, heads),
        head_dim=head,
        max_position_embeddings=shape.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA.get(size, 1000.0)},
        tie_word_embeddings=True,
        initializer_range=shape.hidden**-0.5,
        pad_token_id=pad_id,
        bos_token_id=None,
        eos_token_id=end_id,
        attn_implementation="sdpa",
    )
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def load_model(folder: Path) -> "LlamaForCausalLM":
    """The model of a folder in Hugging Face layout, in fp32. Raises: InputMissing, CorruptInput."""
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    if not (folder / "config.json").is_file():
        raise InputMissing(f"{folder}: holds no model (no config.json); name a folder in Hugging Face layout, or run `dvc repro`")
    options = {"dtype": "float32", "trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
    try:
        model, loaded = AutoModelForCausalLM.from_pretrained(folder, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CorruptInput(f"{folder}: cannot be loaded as a causal language model ({str(error).splitlines()[0]})") from error
    if loaded["missing_keys"]:  # transformers fills them with random numbers and goes on
        missing = ", ".join(sorted(loaded["missing_keys"])[:3])
        raise CorruptInput(f"{folder}: cannot be loaded as a causal language model (its weights lack {missing})")
    return model


def save_model(model: "LlamaForCausalLM", folder: Path) -> None:
    """Write config and weights (safetensors only)."""
    model.save_pretrained(folder)


def count_parameters(model: "LlamaForCausalLM") -> int:
    """Number of weights; the tied embedding counts once."""
    return sum(parameter.numel() for parameter in model.parameters())
