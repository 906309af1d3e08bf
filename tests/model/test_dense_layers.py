"""Layers against NumPy, and their bits: what stands beside a row changes none of its own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.model.dense_layers import bound, dot, filled_up, linear, sigmoid, transposed

Matrix = NDArray[np.float32]


def drawn(*shape: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(("rows", "inputs", "outputs"), [(1, 1, 1), (3, 5, 7), (4, 8, 16), (33, 115, 32), (6, 64, 130)])
def test_a_layer_is_a_product_and_a_bias(rows: int, inputs: int, outputs: int) -> None:
    x, weight, bias = drawn(rows, inputs), drawn(outputs, inputs, seed=1), drawn(outputs, seed=2)
    found = linear(x, transposed(weight), filled_up(bias))
    np.testing.assert_allclose(found[:, :outputs], x.astype(np.float64) @ weight.T + bias, rtol=1e-4, atol=1e-5)
    assert not found[:, outputs:].any(), "what is filled up stays zero"


def test_a_row_has_the_same_bits_whatever_stands_beside_it() -> None:
    x, weight, bias = drawn(37, 21), transposed(drawn(18, 21, seed=1)), filled_up(drawn(18, seed=2))
    together = linear(x, weight, bias)
    for at in range(len(x)):
        np.testing.assert_array_equal(linear(x[at : at + 1].copy(), weight, bias)[0], together[at])


def test_inner_products() -> None:
    for size in (0, 1, 7, 8, 115):
        x, y = drawn(size), drawn(size, seed=1)
        assert dot(x, y) == pytest.approx(float(x.astype(np.float64) @ y), rel=1e-5, abs=1e-5)


def test_the_bounded_function_is_the_hyperbolic_tangent() -> None:
    x = np.concatenate([np.linspace(-20, 20, 40_001), [0.0, 1e-30, -1e-8, 1e30, -1e30]]).astype(np.float32)
    found = x[None].copy()
    bound(found)
    np.testing.assert_allclose(found[0], np.tanh(x.astype(np.float64)), rtol=1e-6, atol=1e-30)
    assert np.abs(found).max() <= 1.0


def test_probabilities_of_log_odds_of_any_size() -> None:
    x = np.array([-1e30, -200, -60, -5, 0, 3, 60, 1e30], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        found = sigmoid(x)
    assert found.dtype == np.float32
    with np.errstate(over="ignore"):
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=1e-6, atol=1e-40)
