"""Models that compute their loss and its gradients in a few compiled passes; autograd is the reference."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.inputs import Batch
from stream_reco.model.lookup import Lookup
from stream_reco.model.spec import Model
from stream_reco.model.training_batch import TrainingBatch


class RowGradients(NamedTuple):
    """What a batch says of rows of one table."""

    table: str
    keys: NDArray[np.int64]
    """int64[u], distinct."""
    gradients: NDArray[np.float32]
    """float32[u, dim]"""


class Learned(NamedTuple):
    """What a batch says of everything that is learned, but for the dense weights."""

    loss: float
    """Summed over the examples."""
    rows: list[RowGradients]


class Fused(Protocol):
    """Computes what `score`, `loss` and autograd compute, up to rounding; not for two threads at once."""

    def score(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[n]: log-odds of each candidate, its position unknown."""
        ...

    def bottom(self, batch: Batch, tables: Mapping[str, Lookup]) -> NDArray[np.float32]:
        """float32[n, bottom_dim]: what heads read of each candidate."""
        ...

    def learn(
        self,
        batch: TrainingBatch,
        tables: Mapping[str, Lookup],
        scale: float,
        gradients: Mapping[str, NDArray[np.float32]],
    ) -> Learned:
        """The loss, and the gradients of `scale` times it; those of the dense weights, by name, overwrite `gradients`.

        Running averages of the network take the batch in first.
        """
        ...


FORMS = {"two_tower_dcn": "stream_reco.model.fused.two_tower_dcn:fused_two_tower_dcn"}
"""By the name of a model `module:function` from the model to its fused form, or to None where its settings have none.
A module is imported only where its model is used."""


def fused_of(model: Model) -> Fused | None:
    """The fused form of a model on the weights that it has now and gets in place, made once; None where it has none."""
    if model not in _MADE:
        module, _, function = FORMS.get(model.name, "").partition(":")
        _MADE[model] = getattr(import_module(module), function)(model) if module else None
    return _MADE[model]


_MADE: WeakKeyDictionary[Model, Fused | None] = WeakKeyDictionary()
