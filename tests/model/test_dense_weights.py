"""Dense weights in one vector: under PyTorch's networks, and as what they begin with."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.flat_weights import FlatWeights
from stream_reco.model.random_weights import RandomWeights
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import moved_weights, weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn
from stream_reco.train.first_model import dense_weights_of


class _Network(nn.Module):
    """Linear layers around a running average."""

    seen: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 3), nn.Linear(3, 1)
        self.register_buffer("seen", torch.zeros(3))


def test_weights_are_parts_of_one_vector_with_zeros_between() -> None:
    flat = FlatWeights({"a": (3, 4), "b": (), "c": (17,)})
    for name, one in flat.weights.items():
        one[...] = 1.0 + len(name)
    assert [one.shape for one in flat.weights.values()] == [(3, 4), (), (17,)]
    assert int((flat.vector != 0).sum()) == 12 + 1 + 17
    flat.vector *= 2.0
    assert all((one == 4.0).all() for one in flat.weights.values())


def test_a_network_stays_on_the_vector_when_it_is_loaded() -> None:
    network, other = _Network(), _Network()
    before = weights_of(network)
    weights = moved_weights(network)
    assert all(np.array_equal(one, weights_of(network)[name]) for name, one in before.items())
    network.load_state_dict(other.state_dict())
    weights.flat.vector *= 2.0
    network.seen += 1.0
    for (name, weight), loaded in zip(network.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(weight, 2.0 * loaded), name
    assert weights["seen"].tolist() == [1.0, 1.0, 1.0]
    copied = deepcopy(network)
    weights.flat.vector[:] = 0.0
    assert float(copied.first.weight.detach().abs().sum()) > 0.0


def test_what_was_saved_is_loaded_and_another_shape_refused() -> None:
    one, other = (DenseWeights({"a": (2, 3)}, {"b": np.zeros((), np.float32)}) for _ in range(2))
    one["a"][:] = np.arange(6).reshape(2, 3)
    one["b"][...] = 7.0
    other.load(one.state())
    assert other["a"].tolist() == one["a"].tolist()
    assert other["b"] == 7.0
    with pytest.raises(ValueError, match="a has shape"):
        other.load({"a": np.zeros((3, 2), np.float32), "b": np.zeros((), np.float32)})


def test_layers_are_drawn_as_pytorch_draws_them() -> None:
    torch.manual_seed(11)
    layers, random = [nn.Linear(7, 9), nn.Linear(9, 300)], RandomWeights(11)
    for layer in layers:
        for weight in layer.parameters():
            drawn = random.of_layer(tuple(weight.shape), layer.in_features)
            assert np.array_equal(drawn, weight.detach().numpy())


@pytest.mark.parametrize("settings", [TwoTowerDcnSettings(), TwoTowerDcnSettings(cross_layers=3, without=("shown",))])
def test_the_network_of_a_model_is_on_its_weights(settings: TwoTowerDcnSettings) -> None:
    model = TwoTowerDcn(settings)
    parameters = dict(model.network.named_parameters())
    assert list(parameters) == list(model.weights.learned), "checkpoints number the optimizer's state in this order"
    assert weights_of(model.network).keys() == model.weights.state().keys()
    copied = deepcopy(model)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(1.0)
    model.network.standardise.batches += 1
    for name, one in weights_of(model.network).items():
        assert np.array_equal(one, model.weights.state()[name]), name
    assert model.weights["standardise.batches"] == copied.weights["standardise.batches"] + 1
    for name, weight in model.weights.learned.items():
        np.testing.assert_allclose(weight, copied.weights[name] + 1.0, rtol=1e-6)


def test_a_seed_says_what_a_model_begins_with() -> None:
    models = [TwoTowerDcn(TwoTowerDcnSettings()) for _ in range(3)]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        model.begin(seed)
    first, same, other = (model.weights.flat.vector for model in models)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", ["bpr", "glmix", "two_tower_dcn"])
def test_every_model_has_its_dense_weights_as_arrays(name: str) -> None:
    model = ModelSettings(name).build()
    weights = dense_weights_of(model)
    assert model.network is not None
    for label, one in weights_of(model.network).items():
        assert np.array_equal(one, weights.state()[label])
