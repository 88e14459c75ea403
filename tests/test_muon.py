import math
from copy import deepcopy

import pytest
import torch

from espalier.muon import Muon, orthogonal

RATE, DECAY, MOMENTUM = 0.01, 0.1, 0.9
SHAPES = [(16, 64), (64, 16), (32, 48), (48, 32)]


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(*tensors):
    return [torch.nn.Parameter(tensor.clone()) for tensor in tensors]


def muon(params, *, rate=RATE, decay=DECAY):
    return Muon(params, lr=rate, weight_decay=decay, momentum=MOMENTUM)


def step(optimizer, params, gradients):
    for parameter, gradient in zip(params, gradients, strict=True):
        parameter.grad = None if gradient is None else gradient.clone()
    optimizer.step()
    return [parameter.detach().clone() for parameter in params]


def newton_schulz(values):
    """What five iterations make of singular values: s -> 3.4445 s - 4.7750 s^3 + 2.0315 s^5, from values of norm 1."""
    s = values / values.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return s


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_end_up_near_one(shape):
    values = torch.linalg.svdvals(orthogonal(random(5, *shape)))
    assert (float(values.min()) > 0.6, float(values.max()) < 1.3) == (True, True)
    assert float(torch.linalg.svdvals(random(5, *shape)).max()) > 8  # far from one before


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_vectors_stay_and_singular_values_follow_the_polynomial(shape):
    matrices = random(3, *shape, seed=1).double()
    for matrix, made in zip(matrices, orthogonal(matrices), strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        by_hand = left @ torch.diag(newton_schulz(values)) @ right
        assert torch.allclose(made, by_hand, atol=1e-4)


def test_the_scale_of_a_gradient_does_not_matter():
    matrices = random(2, 16, 64).double()
    assert torch.allclose(orthogonal(1000 * matrices), orthogonal(matrices), atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_moves_weights_by_a_fifth_of_the_rate(shape):
    """An orthogonal matrix of m x n has entries of root mean square 1 / sqrt(max(m, n)), which the scale 0.2 sqrt(max(m, n)) undoes."""
    (weights,) = params = parameters(random(*shape))
    before = weights.detach().clone()
    (after,) = step(muon(params, decay=0.0), params, [random(*shape, seed=1)])
    moved = float((after - before).square().mean().sqrt())
    assert 0.7 * 0.2 * RATE < moved < 1.2 * 0.2 * RATE


def test_a_step_goes_against_the_gradient():
    params, gradient = parameters(torch.zeros(16, 64)), random(16, 64)
    (after,) = step(muon(params), params, [gradient])
    assert float((after * gradient).sum()) < 0


def test_a_gradient_of_zero_leaves_only_the_weight_decay():
    before = random(16, 32)
    (after,) = step(muon(params := parameters(before), rate=0.5), params, [torch.zeros(16, 32)])
    assert torch.allclose(after, 0.95 * before, rtol=1e-6, atol=0)  # 1 - 0.5 * 0.1


def test_two_steps_follow_the_momentum_by_hand():
    """m1 = 0.1 g1; m2 = 0.9 m1 + 0.1 g2; Nesterov looks ahead: 0.1 g + 0.9 m."""
    weights, first, second = (random(16, 64, seed=seed).double() for seed in range(3))
    params = parameters(weights)
    optimizer = muon(params)
    step(optimizer, params, [first])
    (after,) = step(optimizer, params, [second])
    momenta = [0.1 * first, 0.9 * 0.1 * first + 0.1 * second]
    for gradient, momentum in zip((first, second), momenta, strict=True):
        update = orthogonal((0.1 * gradient + 0.9 * momentum)[None])[0]
        weights = (1 - RATE * DECAY) * weights - RATE * 0.2 * math.sqrt(64) * update
    assert torch.allclose(after, weights, atol=1e-9)


def test_matrices_of_one_shape_move_together_as_they_do_alone():
    shapes = [(16, 32), (32, 16), (16, 32), (16, 32)]
    starts = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    gradients = [[random(*shape, seed=10 * turn + i) for i, shape in enumerate(shapes)] for turn in (1, 2, 3)]
    together = parameters(*starts)
    optimizer = muon(together)
    for some in gradients:
        moved = step(optimizer, together, some)
    for i, start in enumerate(starts):
        alone = parameters(start)
        single = muon(alone)
        for some in gradients:
            (expected,) = step(single, alone, [some[i]])
        assert torch.allclose(moved[i], expected, atol=1e-6)
        assert float((moved[i] - start).abs().max()) > 1e-3


def test_a_matrix_without_gradient_stays_and_the_others_move():
    starts = [random(16, 32, seed=i) for i in range(3)]
    params = parameters(*starts)
    after = step(muon(params), params, [random(16, 32, seed=5), None, random(16, 32, seed=6)])
    assert [torch.equal(a, b) for a, b in zip(after, starts, strict=True)] == [False, True, False]


def test_an_optimizer_goes_on_from_its_saved_state_to_the_last_bit():
    starts, gradients = [random(16, 32), random(32, 16)], [[random(16, 32, seed=i), random(32, 16, seed=-i)] for i in range(1, 5)]
    params = parameters(*starts)
    optimizer = muon(params)
    for some in gradients[:3]:
        middle = step(optimizer, params, some)
    state = deepcopy(optimizer.state_dict())  # its tensors are those of the optimizer itself
    assert sorted((name, tuple(tensor.shape)) for values in state["state"].values() for name, tensor in values.items()) == [
        ("momentum", (16, 32)), ("momentum", (32, 16)),
    ]  # fmt: skip
    others = parameters(*middle)
    other, forgetful = muon(others), muon(strangers := parameters(*middle))
    other.load_state_dict(state)
    expected = step(optimizer, params, gradients[3])
    assert all(torch.equal(a, b) for a, b in zip(step(other, others, gradients[3]), expected, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(step(forgetful, strangers, gradients[3]), expected, strict=True))
