from types import SimpleNamespace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from espalier.teachers.hf import HfTeacher
from espalier.teachers.memory import Sizes, answered_bytes, free_bytes, rows_that_fit, scored_bytes, sizes_of
from tests.test_teachers import WORDS, request
from tests.worlds import tiny_model

GIB = 2**30
SMOL = Sizes(layers=30, kv_heads=3, dimensions=64, width=576, feed_forward=1536, vocabulary=49152, number=2)  # SmolLM2-135M in bf16


@pytest.fixture
def teacher(tmp_path):
    return HfTeacher(tiny_model(tmp_path / "model", words=WORDS))


def test_a_rows_memory_is_that_of_the_sums_in_the_docstring():
    # keys: 2 x 2 x 31 x 3 x 64 x (100 + 28) = 3,047,424; reading: 2 x (4 x 576 + 3 x 1536) x 100 = 1,382,400; drawing: 48 x 49,152 = 2,359,296
    assert answered_bytes(SMOL, prompt=100, reply=28) == 3_047_424 + 1_382_400 + 2_359_296
    # a token: 2 x (4 x 576 + 3 x 1536) = 13,824, and 10 x 49,152 = 491,520
    assert scored_bytes(SMOL, tokens=128) == (13_824 + 491_520) * 128


@pytest.mark.parametrize(
    ("row_bytes", "free", "device", "rows"),
    [
        (10**6, 100 * 10**6, "cpu", 50), (10**6, 100 * 10**6, "cuda", 80), (10**6, 99 * 10**6, "cpu", 49),
        (1, GIB, "cpu", 512), (1, GIB, "cuda", 4096), (GIB, GIB, "cpu", 1), (GIB, 0, "cuda", 1),
    ],
)  # fmt: skip
def test_rows_take_half_of_a_computers_memory_or_four_fifths_of_a_gpus(row_bytes, free, device, rows):
    assert rows_that_fit(row_bytes, free, device=device) == rows


def test_sizes_are_read_from_the_model():
    llama = LlamaForCausalLM(
        LlamaConfig(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=16)
    )
    assert sizes_of(llama) == Sizes(3, 2, 16, 32, 48, 40, 4)
    assert sizes_of(llama.bfloat16()).number == 2
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=4))
    assert sizes_of(gpt2) == Sizes(2, 4, 8, 32, 128, 50, 4)


def test_free_memory_of_a_gpu_counts_what_torch_holds_unused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 50)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 20)
    assert free_bytes(torch.device("cuda")) == 130
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=7))
    assert free_bytes(torch.device("cpu")) == 7


def test_a_short_memory_makes_small_batches(teacher, monkeypatch):
    seen = []
    read = teacher._decoder.read
    monkeypatch.setattr(teacher._decoder, "read", lambda prompts, **options: seen.append(len(prompts)) or read(prompts, **options))
    plenty = teacher.generate([request("w1 w2", seed=i) for i in range(20)])
    row = answered_bytes(teacher._sizes, prompt=4, reply=12)
    monkeypatch.setattr("espalier.teachers.hf.free_bytes", lambda device: 2 * 8 * row + row)
    short = teacher.generate([request("w1 w2", seed=i) for i in range(20)])
    assert seen == [20, 8, 8, 4]
    assert [reply.text for reply in short] == [reply.text for reply in plenty]


def test_a_gpu_without_memory_gets_half_the_batch_for_good(teacher, monkeypatch):
    seen = []
    read = teacher._decoder.read

    def refusing(prompts, **options):
        seen.append(len(prompts))
        if len(prompts) > 7:
            raise torch.cuda.OutOfMemoryError
        return read(prompts, **options)

    asked = [request("w1 w2", seed=i) for i in range(10)]
    plenty = teacher.generate(asked)
    monkeypatch.setattr(teacher._decoder, "read", refusing)
    teacher._most = 20
    assert [reply.text for reply in teacher.generate(asked)] == [reply.text for reply in plenty]
    teacher.generate(asked)
    assert seen == [10, 10, 5, 5, 5, 5]  # 20 at most, then 10, then 5


def test_a_row_that_does_not_fit_alone_is_an_error(teacher, monkeypatch):
    def refusing(prompts, **options):
        raise torch.cuda.OutOfMemoryError("one row")

    monkeypatch.setattr(teacher._decoder, "read", refusing)
    with pytest.raises(torch.cuda.OutOfMemoryError, match="one row"):
        teacher.generate([request("w1")] * 3)
