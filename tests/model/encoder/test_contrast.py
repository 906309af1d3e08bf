"""The loss and its gradient held to PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.encoder.contrast import SHARPNESS, gradients


def reference(sums: NDArray[np.float32], partners: int, known: NDArray[np.bool_]) -> tuple[float, NDArray[np.float64]]:
    """The loss and its gradient by the sums, of items that have a vector."""
    given_sums = torch.tensor(sums.astype(np.float64), requires_grad=True)
    unit = torch.nn.functional.normalize(torch.tanh(given_sums), dim=1)
    logits = SHARPNESS * (unit @ unit[0])
    far = [one for one in range(1 + partners, len(sums)) if known[one]]
    losses = [-torch.log_softmax(logits[[one, *far]], 0)[0] for one in range(1, 1 + partners) if known[one]]
    loss = torch.stack(losses).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    assert given_sums.grad is not None
    return float(loss.detach()), given_sums.grad.numpy()


@given(seed=st.integers(0, 10_000), partners=st.integers(1, 4), negatives=st.integers(1, 8), gone=st.floats(0.0, 0.5))
def test_the_gradient_is_that_of_the_loss(seed: int, partners: int, negatives: int, gone: float) -> None:
    rng = np.random.default_rng(seed)
    sums = rng.normal(size=(1 + partners + negatives, 5)).astype(np.float32)
    known = rng.random(len(sums)) >= gone
    known[[0, 1, -1]] = True
    sums[~known] = 0.0
    loss, slopes = gradients(np.tanh(sums), partners)
    expected, gradient = reference(sums, partners, known)
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_allclose(slopes[known], gradient[known], rtol=1e-3, atol=1e-4)
    assert not slopes[~known].any(), "an item without a vector has no gradient"


@pytest.mark.parametrize("missing", [[0], [1, 2], [3, 4]])
def test_without_an_item_or_a_partner_or_a_negative_nothing_is_learned(missing: list[int]) -> None:
    encoded = np.full((5, 3), 0.5, dtype=np.float32)
    encoded[missing] = 0.0
    loss, slopes = gradients(encoded, 2)
    assert loss == 0.0
    assert not slopes.any()
