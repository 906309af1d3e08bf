"""Adam on dense weights (Kingma and Ba 2015)."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.flat_weights import FlatWeights
from stream_reco.signals.growing import Parts
from stream_reco.train.dense_kernels import adam_step

_PREFIX = "adam."
_FIELDS = ("step", "exp_avg", "exp_avg_sq")
"""Names in checkpoints, which those of `torch.optim.Adam` became."""


class DenseAdam:
    """Steps of weights by their gradients; a weight that never had one has no moments yet."""

    def __init__(self, flat: FlatWeights) -> None:
        self._flat = flat
        self._gradient, self._mean, self._square = (flat.zeros() for _ in range(3))
        self.gradients = flat.parts(self._gradient)
        """Where whoever computes gradients puts that of each weight."""
        self._means, self._squares = flat.parts(self._mean), flat.parts(self._square)
        self._names = list(flat.weights)
        self._steps: dict[str, float] = {}
        """Of each weight: steps so far."""

    def step(self, rate: float, names: Collection[str] | None = None) -> None:
        """Move all weights by `gradients`, or those of these names."""
        chosen = self._names if names is None else [name for name in self._names if name in names]
        for name in chosen:
            self._steps[name] = self._steps.get(name, 0.0) + 1.0
        steps = {self._steps[name] for name in chosen}
        if len(chosen) == len(self._names) and len(steps) == 1:
            # What is between the weights has no gradient, and stays 0.
            adam_step(self._flat.vector, self._gradient, (self._mean, self._square), steps.pop(), rate)
            return
        for name in chosen:
            moments = self._means[name].reshape(-1), self._squares[name].reshape(-1)
            flat = self._flat.weights[name].reshape(-1), self.gradients[name].reshape(-1)
            adam_step(*flat, moments, self._steps[name], rate)

    def state(self) -> Parts:
        """For a checkpoint: `adam.NUMBER.FIELD`."""
        parts: Parts = {}
        for number, name in enumerate(self._names):
            if name in self._steps:
                step = np.array(self._steps[name], dtype=np.float32)
                values = step, self._means[name].copy(), self._squares[name].copy()
                parts |= {f"{_PREFIX}{number}.{field}": one for field, one in zip(_FIELDS, values, strict=True)}
        return parts

    @staticmethod
    def parts_of(parts: Parts) -> list[tuple[str, int, NDArray[Any]]]:
        """Of those parts that `state` gave the name, the number of the weight, and the value."""
        return [(name, int(name.split(".")[1]), value) for name, value in parts.items() if name.startswith(_PREFIX)]

    def restore(self, parts: Parts) -> None:
        """The inverse of `state`; other parts are passed over."""
        self._steps = {}
        self._mean[:] = self._square[:] = 0.0
        for number in sorted({number for _, number, _ in self.parts_of(parts)}):
            step, mean, square = (parts[f"{_PREFIX}{number}.{field}"] for field in _FIELDS)
            name = self._names[number]
            self._steps[name] = float(step)
            np.copyto(self._means[name], mean)
            np.copyto(self._squares[name], square)
