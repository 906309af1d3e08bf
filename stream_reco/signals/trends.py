"""What is popular at this moment: trending lists, what was shown least, and the distribution of negatives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.counters import DECAY_RATES, Counters, decayed_at
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
    """int32[width]: the available slots that were shown least, the newest of equals first, −1 behind the last."""
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
    # Most of a large catalogue have nothing counted.
    counted = np.flatnonzero(counters.numbers[:size] * available[:size]).astype(np.int32)
    counts = decayed_at(counters, counted, kinds, now).astype(np.float32)
    trending = np.stack([_largest(counted, counts[:, kind], width) for kind in range(kinds)])
    fresh = _least_shown(counters, np.flatnonzero(available[:size]), now, fresh_width)
    activity = counts[:, ACTIVITY]
    is_active = activity > _NEGLIGIBLE
    active, weights = counted[is_active], np.sqrt(activity[is_active])
    cumulative = np.cumsum(weights, dtype=np.float64)
    chances = np.zeros(size, dtype=np.float32)
    if len(active):
        chances[active] = weights / np.float32(cumulative[-1])
    return Trends(trending, fresh, active, cumulative, chances)


def _least_shown(counters: Counters, slots: NDArray[np.int64], now: int, width: int) -> NDArray[np.int32]:
    """Of `slots` those with the fewest impressions (half-life a week) first, the newest of equals, ties by slot."""
    shown = counters.decayed[counters.numbers[slots], -1]
    never = shown == 0.0
    if np.count_nonzero(never) >= width:
        # Of a million items nearly all may be such, and then it is of no account how often the others were shown.
        slots, shown = slots[never], shown[never]
    else:
        shown *= np.exp2(-np.maximum(0, now - counters.stamps[slots]) * DECAY_RATES[-1])
    newest = counters.first_seen[slots]
    kept, tied, room = list[NDArray[np.int64]](), np.arange(len(slots)), width
    for key in (shown, -newest):
        if 0 < room < len(tied):
            values = key[tied]
            bound = np.partition(values, room - 1)[room - 1]
            kept.append(tied[values < bound])
            tied, room = tied[values == bound], room - len(kept[-1])
    # No more is sorted than the list holds.
    chosen = np.concatenate([*kept, tied[:room]])
    order = chosen[np.lexsort((chosen, -newest[chosen], shown[chosen]))]
    result = np.full(width, -1, dtype=np.int32)
    result[: len(order)] = slots[order]
    return result


def _largest(slots: NDArray[np.int32], values: NDArray[np.floating], width: int) -> NDArray[np.int32]:
    """Of ascending `slots` those with the largest positive values, largest first, ties by slot; −1 behind the last."""
    count = min(width, len(values))
    bound = np.finfo(np.float32).tiny
    if count < len(values):
        # Ties at the cut are resolved by slot, so that equal states give equal lists.
        bound = max(bound, np.partition(values, len(values) - count)[len(values) - count])
    chosen = np.flatnonzero(values >= bound)
    order = chosen[np.argsort(-values[chosen], kind="stable")][:count]
    result = np.full(width, -1, dtype=np.int32)
    result[: len(order)] = slots[order]
    return result
