import math

import numpy as np
import pytest
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from espalier.errors import EspalierError
from espalier.model import build_model
from espalier.settings import Model, Optimizer
from espalier.sizes import shape_of
from espalier.tokens import Document, Packed, pack
from espalier.train import Step, make_optimizers, pick_precision, prepare_batch, train_metrics, train_model

VOCABULARY, PAD, END, USER, ASSISTANT = 30, 0, 2, 4, 5
LENGTH = 32
CPU = torch.device("cpu")


def tiny(seed=0):
    return build_model(shape_of(Model(32, 2, 64, 64)), vocabulary=VOCABULARY, pad_id=PAD, end_id=END, seed=seed)


def document(word, size=3):
    """A prompt of one word whose reply counts on from it, `size` words long."""
    return Document([USER, word, ASSISTANT, *(6 + (word - 6 + 1 + i) % 24 for i in range(size)), END], 3)


def corpus(n=60):
    """Documents of 5 to 9 tokens in sequences of 32."""
    return pack([document(6 + 7 * i % 24, 1 + i % 5) for i in range(n)], LENGTH, pad_id=PAD)


def settings(steps, *, rows=2, rate=3e-3, matrix_rate=1e-2):
    return Optimizer(steps * rows * LENGTH, rows * LENGTH, rate, matrix_rate, 0.1, "wsd", 0.1, 0.3)


def train(model, optimizer, *, data=None, seed=1, precision="fp32", checkpoints=None, progress=lambda step, steps: None):
    return train_model(model, data or corpus(), optimizer, seed=seed, precision=precision, checkpoints=checkpoints, progress=progress)


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.named_parameters()}


def same(one, other):
    """Whether two sets of weights are equal to the last bit, by name."""
    return {name for name, tensor in one.items() if not torch.equal(tensor, other[name])} == set()


class Stop(Exception):
    pass


def stop_after(n):
    def progress(step, steps):
        if step.step == n:
            raise Stop

    return progress


# documents that share a sequence


def forward(model, packed, *, positions=None):
    """As in training: through prepare_batch, without a cache."""
    batch = prepare_batch(packed.tokens_NT, packed.documents_NT, packed.targets_NT, CPU)
    if positions is not None:
        batch["position_ids"] = positions.expand_as(batch["position_ids"])
    with torch.no_grad():
        return model(**batch, use_cache=False)


def packed_together():
    """A sequence full of three documents (13 + 12 + 7 tokens), and one of two and padding (11 + 10)."""
    packed = pack([document(9, 8), document(20, 7), document(15, 3), document(12, 9), document(25, 6)], LENGTH, pad_id=PAD)
    assert [sorted(set(row)) for row in packed.documents_NT.tolist()] == [[0, 1, 2], [-1, 0, 1]]
    return packed


def pieces(packed):
    """(sequence, from, to) of every document."""
    for row, documents in enumerate(packed.documents_NT):
        for place in range(documents.max() + 1):
            found = np.flatnonzero(documents == place)
            yield row, int(found[0]), int(found[-1]) + 1


def alone(packed, row, start, end):
    return Packed(*(array[row : row + 1, start:end] for array in (packed.tokens_NT, packed.documents_NT, packed.targets_NT)))


def worst_difference(model, packed, together):
    """Between a document's logits in company and on its own."""
    return max(float((forward(model, alone(packed, row, start, end)).logits[0] - together[row, start:end]).abs().max()) for row, start, end in pieces(packed))


def test_a_documents_logits_do_not_depend_on_the_others_in_its_sequence():
    model, packed = tiny().train(), packed_together()
    assert worst_difference(model, packed, forward(model, packed).logits) < 1e-5


def test_without_positions_that_restart_documents_would_see_each_other():
    model, packed = tiny().train(), packed_together()
    assert worst_difference(model, packed, forward(model, packed, positions=torch.arange(LENGTH)).logits) > 0.1


def test_a_batchs_loss_is_the_mean_over_the_reply_tokens_of_its_documents_alone():
    model, packed = tiny().train(), packed_together()
    sizes = [int(packed.targets_NT[row, start:end].sum()) for row, start, end in pieces(packed)]
    losses = [float(forward(model, alone(packed, *piece)).loss) for piece in pieces(packed)]
    assert sizes.count(0) == 0
    by_hand = sum(size * loss for size, loss in zip(sizes, losses, strict=True)) / sum(sizes)
    assert float(forward(model, packed).loss) == pytest.approx(by_hand, abs=1e-5)


def test_the_training_loop_keeps_documents_apart_as_well():
    """Its first loss, before any weight moves, is that of the documents one by one."""
    model, packed = tiny(), packed_together()
    sizes = [int(packed.targets_NT[row, start:end].sum()) for row, start, end in pieces(packed)]
    losses = [float(forward(model, alone(packed, *piece)).loss) for piece in pieces(packed)]
    curve = train(model, settings(1), data=packed)
    assert curve[0].loss_nats == pytest.approx(sum(size * loss for size, loss in zip(sizes, losses, strict=True)) / sum(sizes), abs=1e-5)


def test_the_loss_of_a_document_is_that_of_its_reply_token_by_token():
    model, one = tiny(), document(9, 4)
    with torch.no_grad():
        logprobs = torch.log_softmax(model(input_ids=torch.tensor([one.ids])).logits[0].double(), -1)
    by_hand = -sum(float(logprobs[place - 1, one.ids[place]]) for place in range(3, 8)) / 5
    assert float(forward(model, pack([one], LENGTH, pad_id=PAD)).loss) == pytest.approx(by_hand, abs=1e-5)


def test_prompts_padding_and_first_tokens_are_no_targets():
    packed = pack([Document([4, 7, 5, 8, 2], 3), Document([9, 2], 0)], 9, pad_id=PAD)
    batch = {name: tensor.tolist() for name, tensor in prepare_batch(packed.tokens_NT, packed.documents_NT, packed.targets_NT, CPU).items()}
    no = -100
    assert batch == {
        "input_ids": [[4, 7, 5, 8, 2, 9, 2, 0, 0]],
        "position_ids": [[0, 1, 2, 3, 4, 0, 1, 0, 1]],
        "labels": [[no, no, no, 8, 2, no, 2, no, no]],
    }
    assert packed.targets_NT.tolist() == [[False, False, False, True, True, True, True, False, False]]


def test_a_new_sequence_starts_a_new_document_even_under_the_same_number():
    documents = np.zeros((2, 3), dtype=np.int32)
    batch = prepare_batch(np.array([[7, 8, 9], [7, 8, 9]], dtype=np.uint32), documents, np.ones((2, 3), dtype=bool), CPU)
    assert batch["position_ids"].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert batch["labels"].tolist() == [[-100, 8, 9], [-100, 8, 9]]


# training


def test_the_loss_falls_on_a_corpus_that_can_be_learnt():
    model = tiny()
    curve = train(model, settings(60, rows=4))
    assert [step.step for step in curve] == list(range(1, 61))
    assert [step.tokens for step in curve] == [4 * LENGTH * step for step in range(1, 61)]
    assert curve[0].loss_nats > math.log(VOCABULARY) - 1
    assert sum(step.loss_nats for step in curve[-5:]) / 5 < 0.25 * curve[0].loss_nats
    assert not model.training


def test_the_curve_tells_the_share_of_the_rate_and_progress_hears_each_step():
    heard = []
    curve = train(tiny(), settings(10), progress=lambda step, steps: heard.append((step, steps)))
    assert heard == [(step, 10) for step in curve]
    assert [step.rate_share for step in curve] == pytest.approx([1, 1, 1, 1, 1, 1, 1, 1, 2 / 3, 1 / 3])  # warmup over 0.1 * 10 = 1 step


@pytest.mark.parametrize("micro_batch", [1, 3, 4])
def test_a_step_cut_into_micro_batches_makes_the_same_update(micro_batch):
    """4 sequences with different numbers of targets, so that a mean of means would differ."""
    whole, cut, packed = tiny(), tiny(), pack([document(6 + i, 1 + 5 * (i % 2)) for i in range(12)], LENGTH, pad_id=PAD)
    assert len({int(row.sum()) for row in packed.targets_NT}) > 1
    one = train(whole, settings(2, rows=4), data=packed)
    other = train_model(
        cut, packed, settings(2, rows=4), seed=1, precision="fp32", checkpoints=None, progress=lambda step, steps: None, micro_batch=micro_batch
    )
    assert [step.loss_nats for step in other] == pytest.approx([step.loss_nats for step in one], abs=1e-6)
    for name, tensor in weights(whole).items():
        assert float((weights(cut)[name] - tensor).abs().max()) < 1e-4, name


def test_gradient_checkpointing_makes_the_same_update():
    plain, checkpointed = tiny(), tiny()
    checkpointed.gradient_checkpointing_enable({"use_reentrant": False})
    curves = train(checkpointed, settings(2)), train(plain, settings(2))
    assert [step.loss_nats for step in curves[0]] == pytest.approx([step.loss_nats for step in curves[1]], rel=1e-5)  # through transformers' modules, and fused.py
    assert all(float((tensor - weights(plain)[name]).abs().max()) < 1e-4 for name, tensor in weights(checkpointed).items())


@pytest.mark.parametrize(("tokens", "batch_tokens", "rows", "steps"), [(1000, 100, 3, 10), (1000, 10, 1, 31), (10, 100, 3, 1)])
def test_steps_and_rows_follow_from_the_tokens(tokens, batch_tokens, rows, steps):
    """100 // 32 = 3 rows, 1000 // 96 = 10 steps; at least one row and one step."""
    curve = train(tiny(), Optimizer(tokens, batch_tokens, 1e-3, 1e-3, 0.1, "wsd", 0.1, 0.3))
    assert [step.tokens for step in curve] == [rows * LENGTH * step for step in range(1, steps + 1)]


def test_the_same_seed_gives_the_same_weights_to_the_last_bit_and_another_seed_others():
    models = {}
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        models[name] = tiny()
        train(models[name], settings(8), seed=seed)
    assert same(weights(models["one"]), weights(models["again"]))
    assert not same(weights(models["one"]), weights(models["other"]))


def test_one_process_trains_in_both_precisions_as_if_each_were_the_only_one():
    made = []
    for precision in ("fp32", "bf16", "fp32", "bf16"):
        model = tiny()
        train(model, settings(3), precision=precision)
        made.append(weights(model))
    assert same(made[0], made[2])
    assert same(made[1], made[3])
    assert not same(made[0], made[1])


def test_two_models_that_start_apart_end_apart():
    models = [tiny(seed=seed) for seed in (0, 1)]
    for model in models:
        train(model, settings(3))
    assert not same(*map(weights, models))


def test_norms_and_embedding_are_adamws_and_all_other_matrices_muons():
    model = tiny()
    muon, adamw = make_optimizers(model, settings(1), "fp32")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    held = [{names[id(parameter)] for group in one.param_groups for parameter in group["params"]} for one in (muon, adamw)]
    layers = [f"model.layers.{i}." for i in range(2)]
    matrices = [*(f"self_attn.{x}_proj.weight" for x in "qkvo"), *(f"mlp.{x}_proj.weight" for x in ("gate", "up", "down"))]
    norms = ["input_layernorm.weight", "post_attention_layernorm.weight"]
    assert held == [
        {layer + name for layer in layers for name in matrices},
        {layer + name for layer in layers for name in norms} | {"model.embed_tokens.weight", "model.norm.weight"},
    ]
    assert [[group["weight_decay"] for group in one.param_groups] for one in (muon, adamw)] == [[0.1], [0.0]]
    assert [[group["lr"] for group in one.param_groups] for one in (muon, adamw)] == [[1e-2], [3e-3]]


@pytest.fixture
def watched():
    """(kind of optimizer, learning rate, norm of its gradients) at every step of any optimizer."""
    seen = []

    def watch(optimizer, args, kwargs):
        gradients = [parameter.grad.norm() for group in optimizer.param_groups for parameter in group["params"]]
        seen.append((type(optimizer).__name__, optimizer.param_groups[0]["lr"], float(torch.stack(gradients).norm())))

    hook = register_optimizer_step_pre_hook(watch)
    yield seen
    hook.remove()


def test_both_optimizers_step_at_their_rates_share_of_the_schedule(watched):
    train(tiny(), Optimizer(4 * 2 * LENGTH, 2 * LENGTH, 0.002, 0.01, 0.1, "wsd", 0.5, 0.5))
    shares = [0.5, 1, 1, 0.5]  # two steps up, two down
    assert [rate for kind, rate, _ in watched if kind == "AdamW"] == pytest.approx([0.002 * share for share in shares])
    assert [rate for kind, rate, _ in watched if kind == "Muon"] == pytest.approx([0.01 * share for share in shares])


def test_gradients_are_clipped_to_a_norm_of_1_over_all_weights(watched):
    model, packed = tiny(), packed_together()
    batch = prepare_batch(packed.tokens_NT, packed.documents_NT, packed.targets_NT, CPU)
    model(**batch, use_cache=False).loss.backward()
    assert math.hypot(*(float(parameter.grad.norm()) for parameter in model.parameters())) > 1.5
    train(tiny(), settings(1), data=packed)
    (_, _, matrices), (_, _, others) = watched
    assert math.hypot(matrices, others) == pytest.approx(1, abs=1e-4)


def test_a_step_moves_every_weight_tensor():
    model = tiny()
    before = weights(model)
    train(model, settings(1))
    assert [name for name, tensor in weights(model).items() if torch.equal(tensor, before[name])] == []


def numbered(n, *, word):
    """`n` sequences that can be told apart by their second token, filled with `word`."""
    return pack([Document([USER, 6 + i, ASSISTANT, *[word] * (LENGTH - 4), END], 3) for i in range(n)], LENGTH, pad_id=PAD)


def reading_order(data, *, steps, rows, seed):
    """The numbers of the sequences that each step reads."""
    model, read = tiny(), []
    hook = model.register_forward_pre_hook(lambda module, args, kwargs: read.append((kwargs["input_ids"][:, 1] - 6).tolist()), with_kwargs=True)
    train(model, settings(steps, rows=rows), data=data, seed=seed)
    hook.remove()
    return read


def test_every_sequence_is_read_once_an_epoch_and_epochs_are_shuffled_anew():
    read = reading_order(numbered(7, word=10), steps=7, rows=2, seed=1)
    assert [len(rows) for rows in read] == [2] * 7
    flat = [i for rows in read for i in rows]
    assert sorted(flat[:7]) == sorted(flat[7:]) == list(range(7))
    assert flat[:7] != flat[7:]


def test_a_batch_larger_than_the_corpus_reads_it_as_often_as_it_takes():
    (rows,) = reading_order(numbered(3, word=10), steps=1, rows=8, seed=1)
    assert sorted(rows[:3]) == sorted(rows[3:6]) == [0, 1, 2]
    assert len(set(rows[6:])) == 2


def test_the_order_of_the_data_hangs_on_the_seed_and_not_on_its_content():
    order = reading_order(numbered(7, word=10), steps=4, rows=2, seed=1)
    assert reading_order(numbered(7, word=20), steps=4, rows=2, seed=1) == order
    assert reading_order(numbered(7, word=10), steps=4, rows=2, seed=2) != order


# what goes wrong


def test_a_loss_that_is_no_number_ends_the_run_with_the_step_and_what_to_do():
    model = tiny()
    with torch.no_grad():
        model.model.norm.weight[0] = math.nan
    with pytest.raises(EspalierError) as caught:
        train(model, settings(5))
    assert str(caught.value) == "train: the loss is nan at step 1 of 5; lower the learning rates of its optimizer"


def test_weights_that_break_in_the_middle_of_a_run_are_found_at_the_next_step():
    model = tiny()

    def spoil(step, steps):
        if step.step == 4:
            model.model.embed_tokens.weight.data.fill_(math.inf)

    with pytest.raises(EspalierError, match="the loss is nan at step 5 of 9; lower the learning rates"):
        train(model, settings(9), progress=spoil)


# numbers


def test_the_metrics_of_a_run_are_those_of_its_last_twentieth():
    curve = [Step(i, 64 * i, float(i), 1.0, 0.5) for i in range(1, 41)]
    assert train_metrics(curve, epoch_tokens=640) == {"steps": 40, "tokens": 2560, "epochs": 4.0, "loss_nats": 39.5}
    assert train_metrics(curve[:3], epoch_tokens=640) == {"steps": 3, "tokens": 192, "epochs": 0.3, "loss_nats": 3.0}


@pytest.mark.parametrize(
    ("asked", "gpu", "cpu", "picked"),
    [("auto", False, {"avx512_bf16": False}, "fp32"), ("auto", False, {}, "fp32"), ("auto", False, {"avx512_bf16": True}, "bf16"), ("auto", True, {}, "bf16"),
     ("fp32", True, {"avx512_bf16": True}, "fp32"), ("bf16", False, {}, "bf16")],
)  # fmt: skip
def test_auto_is_bf16_where_the_hardware_multiplies_it(monkeypatch, asked, gpu, cpu, picked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: cpu)
    assert pick_precision(asked) == picked
