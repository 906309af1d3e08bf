"""Adam on dense weights (Kingma and Ba 2015), by the functional form of torch's.

An instance of `torch.optim.Adam` imports torch's compiler when it is made, which is used for nothing here, and takes a
server 150 MB and several seconds of its start.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.adam import adam

from stream_reco.signals.growing import Parts
from stream_reco.train.flat_weights import FlatWeights

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""As torch has them, and the paper."""
_PREFIX = "adam."
_FIELDS = ("step", "exp_avg", "exp_avg_sq")
"""Names in checkpoints, which those of `torch.optim.Adam` became."""


class DenseAdam:
    """Steps of a network's weights by their gradients; a weight that never had one has no moments yet."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self.flat = FlatWeights(weights)
        self._weights = self.flat.weights
        self._gradient, self._mean, self._square = (self.flat.zeros() for _ in range(3))
        self.gradients = self.flat.parts(self._gradient)
        """Where whoever computes gradients without autograd puts that of each weight, for `step_all`."""
        self._means, self._squares = self.flat.parts(self._mean), self.flat.parts(self._square)
        self._steps: dict[int, Tensor] = {}
        """By number of the weight: steps so far, float32[]."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self._weights:
            weight.grad = None

    def step(self, rate: float) -> None:
        """Move each weight that has a gradient by autograd."""
        grads = {number: weight.grad for number, weight in enumerate(self._weights) if weight.grad is not None}
        self._step(grads, rate)

    def step_all(self, rate: float) -> None:
        """Move all weights, by `gradients`."""
        steps = [float(one) for one in self._steps.values()]
        if len(steps) < len(self._weights) or steps.count(steps[0]) < len(steps):
            self._step(dict(enumerate(self.gradients)), rate)
            return
        # What is between the weights has no gradient, and stays 0.
        _adam([self.flat.vector], [self._gradient], [self._mean], [self._square], [self._steps[0]], rate)
        for number in range(1, len(steps)):
            self._steps[number] = self._steps[0]

    def _step(self, grads: Mapping[int, Tensor], rate: float) -> None:
        if not grads:
            return
        for number in grads:
            # Those that were moved together may count in one place.
            self._steps[number] = self._steps.get(number, torch.zeros(())).clone()
        numbers = list(grads)
        weights, means, squares = (
            [one[number] for number in numbers] for one in (self._weights, self._means, self._squares)
        )
        _adam(weights, list(grads.values()), means, squares, [self._steps[number] for number in numbers], rate)

    def state(self) -> Parts:
        """For a checkpoint: `adam.NUMBER.FIELD`."""
        return {
            f"{_PREFIX}{number}.{name}": value.detach().numpy().copy()
            for number, step in self._steps.items()
            for name, value in zip(_FIELDS, (step, self._means[number], self._squares[number]), strict=True)
        }

    @staticmethod
    def parts_of(parts: Parts) -> list[tuple[str, int, NDArray[Any]]]:
        """Of those parts that `state` gave the name, the number of the weight, and the value."""
        return [(name, int(name.split(".")[1]), value) for name, value in parts.items() if name.startswith(_PREFIX)]

    def restore(self, parts: Parts) -> None:
        """The inverse of `state`; other parts are passed over."""
        self._steps = {}
        self._mean.zero_()
        self._square.zero_()
        for number in sorted({number for _, number, _ in self.parts_of(parts)}):
            step, mean, square = (torch.from_numpy(np.array(parts[f"{_PREFIX}{number}.{name}"])) for name in _FIELDS)
            self._steps[number] = step
            self._means[number].copy_(mean)
            self._squares[number].copy_(square)


def _adam(
    weights: list[Any],
    grads: list[Tensor],
    means: list[Tensor],
    squares: list[Tensor],
    steps: list[Tensor],
    rate: float,
) -> None:
    with torch.no_grad():
        adam(
            weights,
            grads,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=_BETA1,
            beta2=_BETA2,
            lr=rate,
            weight_decay=0.0,
            eps=_EPSILON,
            maximize=False,
        )
