"""Llama models of our sizes, from scratch: transformers' LlamaForCausalLM, so that transformers, vLLM and llama.cpp load a student at once.

Shapes are in sizes.py. Weights start at a standard deviation of hidden**-0.5: with
transformers' default of 0.02 a model of this width had learnt nothing after 1.2 M tokens (15 % against 47 % right, LOG.md).
"""

from pathlib import Path
from typing import TYPE_CHECKING

from espalier.errors import CorruptInput, InputMissing
from espalier.launch import is_main
from espalier.parallel import whole
from espalier.sizes import Shape

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM


def build_model(shape: Shape, *, vocabulary: int, pad_id: int, end_id: int, seed: int) -> "LlamaForCausalLM":
    """A model with random weights that belong to `seed`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head,
        max_position_embeddings=shape.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
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
    """Write config and weights (safetensors only); all processes that train the model call it, the main one writes."""
    weights = {name: whole(tensor) for name, tensor in model.state_dict().items()}
    if is_main():
        model.save_pretrained(folder, state_dict=weights)
