"""Steps of Adam and running averages of dense weights, each in one pass over the numbers.

With the check for zero that Numba makes of each division, LLVM would not vectorise the step: hence `error_model`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""As the paper has them, and PyTorch."""


@njit(cache=True, nogil=True, error_model="numpy")
def adam_step(
    weights: NDArray[np.float32],
    gradients: NDArray[np.float32],
    moments: tuple[NDArray[np.float32], NDArray[np.float32]],
    step: float,
    rate: float,
) -> None:
    """Move float32[n] weights by their gradients (Kingma and Ba 2015, algorithm 1); `step` counts this one, from 1.

    `moments`: running means of the gradients and of their squares, float32[n] each.
    """
    means, squares = moments
    far = np.float32(rate / (1.0 - BETA1**step))
    root = np.float32(math.sqrt(1.0 - BETA2**step))
    share, other, kept = np.float32(1.0 - BETA1), np.float32(1.0 - BETA2), np.float32(BETA2)
    for at in range(len(weights)):
        gradient = gradients[at]
        mean = means[at] + share * (gradient - means[at])
        square = squares[at] * kept + other * gradient * gradient
        means[at], squares[at] = mean, square
        weights[at] -= far * mean / (np.sqrt(square) / root + np.float32(EPSILON))


@njit(cache=True, nogil=True)
def move_towards(means: NDArray[np.float32], values: NDArray[np.float32], share: float) -> None:
    """Let running means float32[n] have a share of values float32[n]; of a share of 1 nothing stays."""
    part = np.float32(share)
    for at in range(len(means)):
        means[at] = values[at] if part == np.float32(1.0) else means[at] + part * (values[at] - means[at])
