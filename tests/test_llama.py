"""The lean decoder's numbers are the library's."""

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from espalier.teachers.decoders import LibraryDecoder, decoder_of
from espalier.teachers.llama import LlamaDecoder, _pieces

PROMPTS = [(4, 9), (4, 5, 6, 7), (4, 5, 6, 7), (4, 9, 9, 9, 9, 9, 8), (3,), (3,), (3,), tuple(range(3, 23))]
SHAPES = {
    "equal heads": {},
    "grouped heads": {"num_key_value_heads": 2},
    "one head of keys, untied": {"num_key_value_heads": 1, "tie_word_embeddings": False},
    "wide heads": {"head_dim": 24},
    "stretched positions": {
        "rope_parameters": {
            "rope_type": "llama3", "rope_theta": 1000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        }
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.inference_mode():
        yield


def made(cls=LlamaForCausalLM, config=LlamaConfig, **changes):
    """A random model with large weights, so that a wrong position or head would be seen."""
    torch.manual_seed(1)
    sizes = {"pad_token_id": 0, "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 4}
    return cls(config(**{**sizes, "max_position_embeddings": 64, "initializer_range": 0.4, **changes})).eval()


def by_library(model, texts):
    """The logits after each text, alone and without cache or padding, as the library computes them."""
    return torch.stack([model(input_ids=torch.tensor([text])).logits[0, -1] for text in texts])


def steps(decoder, *, n, left=lambda rows, step: rows):
    """What a decoder says after each of `n` steps, with the texts so far; `left` picks the rows that stay."""
    batch, texts = decoder.read(PROMPTS, more=n, pad_id=0), list(PROMPTS)
    yield texts, batch.logits_BV
    for step in range(n):
        kept = left(list(range(len(texts))), step)
        if len(kept) < len(texts):
            batch.keep(torch.tensor(kept))
        ids = [(7 * row + 3 * step) % 40 for row in kept]
        batch.step(torch.tensor(ids))
        texts = [(*texts[row], token) for row, token in zip(kept, ids, strict=True)]
        yield texts, batch.logits_BV


@pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))
@pytest.mark.parametrize("decoder", [LlamaDecoder, LibraryDecoder])
def test_the_logits_are_the_librarys_after_the_prompts_and_after_every_step(shape, decoder):
    model = made(**shape)
    seen = list(steps(decoder(model), n=40, left=lambda rows, step: rows[1:] if step in (5, 30) else rows))
    for texts, logits in seen:
        torch.testing.assert_close(logits, by_library(model, texts), atol=2e-4, rtol=1e-4)
    assert (len(seen), len(seen[-1][0]), max(map(len, seen[-1][0]))) == (41, 6, 60)


def test_padding_shows_in_no_logits(monkeypatch):
    decoder = LlamaDecoder(made())
    together = dict(zip(PROMPTS, decoder.read(PROMPTS, more=1, pad_id=0).logits_BV, strict=True))
    monkeypatch.setattr("espalier.teachers.llama.READ_TOKENS", {"cpu": 8})
    for pad_id in (0, 9):
        torch.testing.assert_close(decoder.read(PROMPTS, more=1, pad_id=pad_id).logits_BV, torch.stack([together[prompt] for prompt in PROMPTS]))


def test_in_bf16_the_logits_are_as_close_to_fp32_as_the_librarys():
    model, exact = made(num_key_value_heads=2), made(num_key_value_heads=2)
    model.bfloat16()
    for texts, logits in steps(LlamaDecoder(model), n=12):
        assert logits.dtype == torch.bfloat16
        right = by_library(exact, texts)
        ours, librarys = (logits.float() - right).abs().mean(), (by_library(model, texts).float() - right).abs().mean()
        assert ours < 1.5 * librarys


def test_the_models_weights_are_shared_and_it_still_works():
    model = made(num_key_value_heads=2)
    before = by_library(model, PROMPTS)
    decoder = LlamaDecoder(model)
    assert torch.equal(by_library(model, PROMPTS), before)
    attention, mlp = model.model.layers[1].self_attn, model.model.layers[1].mlp
    assert attention.q_proj.weight.data_ptr() == decoder.layers[1].qkv.data_ptr()
    assert mlp.up_proj.weight.data_ptr() == decoder.layers[1].gate_up[48:].data_ptr()


@pytest.mark.parametrize("cls", ["llama", "qwen2", "gpt2", "biases", "gelu", "dynamic"])
def test_only_a_plain_llama_is_decoded_by_us(cls):
    dynamic = {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1000.0, "factor": 2.0}}
    model = {
        "llama": lambda: made(),
        "qwen2": lambda: made(Qwen2ForCausalLM, Qwen2Config),
        "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=40, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)).eval(),
        "biases": lambda: made(attention_bias=True),
        "gelu": lambda: made(hidden_act="gelu"),
        "dynamic": lambda: made(**dynamic),
    }[cls]()
    decoder = decoder_of(model)
    assert type(decoder) is (LlamaDecoder if cls == "llama" else LibraryDecoder)
    for texts, logits in steps(decoder, n=3):
        torch.testing.assert_close(logits, by_library(model, texts), atol=2e-4, rtol=1e-4)


def test_equal_neighbours_are_read_once(monkeypatch):
    decoder, rows = LlamaDecoder(made()), []
    project = LlamaDecoder.project
    monkeypatch.setattr(LlamaDecoder, "project", lambda self, layer, x, *tables: rows.append(len(x)) or project(self, layer, x, *tables))
    decoder.read([(3, 4, 5)] * 9 + [(3, 4)] * 9, more=1, pad_id=0)
    assert rows == [6] * 3  # two prompts of three places, in each layer


def test_pieces_hold_neighbours_up_to_a_number_of_padded_tokens():
    prompts = [((1,) * n, 1) for n in (2, 2, 3, 9, 1, 1)]
    assert [[len(prompt) for prompt, _ in piece] for piece in _pieces(prompts, 8)] == [[2, 2], [3], [9], [1, 1]]
    assert [len(piece) for piece in _pieces(prompts, 1000)] == [6]
