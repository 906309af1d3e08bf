"""The loss that the encoder learns by: an item's vector is nearer to that of its partner than to those of others.

A softmax over cosines (InfoNCE: van den Oord, Li and Vinyals 2018, equation 4) of one partner and the hardest of the
negatives, for each partner of an item.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SHARPNESS = 8.0
"""What cosines are multiplied by: a difference of a quarter is one of 2 on the log-odds."""
_SMALLEST = 1e-6
"""Vectors shorter than this are zeros but for rounding: they point nowhere, and are left out."""


def gradients(encoded: NDArray[np.float32], partners: int) -> tuple[float, NDArray[np.float32]]:
    """Mean loss over the partners, and its gradient by what tanh was taken of, float32[n, dim].

    `encoded` float32[n, dim] are the vectors of an item, of its `partners`, and of n − 1 − partners negatives. Where
    the item has no vector, or no partner or no negative has one, nothing is learned.
    """
    lengths = np.sqrt(np.einsum("nd,nd->n", encoded, encoded))
    known = lengths >= _SMALLEST
    near, far = np.flatnonzero(known[1 : 1 + partners]) + 1, np.flatnonzero(known[1 + partners :]) + 1 + partners
    if not known[0] or not len(near) or not len(far):
        return 0.0, np.zeros_like(encoded)
    lengths = np.where(known, lengths, np.float32(1.0))[:, None]
    unit = encoded / lengths
    cosines = unit @ unit[0]
    loss, by_cosine = _softmaxes(cosines, near, far)
    slopes = by_cosine[:, None] * (unit[0] - cosines[:, None] * unit) / lengths
    slopes[0] = (by_cosine[1:] @ unit[1:] - (by_cosine[1:] @ cosines[1:]) * unit[0]) / lengths[0]
    slopes *= 1.0 - encoded * encoded
    return loss, slopes


def _softmaxes(
    cosines: NDArray[np.float32], near: NDArray[np.int64], far: NDArray[np.int64]
) -> tuple[float, NDArray[np.float32]]:
    """The mean loss of a softmax for each of the places `near` among those that are `far`; its gradient float32[n]."""
    # One row for each partner: its own log-odds, then those of all negatives.
    logits = np.column_stack([cosines[near], np.tile(cosines[far], (len(near), 1))]) * SHARPNESS
    most = logits.max(axis=1, keepdims=True)
    odds = np.exp(logits - most)
    totals = odds.sum(axis=1, keepdims=True)
    shares = odds / totals
    by_cosine = np.zeros(len(cosines), dtype=np.float32)
    by_cosine[near] = (shares[:, 0] - 1.0) * (SHARPNESS / len(near))
    by_cosine[far] = shares[:, 1:].sum(axis=0) * (SHARPNESS / len(near))
    return float(np.mean(np.log(totals) + most - logits[:, :1])), by_cosine
