"""Weights behind each other in one vector, so that what is done to each number takes one call."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.weight_shapes import Shape

_ALIGNED = 16
"""float32 numbers in 64 bytes: each weight begins at a cache line, if the vector does, as if it had its own memory."""


class FlatWeights:
    """The memory of weights, which are parts of it by name; between them are zeros."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes, self._starts, size = dict(shapes), {}, 0
        for name, shape in self._shapes.items():
            self._starts[name] = size
            size += -(-math.prod(shape) // _ALIGNED) * _ALIGNED
        self.vector = np.zeros(size, dtype=np.float32)
        self.weights = self.parts(self.vector)

    def zeros(self) -> NDArray[np.float32]:
        """float32 as long as the vector."""
        return np.zeros_like(self.vector)

    def parts(self, vector: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Of a vector as long as this one the part of each weight, in its shape."""
        return {
            name: vector[start : start + math.prod(self._shapes[name])].reshape(self._shapes[name])
            for name, start in self._starts.items()
        }
