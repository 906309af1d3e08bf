"""Values of features as a model reads them at a moment: numbers on one scale, times as ages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.entries import MOST_COUNTED, Entries, cell_of, empty_cells, write_entries
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.words import weight_of
from stream_reco.signals.settings import DAY_MS, HOUR_MS

SCALED, BUCKET, AGE, HOUR, WEEKDAY = 1, 16, 2, 32, 64
"""Codes of what numbers and times become; those of octiles, hours of the day and weekdays follow theirs."""
_MOST_DEVIATIONS = 4.0
"""How far from the mean a number is taken to be at most."""
_PARTS = 3
"""Values that one number or time may become."""
_NUMBER, _TIME, _TEXT = int(Kind.NUMBER), int(Kind.TIME), int(Kind.TEXT)
_ONE = np.zeros(1, dtype=np.int32)
_ALIKE = np.array([1.0 / np.sqrt(max(count, 1)) for count in range(MOST_COUNTED + 1)], dtype=np.float32)
"""float32[counts]: what each of so many categories of a feature weighs; their squares sum to 1."""
_WORDS = np.array([weight_of(count or 1) for count in range(-MOST_COUNTED, MOST_COUNTED + 1)], dtype=np.float32)
"""float32[counts]: what a word weighs that is so often in a text, from −`MOST_COUNTED` on."""
_OLD_DAYS = 30.0
"""An age of so many days counts as 1; log(1 + days), so that the first days differ most."""


class Values(NamedTuple):
    """Values of one or of several items or users, one behind the other."""

    fields: NDArray[np.int32]
    """int32[v]: hashes of the features' names, with the bit `OF_TEXT` where values are words."""
    codes: NDArray[np.int64]
    """int64[v]: what is said; equal where the same is said of any feature."""
    weights: NDArray[np.float32]
    """float32[v]"""

    def at(self, places: NDArray[np.int64]) -> Values:
        """The values at some places, in their order."""
        return Values(self.fields[places], self.codes[places], self.weights[places])


NO_VALUES = Values(np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


class FieldReading(NamedTuple):
    """What is needed of `FeatureFields` to read entries, by number of the feature."""

    hashes: NDArray[np.int32]
    kinds: NDArray[np.int8]
    passed_over: NDArray[np.bool_]
    means: NDArray[np.float64]
    deviations: NDArray[np.float64]
    edges: NDArray[np.float64]


class Frequencies(NamedTuple):
    """How many items have each value: cells as `ValueCells` has them."""

    fields: NDArray[np.int16]
    codes: NDArray[np.int64]
    items: NDArray[np.int32]
    described: int
    """Items that have any feature."""


_UNCOUNTED = Frequencies(*empty_cells(1)[:3], described=0)
"""Where nothing is counted, all words tell as much."""


def reading(fields: FeatureFields) -> tuple[NDArray[Any], ...]:
    """The `FieldReading` of a side as a plain tuple, which a kernel reads in less time."""
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
def _put_number(values: Values, at: int, read: FieldReading, field: int, amount: float) -> int:
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
def _put_text(
    values: Values, at: int, hashed: int, entries: Entries, first: int, stop: int, counted: Frequencies
) -> int:
    """Put the words of one feature, the first of which is the entry `first`."""
    field, begin, squares, entry = entries.fields[first], at, 0.0, first
    while entry < stop and entries.fields[entry] == field:
        cell = cell_of(counted.fields, counted.codes, field, entries.codes[entry])
        rarity = 1.0 + np.log((1 + counted.described) / (1 + counted.items[cell]))
        weight = _WORDS[entries.counts[entry] + MOST_COUNTED] * rarity
        squares += weight * weight
        at = _put(values, at, hashed, entries.codes[entry], weight)
        entry += 1
    length = np.sqrt(squares)
    for place in range(begin, at):
        values.weights[place] /= length
    return at


@njit(cache=True, nogil=True)
def _read(
    plain_read: tuple[NDArray[Any], ...],
    plain_entries: tuple[NDArray[Any], ...],
    plain_counted: tuple[Any, ...],
    slots: NDArray[np.int32],
    now: int,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float32]]:
    read, entries, counted = FieldReading(*plain_read), Entries(*plain_entries), Frequencies(*plain_counted)
    most = 0
    for slot in slots:
        if 0 <= slot < entries.lengths.shape[0]:
            most += _PARTS * entries.lengths[slot]
    values = Values(np.empty(most, np.int32), np.empty(most, np.int64), np.empty(most, np.float32))
    counts, end = np.zeros(slots.shape[0], np.int32), 0
    # One loop: to hand so many arrays on for each item would take longer than to read it.
    for place in range(slots.shape[0]):
        slot, begin = slots[place], end
        if not 0 <= slot < entries.lengths.shape[0]:
            continue
        at, stop = entries.starts[slot], entries.starts[slot] + entries.lengths[slot]
        while at < stop:
            field, first = entries.fields[at], end
            kind, hashed = read.kinds[field], read.hashes[field]
            if kind == _TEXT:
                end = _put_text(values, end, hashed, entries, at, stop, counted)
                at += end - first
                continue
            if kind == _NUMBER:
                end = _put_number(values, end, read, field, _number_of(entries.codes[at]))
            elif kind == _TIME:
                end = _put_time(values, end, hashed, _number_of(entries.codes[at]), now)
            elif not read.passed_over[field]:
                end = _put(values, end, hashed, entries.codes[at], _ALIKE[entries.counts[at]])
            at += 1
        counts[place] = end - begin
    return counts, values.fields[:end], values.codes[:end], values.weights[:end]


def read_values(
    fields: FeatureFields,
    plain_entries: tuple[NDArray[Any], ...],
    frequencies: Frequencies,
    slots: NDArray[np.int32],
    now: int,
) -> tuple[NDArray[np.int32], Values]:
    """The values of `slots` int32[n] at `now` (ms), one behind the other, and how many each has, int32[n].

    `plain_entries` is a tuple of `Entries`; a slot outside of them, such as −1, has none. Words weigh `weight_of` times
    1 + log((1 + N) / (1 + df)), N being all items and df those that have the word, with squares that sum to 1.
    """
    counts, hashes, codes, weights = _read(reading(fields), plain_entries, tuple(frequencies), slots, now)
    return counts, Values(hashes, codes, weights)


def values_of(fields: FeatureFields, features: Mapping[str, Any], now: int) -> Values:
    """The values of features that were stated, as of `now` (ms); what `fields` does not know is passed over."""
    given = encoded(fields, features, learn=False)
    if not len(given):
        return NO_VALUES
    size = len(given)
    one = Entries(
        np.zeros(1, dtype=np.int64),
        np.array([size], dtype=np.int32),
        np.empty(size, dtype=np.int16),
        np.empty(size, dtype=np.int64),
        np.empty(size, dtype=np.int8),
    )
    write_entries(one, fields.kinds, given, 0)
    return read_values(fields, tuple(one), _UNCOUNTED, _ONE, now)[1]
