"""The fused training pass against transformers' modules: equal logits, loss and gradients; documents apart; the model as it was afterwards."""

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from espalier import attention
from espalier import fused as module
from espalier.fused import IGNORED, fused, last_hidden
from espalier.model import build_model, save_model
from espalier.sizes import Shape

PRECISIONS = (torch.float32, torch.bfloat16)


@pytest.fixture(params=[4, 2, 1], ids=lambda heads: f"{heads} key heads")
def model(request):
    """With norms that are not all one, as training leaves them."""
    made = build_model(Shape(128, 3, 344, 64, 32, request.param, 1e4), vocabulary=300, pad_id=0, end_id=1, seed=0)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "norm" in name:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


@pytest.fixture
def batch():
    """Four sequences: two of one document, one of two, one of three; some labels are left out, among them all of the last sequence."""
    draw = torch.Generator().manual_seed(0)
    input_ids = torch.randint(2, 300, (4, 64), generator=draw)
    position_ids = torch.arange(64).repeat(4, 1)
    position_ids[1, 40:] -= 40
    position_ids[2, 10:] -= 10
    position_ids[2, 30:] -= 20
    labels = torch.where(torch.rand(4, 64, generator=draw) < 0.7, input_ids, IGNORED).masked_fill(position_ids == 0, IGNORED)
    labels[3] = IGNORED
    return {"input_ids": input_ids, "position_ids": position_ids, "labels": labels}


def passed(model, batch, dtype, *, ours, **more):
    """(loss, gradients by name)."""
    model.zero_grad()
    if ours:
        with fused(model, dtype):
            loss = model(**batch, **more, use_cache=False).loss
    else:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(**batch, **more, use_cache=False).loss
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def apart(one, other):
    """The largest relative distance of two sets of gradients."""
    return max(float((one[name] - other[name]).norm() / other[name].norm()) for name in other)


def test_in_fp32_loss_and_gradients_are_those_of_the_library(model, batch):
    (loss, gradients), (expected, wanted) = (passed(model, batch, torch.float32, ours=ours) for ours in (True, False))
    assert loss == pytest.approx(expected, rel=1e-6)
    assert apart(gradients, wanted) < 1e-5


def test_in_bf16_it_is_as_near_to_fp32_as_the_library_is(model, batch):
    _, exact = passed(model, batch, torch.float32, ours=False)
    (loss, gradients), (expected, theirs) = (passed(model, batch, torch.bfloat16, ours=ours) for ours in (True, False))
    assert loss == pytest.approx(expected, rel=1e-3)
    assert apart(gradients, exact) < 1.5 * apart(theirs, exact)


def test_the_logits_are_those_of_the_library(model, batch):
    ids, positions = batch["input_ids"], batch["position_ids"]
    with torch.no_grad():
        logits = last_hidden(model, ids, positions, torch.float32) @ model.lm_head.weight.t()
        expected = model(input_ids=ids, position_ids=positions, use_cache=False).logits
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)


def test_a_given_number_of_items_divides_the_sum(model, batch):
    (loss, gradients), (expected, wanted) = (passed(model, batch, torch.float32, ours=ours, num_items_in_batch=torch.tensor(1000)) for ours in (True, False))
    assert loss == pytest.approx(expected, rel=1e-6)
    assert apart(gradients, wanted) < 1e-5


def test_how_many_logits_are_held_at_a_time_changes_nothing(model, batch, monkeypatch):
    whole, gradients = passed(model, batch, torch.float32, ours=True)
    monkeypatch.setattr(module, "LOGIT_ROWS", 50)
    loss, some = passed(model, batch, torch.float32, ours=True)
    assert loss == pytest.approx(whole, rel=1e-6)
    assert apart(some, gradients) < 1e-5


def test_how_many_sequences_have_their_scores_at_a_time_changes_nothing(model, batch, monkeypatch):
    whole, gradients = passed(model, batch, torch.bfloat16, ours=True)
    monkeypatch.setattr(attention, "CACHE_BYTES", 1)
    loss, some = passed(model, batch, torch.bfloat16, ours=True)
    assert (loss, apart(some, gradients)) == (whole, 0)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_a_document_does_not_depend_on_its_neighbours(model, batch, dtype):
    first = {name: tensor[1:2] for name, tensor in batch.items()}
    other = first | {"input_ids": first["input_ids"].clone()}
    other["input_ids"][:, :40] = 7
    only = {name: batch_["labels"].clone() for name, batch_ in (("first", first), ("other", other))}
    only["first"][:, :40] = only["other"][:, :40] = IGNORED
    losses = [passed(model, one | {"labels": labels}, dtype, ours=True)[0] for one, labels in ((first, only["first"]), (other, only["other"]))]
    assert losses[0] == losses[1]


def test_afterwards_the_model_is_the_library_s_and_its_weights_load_there(model, batch, tmp_path):
    with fused(model, torch.float32):
        assert model(**batch).logits is None
    assert model(**batch).logits is not None
    save_model(model, tmp_path)
    assert AutoModelForCausalLM.from_pretrained(tmp_path)(**batch).loss.item() == pytest.approx(model(**batch).loss.item(), rel=1e-6)
    assert {name.split(".")[0] for name in load_file(tmp_path / "model.safetensors")} == {"model"}
