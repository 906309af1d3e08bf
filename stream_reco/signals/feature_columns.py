"""Item features by column, so that a filter looks at each distinct value once and at each item in compiled code.

A column is made when its feature is filtered by for the first time, and kept up to date from then on: a feature that
nobody filters by costs nothing.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.signals.growing import capacity_for, grown
from stream_reco.signals.packed_features import PackedFeatures

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
Value = str | int | float | bool
_PLAIN = frozenset({str, int, float})
"""Types whose values are looked up as they are."""
_ABSENT = -1
_MOST_COLUMNS = 64
"""Columns that are kept, those that were asked for last: any client may name a feature, and each takes memory."""
_MOST_NAMES = 1024
"""Names of which it is remembered that no item has such a feature."""
_SPARE_VALUES = 1024
"""A column is put together again when it holds so many values more than twice those in use (each takes 100 bytes)."""
EXACT_BELOW = 2.0**53
"""Whole numbers from here on have float64 neighbours that are not theirs."""


@njit(cache=True, nogil=True)
def _any_member(
    starts: NDArray[np.int64], lengths: NDArray[np.int32], members: NDArray[np.int32], wanted: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """bool[slots]: whether one of a slot's members is a wanted code."""
    found = np.zeros(lengths.shape[0], dtype=np.bool_)
    for slot in range(lengths.shape[0]):
        for place in range(starts[slot], starts[slot] + lengths[slot]):
            if wanted[members[place]]:
                found[slot] = True
                break
    return found


class FeatureColumn:
    """One feature of all slots: each distinct value has a code, each slot the codes of its values."""

    def __init__(self, values: Sequence[Any]) -> None:
        """`values` are those of the slots in their order, None where an item has none."""
        self.values: list[Value] = []
        """The distinct values, by code."""
        self._codes: dict[object, int] = {}
        self._starts = np.zeros(len(values), dtype=np.int64)
        self._lengths = np.full(len(values), _ABSENT, dtype=np.int32)
        self._members = np.empty(0, dtype=np.int32)
        self._numbers, self._times = np.empty(0), np.empty(0)
        self._written = self._in_use = 0
        """Members, with and without those that no slot has any more."""
        self._fill(values)

    def _fill(self, values: Sequence[Any]) -> None:
        # A million values are waited for: those that are no lists are looked up here, and nothing is kept of each.
        members, lengths, codes, known = array("i"), array("i"), self._codes, self.values
        for value in values:
            if type(value) in _PLAIN:
                code = codes.setdefault(value, len(known))
                if code == len(known):
                    known.append(value)
                members.append(code)
                lengths.append(1)
            else:
                coded = self._coded(value)
                lengths.append(_ABSENT if coded is None else len(coded))
                members.extend(coded or ())
        self._lengths[:] = lengths
        counts = np.maximum(self._lengths, 0)
        self._starts[:] = np.cumsum(counts) - counts
        self._members = np.array(members, dtype=np.int32)
        self._written = self._in_use = len(members)

    @property
    def present(self) -> NDArray[np.bool_]:
        """bool[slots]: whether the item has the feature, an empty list included."""
        there: NDArray[np.bool_] = self._lengths != _ABSENT
        return there

    def having(self, wanted: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """bool[slots]: whether one of the item's values has a wanted code; `wanted` bool[codes]."""
        if not wanted.any():
            return np.zeros(len(self._lengths), dtype=np.bool_)
        found: NDArray[np.bool_] = _any_member(self._starts, self._lengths, self._members, wanted)
        return found

    def code_of(self, value: Value) -> int:
        """The code of a value, −1 where no item has it. 5 and 5.0 are one value; true is not 1."""
        return self._codes.get(_key(value), -1)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """float64[codes]: the values that are numbers, NaN for others; from `EXACT_BELOW` on rounded."""
        self._numbers = self._extended(self._numbers, _number)
        return self._numbers

    @property
    def times(self) -> NDArray[np.float64]:
        """float64[codes]: the values that are ISO times, in µs since the epoch, NaN for others."""
        self._times = self._extended(self._times, _time)
        return self._times

    def _extended(self, known: NDArray[np.float64], of: Any) -> NDArray[np.float64]:
        if len(known) == len(self.values):
            return known
        return np.concatenate([known, np.array([of(value) for value in self.values[len(known) :]], dtype=np.float64)])

    def set(self, slot: int, value: object) -> None:
        """Take over the value of an item, None where it has none."""
        if slot >= len(self._lengths):
            capacity = capacity_for(slot + 1, len(self._lengths))
            self._starts, self._lengths = grown(self._starts, capacity, 0), grown(self._lengths, capacity, _ABSENT)
        codes = self._coded(value)
        before = int(self._lengths[slot])
        self._in_use += len(codes or ()) - max(before, 0)
        if codes is None:
            self._lengths[slot] = _ABSENT
            return
        if len(codes) > before:
            self._starts[slot], self._written = self._written, self._written + len(codes)
            if self._written > len(self._members):
                self._members = grown(self._members, capacity_for(self._written, len(self._members)), 0)
        self._lengths[slot] = len(codes)
        self._members[self._starts[slot] : self._starts[slot] + len(codes)] = codes

    def _coded(self, value: object) -> list[int] | None:
        if value is None:
            return None
        codes = []
        for one in value if isinstance(value, (list, tuple)) else (value,):
            if one is not None:
                code = self._codes.setdefault(_key(one), len(self.values))
                if code == len(self.values):
                    self.values.append(one)
                codes.append(code)
        return codes

    @property
    def is_wasteful(self) -> bool:
        """Whether most of it is of values that items had once."""
        return max(self._written, len(self.values)) > 2 * self._in_use + _SPARE_VALUES


class FeatureColumns:
    """The columns of a catalogue's features; any number of threads may ask while nobody changes them."""

    def __init__(self, features: PackedFeatures) -> None:
        """`features` by slot: those that the catalogue changes before it calls `set`."""
        self._features = features
        self._columns: dict[str, FeatureColumn] = {}
        self._unknown: set[str] = set()
        self._making = threading.Lock()

    @property
    def is_idle(self) -> bool:
        """Whether nobody has filtered by anything yet."""
        return not self._columns and not self._unknown

    def set(self, slot: int, features: Mapping[str, Any] | None) -> None:
        """Take over the features of an item."""
        if self._columns:
            for name, column in self._columns.items():
                column.set(slot, None if features is None else features.get(name))
        if self._unknown and features:
            self._unknown.difference_update(features)

    def column(self, name: str) -> FeatureColumn | None:
        """The column of a feature; None where no item has it."""
        with self._making:
            if name in self._unknown:
                return None
            column = self._columns.pop(name, None)
            if column is None or column.is_wasteful:
                column = self._make(name)
            if column is not None:
                # The last one asked for is the last to go.
                self._columns[name] = column
            return column

    def _make(self, name: str) -> FeatureColumn | None:
        values = self._features.column(name)
        if all(value is None for value in values):
            if len(self._unknown) < _MOST_NAMES:
                self._unknown.add(name)
            return None
        while len(self._columns) >= _MOST_COLUMNS:
            del self._columns[next(iter(self._columns))]
        return FeatureColumn(values)


def microseconds(text: str) -> float | None:
    """An ISO 8601 time as µs since the epoch, UTC where it names no zone; None where it is none."""
    if not text[:1].isdigit():
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) / _MICROSECOND


def _key(value: object) -> object:
    """What a value is looked up by: Python takes True for 1."""
    return (value,) if isinstance(value, bool) else value


def _number(value: Value) -> float:
    return np.nan if isinstance(value, (str, bool)) else float(value)


def _time(value: Value) -> float:
    at = microseconds(value) if isinstance(value, str) else None
    return np.nan if at is None else at
