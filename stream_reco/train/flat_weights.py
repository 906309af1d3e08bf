"""The weights of a network behind each other in one vector, so that what is done to each number takes one call."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_ALIGNED = 16
"""float32 numbers in 64 bytes: each weight begins at a cache line, as if it had memory of its own."""


class FlatWeights:
    """Becomes the memory of weights, which go on as parts of it; between them are zeros."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self.weights = list(weights)
        self._starts, size = [], 0
        for weight in self.weights:
            self._starts.append(size)
            size += -(-weight.numel() // _ALIGNED) * _ALIGNED
        self.vector = torch.zeros(size)
        for weight, part in zip(self.weights, self.parts(self.vector), strict=True):
            part.copy_(weight.detach())
            weight.data = part

    def zeros(self) -> Tensor:
        """float32 as long as the vector."""
        return torch.zeros_like(self.vector)

    def parts(self, vector: Tensor) -> list[Tensor]:
        """Of a vector as long as this one the part of each weight, in its shape."""
        sizes = zip(self._starts, self.weights, strict=True)
        return [vector[start : start + weight.numel()].view(weight.shape) for start, weight in sizes]
