"""What models make of features before their weights meet them: standardised columns, and the items' own rates.

Here are the numbers and the kernels by which features are read when serving; `standardise.py` and `click_rate.py` hold
the same layers as modules that learn.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.features.names import FEATURES
from stream_reco.signals.growing import Parts

MOST_DEVIATIONS = 5.0
"""Models cut standardised features beyond, so that one outlier cannot move all weights."""
EPSILON = 1e-5
"""Added to variances, so that a constant feature is not divided by zero (the default of batch normalisation)."""
SLOWEST = 0.01
"""Least weight of a batch in the running averages: they forget over about a hundred batches."""
LEAST_VARIANCE = 0.05
"""Features are logarithms, so of a deviation of 0.2 and less: what hardly ever differs from 0, such as a neighbour in a
young shop, would otherwise stand as far outside as anything can once it does."""
_PAIRS = [("shown_6h", "decayed_6h"), ("shown_7d", "decayed_7d")]
"""Impressions and actions under the same half-life, both as log(1 + count)."""
SHOWN, ACTED = ([FEATURES.index(pair[side]) for pair in _PAIRS] for side in (0, 1))
"""Their columns."""
PRIOR_ACTIONS = 4.0
"""Actions at the rate of all items that each item begins with: as if rates had a deviation of 1 / √4 of their mean
(the shape of a Gamma prior). With twice or half of it items come in the same order, but for a few."""
FIRST_ACTIONS, FIRST_SHOWN = 0.5, 10.0
"""What the rate of all items begins with."""
LARGEST = 20.0
"""log(1 + count) that is believed, of half a billion: a damaged feature must not make infinities."""

_SHOWN_AT, _ACTED_AT = np.array(SHOWN, dtype=np.int64), np.array(ACTED, dtype=np.int64)
_PRIOR, _MOST = np.float32(PRIOR_ACTIONS), np.float32(LARGEST)


def scales_of(weights: Parts, prefix: str = "") -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and reciprocal deviation float32[features] of a standardising layer, from a network's weights."""
    variance = np.maximum(weights[f"{prefix}variance"], weights[f"{prefix}least_variance"])
    slopes: NDArray[np.float32] = np.reciprocal(np.sqrt(variance + np.float32(EPSILON)))
    return weights[f"{prefix}mean"].copy(), slopes


def rates_of(weights: Parts, prefix: str) -> NDArray[np.float32]:
    """float32[half-lives + 1]: the rate of all items by half-life, and what the items' log-odds are multiplied by."""
    counts = weights[f"{prefix}counts"]
    rates = (counts[0] + np.float32(FIRST_ACTIONS)) / (counts[1] + np.float32(FIRST_SHOWN))
    return np.append(rates, weights[f"{prefix}voice"]).astype(np.float32)


@njit(cache=True, nogil=True)
def click_rate(features: NDArray[np.float32], rates: NDArray[np.float32]) -> np.float32:
    """Log-odds of an item's own rate against the rate of all, by its features float32[features] and `rates_of`."""
    total = np.float32(0.0)
    for pair in range(_SHOWN_AT.shape[0]):
        shown = np.float32(math.expm1(min(max(features[_SHOWN_AT[pair]], np.float32(0.0)), _MOST)))
        if shown > 0.0:
            acted = np.float32(math.expm1(min(max(features[_ACTED_AT[pair]], np.float32(0.0)), _MOST)))
            odds = (min(acted, shown) + _PRIOR) / (rates[pair] * shown + _PRIOR)
            total += np.float32(math.log(odds))
    return np.float32(total / np.float32(_SHOWN_AT.shape[0]) * rates[_SHOWN_AT.shape[0]])
