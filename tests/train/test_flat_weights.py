"""Weights that share one vector."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stream_reco.train.dense_adam import DenseAdam
from stream_reco.train.flat_weights import FlatWeights


def _network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 1))


def test_weights_are_parts_of_the_vector_and_stay_so_when_they_are_loaded() -> None:
    network, other = _network(), nn.Sequential(nn.Linear(5, 3), nn.Linear(3, 1))
    before = [weight.detach().clone() for weight in network.parameters()]
    flat = FlatWeights(network.parameters())
    assert all(torch.equal(one, weight) for one, weight in zip(before, network.parameters(), strict=True))
    assert int((flat.vector != 0).sum()) == sum(one.numel() for one in before)
    network.load_state_dict(other.state_dict())
    flat.vector *= 2.0
    for weight, loaded in zip(network.parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, 2.0 * loaded)


def test_one_step_of_all_weights_is_a_step_of_each() -> None:
    apart, together = (DenseAdam(_network().parameters()) for _ in range(2))
    generator = torch.Generator().manual_seed(2)
    for number in range(6):
        for weight, gradient in zip(apart.flat.weights, together.gradients, strict=True):
            weight.grad = torch.randn(weight.shape, generator=generator)
            gradient.copy_(weight.grad)
        if number == 2:  # one weight has been moved more often than the others from here on
            apart.flat.weights[1].grad = None
            apart.step(0.01)
            for optimizer in (apart, together):
                optimizer.restore(apart.state())
            together.flat.vector.copy_(apart.flat.vector)
            continue
        apart.step(0.01)
        together.step_all(0.01)
        # Numbers at the end of a weight are not in a vector of the processor, and are rounded in another place.
        torch.testing.assert_close(apart.flat.vector, together.flat.vector, rtol=1e-6, atol=1e-8)
        kept, mine = apart.state(), together.state()
        assert kept.keys() == mine.keys()
        for name, one in kept.items():
            np.testing.assert_allclose(mine[name], one, rtol=1e-5, atol=1e-9, err_msg=name)
