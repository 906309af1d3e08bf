"""Adam on dense weights (Kingma and Ba 2015), by the functional form of torch's.

An instance of `torch.optim.Adam` imports torch's compiler when it is made, which is used for nothing here, and takes a
server 150 MB and several seconds of its start.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.adam import adam

from stream_reco.signals.growing import Parts

_BETA1, _BETA2, _EPSILON = 0.9, 0.999, 1e-8
"""As torch has them, and the paper."""
_PREFIX = "adam."
_FIELDS = ("step", "exp_avg", "exp_avg_sq")
"""Names in checkpoints, which those of `torch.optim.Adam` became."""


class DenseAdam:
    """Steps of a network's weights by their gradients; a weight that never had one has no moments yet."""

    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        self._weights = list(weights)
        self._moments: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        """By number of the weight: steps so far float32[], means of gradients and of their squares, of its shape."""

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self._weights:
            weight.grad = None

    def step(self, rate: float) -> None:
        """Move each weight that has a gradient."""
        moved = [(number, weight) for number, weight in enumerate(self._weights) if weight.grad is not None]
        for number, weight in moved:
            if number not in self._moments:
                self._moments[number] = torch.tensor(0.0), torch.zeros_like(weight), torch.zeros_like(weight)
        if not moved:
            return
        steps, means, squares = (list(one) for one in zip(*(self._moments[number] for number, _ in moved), strict=True))
        with torch.no_grad():
            adam(
                [weight for _, weight in moved],
                [weight.grad for _, weight in moved if weight.grad is not None],
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

    def state(self) -> Parts:
        """For a checkpoint: `adam.NUMBER.FIELD`."""
        return {
            f"{_PREFIX}{number}.{name}": value.detach().numpy().copy()
            for number, moments in self._moments.items()
            for name, value in zip(_FIELDS, moments, strict=True)
        }

    @staticmethod
    def parts_of(parts: Parts) -> list[tuple[str, int, NDArray[Any]]]:
        """Of those parts that `state` gave the name, the number of the weight, and the value."""
        return [(name, int(name.split(".")[1]), value) for name, value in parts.items() if name.startswith(_PREFIX)]

    def restore(self, parts: Parts) -> None:
        """The inverse of `state`; other parts are passed over."""
        numbers = {number for _, number, _ in self.parts_of(parts)}
        self._moments = {number: _moments(parts, number) for number in numbers}


def _moments(parts: Parts, number: int) -> tuple[Tensor, Tensor, Tensor]:
    step, mean, square = (torch.from_numpy(np.array(parts[f"{_PREFIX}{number}.{name}"])) for name in _FIELDS)
    return step, mean, square
