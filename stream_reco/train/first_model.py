"""A model as it begins, and where its dense weights are."""

from __future__ import annotations

from stream_reco.model.dense_weights import DenseWeights, HoldsWeights
from stream_reco.model.registry import model_class
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import Model


def first_model(settings: ModelSettings, seed: int) -> Model:
    """An untrained model, its first weights drawn with a seed; those of a network are drawn by PyTorch."""
    if hasattr(model_class(settings.name), "begin"):
        model = settings.build()
        assert isinstance(model, HoldsWeights)
        model.begin(seed)
        return model
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return settings.build()


def dense_weights_of(model: Model) -> DenseWeights:
    """The weights of a model; those of a network of PyTorch move into one vector, and stay its weights there."""
    if isinstance(model, HoldsWeights):
        return model.weights
    if model.network is None:
        return DenseWeights({}, {})
    from stream_reco.model.weights import moved_weights

    return moved_weights(model.network)
