"""Values of features as a model reads them at a moment: numbers on one scale, times as ages."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.settings import DAY_MS, HOUR_MS

SCALED, BUCKET, AGE, HOUR, WEEKDAY = 1, 16, 2, 32, 64
"""Codes of what numbers and times become; those of octiles, hours of the day and weekdays follow theirs."""
_MOST_DEVIATIONS = 4.0
"""How far from the mean a number is taken to be at most."""
_PARTS = 3
"""Values that one number or time may become."""
_NUMBER, _TIME, _VECTOR = int(Kind.NUMBER), int(Kind.TIME), int(Kind.VECTOR)
_OLD_DAYS = 30.0
"""An age of so many days counts as 1; log(1 + days), so that the first days differ most."""


class Values(NamedTuple):
    """Values of one or of several items or users, one behind the other."""

    fields: NDArray[np.int32]
    """int32[v]: hashes of the features' names."""
    codes: NDArray[np.int64]
    """int64[v]: what is said; equal where the same is said of any feature."""
    weights: NDArray[np.float32]
    """float32[v]"""

    def at(self, places: NDArray[np.int64]) -> Values:
        """The values at some places, in their order."""
        return Values(self.fields[places], self.codes[places], self.weights[places])


NO_VALUES = Values(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


class Reading(NamedTuple):
    """What is needed of `FeatureFields` to read entries, by number of the feature."""

    hashes: NDArray[np.int32]
    kinds: NDArray[np.int8]
    passed_over: NDArray[np.bool_]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    edges: NDArray[np.float64]


class Entries(NamedTuple):
    """Entries of several items or users, each in a place of its own."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    fields: NDArray[np.int16]
    codes: NDArray[np.int64]
    weights: NDArray[np.float32]


def reading(fields: FeatureFields) -> tuple[NDArray[Any], ...]:
    """The `Reading` of a side as a plain tuple, which a kernel reads in less time."""
    return (fields.hashes, fields.kinds, fields.unique, *fields.running.scales)


@njit(cache=True, nogil=True)
def _number_of(bits: int) -> float:
    one = np.empty(1, dtype=np.int64)
    one[0] = bits
    return float(one.view(np.float64)[0])


@njit(cache=True, nogil=True)
def _put(values: Values, at: int, field: int, code: int, weight: float) -> int:
    values.fields[at], values.codes[at], values.weights[at] = field, code, weight
    return at + 1


@njit(cache=True, nogil=True)
def _put_number(values: Values, at: int, read: Reading, field: int, amount: float) -> int:
    deviation = read.deviations[field]
    scaled = (amount - read.means[field]) / deviation if deviation > 0.0 else 0.0
    scaled = min(max(scaled, -_MOST_DEVIATIONS), _MOST_DEVIATIONS)
    at = _put(values, at, read.hashes[field], SCALED, scaled / 2.0)
    bucket = 0
    for edge in read.edges[field]:
        bucket += amount > edge
    return int(_put(values, at, read.hashes[field], BUCKET + bucket, 1.0))


@njit(cache=True, nogil=True)
def _put_time(values: Values, at: int, field: int, time: float, now: int) -> int:
    age = np.log1p(max(0.0, (now - time) / DAY_MS)) / np.log1p(_OLD_DAYS)
    at = _put(values, at, field, AGE, age)
    at = _put(values, at, field, HOUR + int(time // HOUR_MS) % 24, 1.0)
    # The first of January 1970 was a Thursday.
    return int(_put(values, at, field, WEEKDAY + (int(time // DAY_MS) + 3) % 7, 1.0))


@njit(cache=True, nogil=True)
def _read(
    plain_read: tuple[NDArray[Any], ...],
    plain_entries: tuple[NDArray[Any], ...],
    slots: NDArray[np.int32],
    now: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]:
    read, entries = Reading(*plain_read), Entries(*plain_entries)
    most = 0
    for slot in slots:
        if 0 <= slot < entries.lengths.shape[0]:
            most += _PARTS * entries.lengths[slot]
    values = Values(np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.float32))
    counts, end = np.zeros(slots.shape[0], np.int32), 0
    for place in range(slots.shape[0]):
        slot = slots[place]
        if not 0 <= slot < entries.lengths.shape[0]:
            continue
        begin = end
        for at in range(entries.starts[slot], entries.starts[slot] + entries.lengths[slot]):
            field = entries.fields[at]
            if read.passed_over[field] or read.kinds[field] == _VECTOR:
                continue
            if read.kinds[field] == _NUMBER:
                end = _put_number(values, end, read, field, _number_of(entries.codes[at]))
            elif read.kinds[field] == _TIME:
                end = _put_time(values, end, read.hashes[field], _number_of(entries.codes[at]), now)
            else:
                end = _put(values, end, read.hashes[field], entries.codes[at], entries.weights[at])
        counts[place] = end - begin
    return counts, values.fields[:end], values.codes[:end], values.weights[:end]


def read_values(
    fields: FeatureFields, entries: Entries, slots: NDArray[np.int32], now: int
) -> tuple[NDArray[np.int32], Values]:
    """The values of `slots` int32[n] at `now` (ms), one behind the other, and how many each has, int32[n].

    A slot outside of the entries, such as −1, has none.
    """
    counts, hashes, codes, weights = _read(reading(fields), tuple(entries), slots, now)
    return counts, Values(hashes, codes, weights)
