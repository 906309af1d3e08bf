"""What candidates are ordered by: their probabilities, and what moves an item up or down without making it likelier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_LEAST = 1e-7
"""Probabilities are kept this far from 0 and 1 before their log-odds are taken."""


def ordering_values(scores: NDArray[np.float32], shifts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """float32[n]: the probabilities `scores` float32[n] with all `shifts` float32[n] added to their log-odds.

    Slates are ordered by these and say the scores, which stay calibrated.
    """
    if not shifts:
        return scores
    kept = np.clip(scores.astype(np.float64), _LEAST, 1.0 - _LEAST)
    odds = np.log(kept / (1.0 - kept)) + np.sum(shifts, axis=0, dtype=np.float64)
    values: NDArray[np.float32] = (1.0 / (1.0 + np.exp(-odds))).astype(np.float32)
    return values
