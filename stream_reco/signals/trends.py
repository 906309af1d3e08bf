"""What is popular at this moment: trending lists, fresh items, and the distribution that negatives are drawn from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import Counters, decayed_at
from stream_reco.signals.settings import ACTION_HALF_LIVES_MS

ACTIVITY = ACTION_HALF_LIVES_MS.index(86_400_000)
"""Column of the decayed counter that says how active an item is."""
_NEGLIGIBLE = 1e-3
"""Decayed actions (half-life a day) at or below which an item is not active: one action of ten days ago."""


class Trends(NamedTuple):
    """Lists that are renewed now and then, not on each event: exponential decay keeps their order in between."""

    trending: NDArray[np.int32]
    """int32[half-lives, width]: slots with the largest decayed counts, −1 behind the last."""
    fresh: NDArray[np.int32]
    """int32[width]: the newest slots, −1 behind the last."""
    active: NDArray[np.int32]
    """int32[n]: slots that were acted on lately, ascending."""
    cumulative: NDArray[np.float64]
    """float64[n]: running sum of √activity of the active slots."""
    chances: NDArray[np.float32]
    """float32[slots]: √activity of each slot divided by their sum."""


def no_trends(width: int, fresh_width: int) -> Trends:
    """The trends before the first event."""
    none = np.empty(0, dtype=np.int32)
    return Trends(
        np.full((len(ACTION_HALF_LIVES_MS), width), -1, dtype=np.int32),
        np.full(fresh_width, -1, dtype=np.int32),
        none,
        np.empty(0, dtype=np.float64),
        np.empty(0, dtype=np.float32),
    )


def find_trends(
    counters: Counters, available: NDArray[np.bool_], size: int, now: int, width: int, fresh_width: int
) -> Trends:
    """Trends of the first `size` slots at `now` (ms)."""
    if size == 0:
        return no_trends(width, fresh_width)
    kinds = len(ACTION_HALF_LIVES_MS)
    counts = (decayed_at(counters, slice(size), kinds, now) * available[:size, None]).astype(np.float32)
    trending = np.stack([_largest(counts[:, kind], width) for kind in range(kinds)])
    ages = np.where(available[:size], counters.first_seen[:size], -1).astype(np.float64)
    fresh = _largest(ages + 1.0, fresh_width)
    activity = counts[:, ACTIVITY]
    active = np.flatnonzero(activity > _NEGLIGIBLE).astype(np.int32)
    weights = np.sqrt(activity[active])
    cumulative = np.cumsum(weights, dtype=np.float64)
    chances = np.zeros(size, dtype=np.float32)
    if len(active):
        chances[active] = weights / np.float32(cumulative[-1])
    return Trends(trending, fresh, active, cumulative, chances)


def _largest(values: NDArray[np.floating], width: int) -> NDArray[np.int32]:
    """Indices of the largest positive values, largest first, ties by index; −1 behind the last."""
    count = min(width, len(values))
    if count < len(values):
        # Ties at the cut are resolved by index, so that equal states give equal lists.
        bound = np.partition(values, len(values) - count)[len(values) - count]
        chosen = np.flatnonzero(values >= max(bound, np.finfo(np.float32).tiny))
    else:
        chosen = np.flatnonzero(values > 0)
    order = chosen[np.argsort(-values[chosen], kind="stable")][:count]
    result = np.full(width, -1, dtype=np.int32)
    result[: len(order)] = order
    return result
