"""Each optimizer step by step against torch's dense one, FTRL against the paper's formula."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.embedding import SGD, Adagrad, Adam, EmbeddingTable, Ftrl, Optimizer, RowwiseAdagrad

# 37: longer than a vector of any processor, with a rest.
DIM, KEYS, STEPS = 37, 9, 60
Dense = Callable[[list[torch.Tensor]], torch.optim.Optimizer]


def gradients(seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(STEPS, KEYS, DIM)).astype(np.float32)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.01)),
        (SGD(lr=0.3), lambda p: torch.optim.SGD(p, lr=0.3)),
        ("adagrad", lambda p: torch.optim.Adagrad(p)),
        (
            Adagrad(lr=0.2, eps=1e-3, initial_accumulator_value=0.5),
            lambda p: torch.optim.Adagrad(p, lr=0.2, eps=1e-3, initial_accumulator_value=0.5),
        ),
        ("adam", lambda p: torch.optim.Adam(p)),
        (
            Adam(lr=0.05, beta1=0.8, beta2=0.95, eps=1e-4),
            lambda p: torch.optim.Adam(p, lr=0.05, betas=(0.8, 0.95), eps=1e-4),
        ),
    ],
)
def test_steps_are_those_of_torch(ours: str | Optimizer, theirs: Dense) -> None:
    table = EmbeddingTable(DIM, ours)
    keys = np.arange(KEYS)
    table.train_rows(keys, 0)
    dense = torch.tensor(table.lookup(keys), requires_grad=True)
    optimizer = theirs([dense])
    for gradient in gradients(1):
        dense.grad = torch.tensor(gradient)
        optimizer.step()
        table.apply_gradients(keys, gradient)
        np.testing.assert_allclose(table.lookup(keys), dense.detach().numpy(), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("optimizer", [Adagrad(eps=0.0), RowwiseAdagrad(eps=0.0), Adam(eps=0.0), Ftrl(beta=0.0)])
def test_a_gradient_of_zero_moves_nothing_even_without_eps(optimizer: Optimizer) -> None:
    table = EmbeddingTable(DIM, optimizer)
    table.train_rows([1], 0)
    before = table.lookup([1])
    table.apply_gradients([1], np.zeros((1, DIM), np.float32))
    np.testing.assert_array_equal(table.lookup([1]), before)
    assert table.rejected_gradients == 0


def test_adam_counts_the_steps_of_each_row() -> None:
    table = EmbeddingTable(DIM, Adam(lr=0.1))
    table.train_rows([1, 2], 0)
    lonely = torch.tensor(table.lookup([2])[0], requires_grad=True)
    optimizer = torch.optim.Adam([lonely], lr=0.1)
    for step, gradient in enumerate(gradients(2)):
        table.apply_gradients([1], gradient[:1])
        if step % 4 == 0:
            table.apply_gradients([2], gradient[1:2])
            lonely.grad = torch.tensor(gradient[1])
            optimizer.step()
    np.testing.assert_allclose(table.lookup([2])[0], lonely.detach().numpy(), rtol=2e-5, atol=2e-6)


def test_rowwise_adagrad_shares_one_accumulator() -> None:
    table = EmbeddingTable(DIM, RowwiseAdagrad(lr=0.1, eps=1e-6, initial_accumulator_value=0.2))
    keys = np.arange(KEYS)
    table.train_rows(keys, 0)
    weights, squares = table.lookup(keys).astype(np.float64), np.full((KEYS, 1), 0.2)
    for gradient in gradients(3).astype(np.float64):
        squares += (gradient**2).mean(axis=1, keepdims=True)
        weights -= 0.1 * gradient / (np.sqrt(squares) + 1e-6)
        table.apply_gradients(keys, gradient.astype(np.float32))
        np.testing.assert_allclose(table.lookup(keys), weights, rtol=1e-4, atol=1e-5)


def ftrl_weight(z: float, n: float, settings: Ftrl) -> float:
    """Algorithm 1 of McMahan et al. 2013, the line that computes w."""
    if abs(z) <= settings.l1:
        return 0.0
    strength = (settings.beta + math.sqrt(n)) / settings.alpha + settings.l2
    return -(z - math.copysign(settings.l1, z)) / strength


@pytest.mark.parametrize("settings", [Ftrl(), Ftrl(alpha=0.5, beta=0.2, l1=1.5, l2=0.7)])
def test_ftrl_is_the_papers(settings: Ftrl) -> None:
    table = EmbeddingTable(1, settings)
    table.train_rows([7], 0)
    z = n = w = 0.0
    zeros = 0
    for gradient in gradients(4)[:, 0, 0].tolist():
        sigma = (math.sqrt(n + gradient**2) - math.sqrt(n)) / settings.alpha
        z += gradient - sigma * w
        n += gradient**2
        w = ftrl_weight(z, n, settings)
        zeros += w == 0
        table.apply_gradients([7], np.array([[gradient]], np.float32))
        assert float(table.lookup([7])[0, 0]) == pytest.approx(w, rel=1e-4, abs=1e-6)
    assert (zeros > 0) == (settings.l1 > 0)


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rowwise_adagrad", "adam", "ftrl"])
def test_duplicates_are_summed_before_the_step(name: str) -> None:
    gradient = gradients(5)[0]
    split, whole = EmbeddingTable(DIM, name), EmbeddingTable(DIM, name)
    for table in (split, whole):
        table.train_rows(np.arange(4), 0)
    keys = np.array([0, 1, 0, 2, 0, 2, 3, 3, 3])
    sums = np.zeros((4, DIM), np.float32)
    for key, part in zip(keys, gradient, strict=True):
        sums[key] += part
    split.apply_gradients(keys, gradient)
    whole.apply_gradients(np.arange(4), sums)
    np.testing.assert_array_equal(split.lookup(np.arange(4)), whole.lookup(np.arange(4)))


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rowwise_adagrad", "adam", "ftrl"])
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf, 3e38])
def test_gradients_that_are_not_finite_are_refused_and_counted(name: str, poison: float) -> None:
    table = EmbeddingTable(DIM, name)
    table.train_rows([1, 2, 3], 0)
    table.apply_gradients([1, 2, 3], np.ones((3, DIM), np.float32))
    table.drain_touched()
    before = table._store.data.read(3).view(np.float32).reshape(3, -1)
    gradient = np.ones((4, DIM), np.float32)
    gradient[2, 4] = poison
    table.apply_gradients([1, 2, 2, 3], gradient)
    after = table._store.data.read(3).view(np.float32).reshape(3, -1)
    assert table.rejected_gradients == 1
    assert (before != after).any(axis=1).tolist() == [True, False, True]
    assert table.drain_touched().keys.tolist() == [1, 3]


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_gradient_is_taken_and_the_next_is_not(sign: int) -> None:
    table = EmbeddingTable(1, "adagrad")
    table.train_rows([1], 0)
    largest = np.array([[sign * 1e15]], np.float32)
    table.apply_gradients([1], largest)
    assert table.rejected_gradients == 0
    table.apply_gradients([1], np.nextafter(largest, largest * 2))
    assert table.rejected_gradients == 1
    assert np.isfinite(table.lookup([1])).all()


@pytest.mark.parametrize(
    ("kind", "settings", "field"),
    [
        (SGD, {"lr": 0.0}, "lr"),
        (SGD, {"lr": math.nan}, "lr"),
        (Adagrad, {"eps": -1.0}, "eps"),
        (Adam, {"beta1": 1.0}, "beta1"),
        (Adam, {"beta2": 1.5}, "beta2"),
        (Ftrl, {"alpha": math.inf}, "alpha"),
    ],
)
def test_settings_outside_their_range_are_named(kind: type[Optimizer], settings: dict[str, float], field: str) -> None:
    with pytest.raises(ValueError, match=field):
        kind(**settings)


def test_an_unknown_optimizer_is_named() -> None:
    with pytest.raises(ValueError, match="'lion' is unknown; choose from sgd"):
        EmbeddingTable(2, "lion")
