"""Dense weights of a network of PyTorch as named arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.feature_columns import names_of, widened
from stream_reco.model.weight_shapes import check_shapes
from stream_reco.signals.growing import Parts


def weights_of(network: nn.Module | None) -> Parts:
    """Copies of the weights under their names, and of the names of the features that they read.

    None where a model has no network.
    """
    if network is None:
        return {}
    weights = {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}
    return weights | names_of(network)


def load_weights(network: nn.Module | None, weights: Parts) -> None:
    """Copy weights by name into a network; those of a release with fewer features are widened.

    Buffers that joined later, which modules name as `JOINED_LATER`, are 0 where weights do not have them. Raises
    ValueError if another one is missing or has another shape.
    """
    later = {name: np.zeros_like(value.numpy()) for name, value in _joined_later(network).items()}
    weights = later | widened(network, weights)
    wanted = {} if network is None else {name: tuple(value.shape) for name, value in network.state_dict().items()}
    check_shapes(wanted, weights)
    if network is not None:
        network.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})


def moved_weights(network: nn.Module) -> DenseWeights:
    """The weights of a network, which are parts of one vector from now on."""
    learned = {name: tuple(value.shape) for name, value in network.named_parameters()}
    kept = {name: value for name, value in network.state_dict().items() if name not in learned}
    later = frozenset(_joined_later(network))
    weights = DenseWeights(learned, {name: value.numpy() for name, value in kept.items()}, network, later)
    for name, parameter in network.named_parameters():
        np.copyto(weights.learned[name], parameter.detach().numpy())
    place_on(network, weights)
    return weights


def place_on(network: nn.Module, weights: DenseWeights) -> None:
    """Let a network have its weights and running averages in the memory of these, whose values it takes over."""
    for name, parameter in network.named_parameters():
        parameter.data = torch.from_numpy(weights.learned[name])
    for name, value in weights.averages.items():
        module, _, own = name.rpartition(".")
        setattr(network.get_submodule(module), own, torch.from_numpy(value))


def _joined_later(network: nn.Module | None) -> dict[str, torch.Tensor]:
    """Buffers that earlier releases did not have, by name."""
    modules = [] if network is None else list(network.named_modules())
    return {
        f"{prefix}.{name}".lstrip("."): getattr(module, name)
        for prefix, module in modules
        for name in getattr(module, "JOINED_LATER", ())
    }
