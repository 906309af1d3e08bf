"""The dense weights of a model as arrays: one vector of those that are learned, and running averages beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.feature_columns import names_of, widened
from stream_reco.model.flat_weights import FlatWeights
from stream_reco.model.weight_shapes import Shape, check_shapes
from stream_reco.signals.growing import Parts


class DenseWeights:
    """Weights by the names that checkpoints and publications have for them."""

    def __init__(
        self,
        learned: Mapping[str, Shape],
        averages: Parts,
        reads: object = None,
        joined_later: frozenset[str] = frozenset(),
    ) -> None:
        """`learned`: shapes of what an optimizer moves, in its order, all zeros; `averages`: the arrays of the rest.

        `reads` has the names of the features that columns are of, if there are such (`ReadsFeatures`); `joined_later`
        are names that weights of earlier releases may lack, and that are 0 then.
        """
        self.flat = FlatWeights(learned)
        self.learned, self.averages = self.flat.weights, averages
        self.reads, self._joined_later = reads, joined_later

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.learned[name] if name in self.learned else self.averages[name]

    def state(self) -> Parts:
        """Copies of all by name, and of the names of the features that they read."""
        return {name: value.copy() for name, value in self._all().items()} | names_of(self.reads)

    def load(self, parts: Parts) -> None:
        """Take over what `state` gave; weights of a release with fewer features are widened.

        Raises ValueError if one is missing or has another shape.
        """
        weights = {name: np.zeros_like(self[name]) for name in self._joined_later} | widened(self.reads, parts)
        present = self._all()
        check_shapes({name: value.shape for name, value in present.items()}, weights)
        for name, value in present.items():
            np.copyto(value, weights[name])

    def copy_averages(self, other: DenseWeights) -> None:
        """Take over the running averages of another one of the same sizes."""
        for name, value in other.averages.items():
            np.copyto(self.averages[name], value)

    def _all(self) -> Parts:
        return self.learned | self.averages


@runtime_checkable
class HoldsWeights(Protocol):
    """A model whose dense weights are arrays; a network is made on their memory only where autograd is wanted."""

    weights: DenseWeights

    def begin(self, seed: int) -> None:
        """Start with the first weights of this seed."""
        ...
