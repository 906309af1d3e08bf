"""Negatives for actions that came without impressions: what the user could have acted on instead.

Three samples. Two as at Avito and in Yi et al. (2019): items that the signals propose for the very request (hard), and
active items with probability ∝ √popularity, with replacement. And some of all items with the same probability: what
nobody has acted on yet would never be one otherwise, and nothing would tell how seldom such an item is chosen. With
each candidate goes its rate, the probability that the samples together include it where it is not the positive;
log-odds minus log rate is what a model of the sample fits, so the log-odds stay those of the whole population
(Covington et al. 2016 after Jean et al. 2015, §3.1).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.candidates import PAIR_SEEDS
from stream_reco.signals.context import Context
from stream_reco.signals.signals import Signals
from stream_reco.train.settings import TrainSettings

_LEAST_RATE = 1e-4
"""Rate of a positive that the samples would never include: a new item, at its very first action."""
_PROPOSED, _TAKEN = 1, 2
"""Bits of a mark: in the pool of hard negatives; in the sample already, or not to be."""
_POOL = 400
"""Items in the pool of hard negatives at most."""
_QUOTAS = (100, 40, 40, 30)
"""Of each trending list, co-visit list, context list and the list of the least shown. The first three are what
`RetrieveSettings` proposes by default when serving.
"""
_FIRST_MARKS = 1024
"""Slots that there is room for at first: a small catalogue never needs more."""


@njit(cache=True, nogil=True)
def _mark(slots: NDArray[np.int32], bit: int, marks: NDArray[np.uint8]) -> None:
    for slot in slots:
        if slot < marks.shape[0]:
            marks[slot] |= bit


@njit(cache=True, nogil=True)
def _unmark(slots: NDArray[np.int32], marks: NDArray[np.uint8]) -> None:
    for slot in slots:
        if slot < marks.shape[0]:
            marks[slot] = 0


@njit(cache=True, nogil=True)
def _propose(
    listed: NDArray[np.int32], quota: int, available: NDArray[np.bool_], found: tuple[NDArray[Any], ...], count: int
) -> int:
    """Add to the pool what of the first `quota` available slots is neither seen nor in it; the list ends at −1."""
    marks, pool = found
    for slot in listed:
        if slot < 0 or quota == 0:
            break
        if slot < available.shape[0] and available[slot] and not marks[slot] & _TAKEN:
            quota -= 1
            if not marks[slot] & _PROPOSED and count < pool.shape[0]:
                marks[slot] |= _PROPOSED
                pool[count] = slot
                count += 1
    return count


@njit(cache=True, nogil=True)
def _fill_pool(
    lists: tuple[NDArray[Any], ...],
    rows: tuple[NDArray[np.int32], NDArray[np.int32]],
    available: NDArray[np.bool_],
    found: tuple[NDArray[Any], ...],
) -> int:
    """Fill the pool with what the signals propose for a request, as `signals.candidates.gather` orders it.

    `lists`: trending lists, the least shown, co-visits by number and the numbers by item, the same of what is popular
    by context value. `rows`: items and context values whose lists are read, negative ones skipped. `found`: marks of
    the slots, in which what was seen is `_TAKEN`, and the pool. Returns how many slots are in it.
    """
    trending, fresh, pairs, of_items, popular, of_values = lists
    count: int = 0
    for kind in range(trending.shape[0]):
        count = _propose(trending[kind], _QUOTAS[0], available, found, count)
    for row in rows[0]:
        if 0 <= row < of_items.shape[0]:
            count = _propose(pairs[of_items[row], : _QUOTAS[1]], _QUOTAS[1], available, found, count)
    for row in rows[1]:
        if 0 <= row < of_values.shape[0]:
            count = _propose(popular[of_values[row], : _QUOTAS[2]], _QUOTAS[2], available, found, count)
    return int(_propose(fresh[: _QUOTAS[3]], _QUOTAS[3], available, found, count))


@njit(cache=True, nogil=True)
def _take(slot: int, marks: NDArray[np.uint8], slots: NDArray[np.int32], count: int) -> int:
    if marks[slot] & _TAKEN:
        return count
    marks[slot] |= _TAKEN
    slots[count] = slot
    return count + 1


class _Sample(NamedTuple):
    """Where a sample is written."""

    marks: NDArray[np.uint8]
    """uint8[slots]: scratch, 0 before and after."""
    slots: NDArray[np.int32]
    """int32[1 + draws]: the positive, then the negatives."""
    rates: NDArray[np.float32]
    """float32[1 + draws]: the probability that a sample includes each."""
    pool: NDArray[np.int32]
    """int32[_POOL]: scratch."""


@njit(cache=True, nogil=True)
def _draw(
    positive: int,
    lists: tuple[NDArray[Any], ...],
    asked: tuple[NDArray[np.int32], ...],
    population: tuple[NDArray[Any], ...],
    chance: NDArray[np.float64],
    draws: tuple[int, int, int],
    sample: tuple[NDArray[Any], ...],
) -> int:
    """Fill `sample` and return the number of its slots.

    `lists` as for `_fill_pool`; `asked`: the user's newest items, the context's values, and all items that the user
    acted on. `population`: `active`, `cumulative` and `chances` of `Trends`, and bool[slots] of what is available.
    `draws`: how many are drawn from the pool, of active items and of all. `chance` float64[sum of `draws`] are uniform
    numbers in [0, 1). `sample` is a `_Sample` as a plain tuple.
    """
    recent, values, seen = asked
    active, cumulative, chances, available = population
    marks, slots, rates, room = sample
    hard, popular, uniform = draws
    _mark(seen, _TAKEN, marks)
    pool = room[: _fill_pool(lists, (recent[:PAIR_SEEDS], values), available, (marks, room))]
    marks[positive] |= _TAKEN
    slots[0] = positive
    count = 1
    drawn = min(hard, pool.shape[0])
    for place in range(drawn):
        other = place + int(chance[place] * (pool.shape[0] - place))
        pool[place], pool[other] = pool[other], pool[place]
        count = _take(pool[place], marks, slots, count)
    for place in range(popular if active.shape[0] else 0):
        bound = chance[hard + place] * cumulative[-1]
        slot = active[min(np.searchsorted(cumulative, bound, side="right"), active.shape[0] - 1)]
        count = _take(slot, marks, slots, count)
    for place in range(uniform):
        slot = int(chance[hard + popular + place] * available.shape[0])
        if available[slot]:
            count = _take(slot, marks, slots, count)
    missed_by_uniform = (1.0 - 1.0 / available.shape[0]) ** uniform
    for place in range(count):
        slot = slots[place]
        missed = 1.0 - drawn / pool.shape[0] if marks[slot] & _PROPOSED else 1.0
        if slot < chances.shape[0]:
            missed *= (1.0 - chances[slot]) ** popular
        missed *= missed_by_uniform
        rates[place] = max(_LEAST_RATE, 1.0 - missed)
    _unmark(slots[:count], marks)
    _unmark(pool, marks)
    _unmark(seen, marks)
    return count


class NegativeSampler:
    """Draws the negatives of one action from the trainer's own signals."""

    def __init__(self, settings: TrainSettings) -> None:
        self._draws = settings.hard_negatives, settings.popular_negatives, settings.uniform_negatives
        self._sample = _Sample(
            np.zeros(_FIRST_MARKS, dtype=np.uint8),
            np.empty(1 + sum(self._draws), dtype=np.int32),
            np.empty(1 + sum(self._draws), dtype=np.float32),
            np.empty(_POOL, dtype=np.int32),
        )

    def sample(
        self,
        signals: Signals,
        positive: int,
        recent: NDArray[np.int32],
        seen: NDArray[np.int32],
        context: Context,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Slots int32[1 + n], the positive first, and their rates float32[1 + n]; all slots are distinct."""
        counts, trends, available = signals.counts, signals.trends, signals.catalogue.available
        if len(self._sample.marks) < len(available):
            self._sample = self._sample._replace(marks=np.zeros(len(available), dtype=np.uint8))
        pairs, popular = counts.pairs, counts.popular
        lists = trends.trending, trends.fresh, pairs.keys, pairs.numbers, popular.keys, popular.numbers
        population = trends.active, trends.cumulative, trends.chances, available[: signals.catalogue.size]
        asked, chance = (recent, context.values, seen), rng.random(sum(self._draws))
        count = _draw(positive, lists, asked, population, chance, self._draws, tuple(self._sample))
        return self._sample.slots[:count].copy(), self._sample.rates[:count].copy()
