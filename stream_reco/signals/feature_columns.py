"""Item features by column, so that a filter looks at the distinct values, and finds the items that have them listed.

A column is made when its feature is filtered by for the first time, and kept up to date from then on: a feature that
nobody filters by costs nothing.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.packed_features import PackedFeatures
from stream_reco.signals.postings import Codes, Postings

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
Value = str | int | float | bool
_MEMBERS = frozenset({str, int, float})
_PLAIN = _MEMBERS | {type(None)}
"""Types whose values are looked up as they are, in lists and else."""
ABSENT, _EMPTY = 0, 1
"""Codes of slots whose item has no such feature, and of those where it is a list of nothing."""
_NO_VALUE = np.array([ABSENT, _EMPTY], dtype=np.int32)
_MOST_COLUMNS = 64
"""Columns that are kept, those that were asked for last: any client may name a feature, and each takes memory."""
_MOST_NAMES = 1024
"""Names of which it is remembered that no item has such a feature."""
_SPARE_VALUES = 1024
"""A column is put together again when it holds so many values more than twice those in use (each takes 100 bytes)."""
_UNRANKED_SHARE = 64
"""Values are put in order again when those that came since are more than one in so many."""
EXACT_BELOW = 2.0**53
"""Whole numbers from here on have float64 neighbours that are not theirs."""


class _Ranked:
    """What the values of a column are as numbers, and their codes in that order."""

    def __init__(self, of: Callable[[Value | None], float]) -> None:
        """`of`: the number of a value, NaN where it has none."""
        self._of = of
        # Replaced as one: threads that ask at the same time may each extend it.
        self._state = np.empty(0), np.empty(0, dtype=np.int32)

    def numbers(self, values: Sequence[Value | None]) -> NDArray[np.float64]:
        """float64[codes]: those of the values, by code; of values that were there before they are remembered."""
        numbers, order = self._state
        if len(numbers) < len(values):
            more = np.array([self._of(value) for value in values[len(numbers) :]], dtype=np.float64)
            numbers = np.concatenate([numbers, more])
            self._state = numbers, order
        return numbers

    def between(self, values: Sequence[Value | None], low: float, high: float, most: int) -> Codes | None:
        """int32[n], in no order: the codes of values from `low` to `high`; None where they are more than `most`."""
        numbers, order = self.numbers(values), self._state[1]
        if len(numbers) - len(order) > _SPARE_VALUES + len(order) // _UNRANKED_SHARE:
            order = np.argsort(numbers).astype(np.int32)
            self._state = numbers, order
        ranked, later = numbers[: len(order)], numbers[len(order) :]
        first, last = ranked.searchsorted(low, "left", order), ranked.searchsorted(high, "right", order)
        if last - first > most:
            return None
        unranked = np.flatnonzero((later >= low) & (later <= high)) + len(order)
        return np.concatenate([order[first:last], unranked.astype(np.int32)])


class FeatureColumn:
    """One feature of all slots: each distinct value has a code, and `postings` know which slots have which codes."""

    def __init__(self, values: Iterable[Any]) -> None:
        """`values` are those of the slots in their order, None where an item has none."""
        self.values: list[Value | None] = [None, None]
        """The distinct values, by code; None for `ABSENT` and for `_EMPTY`."""
        self._codes: dict[object, int] = {None: ABSENT}
        self._numbers, self._times = _Ranked(_number), _Ranked(_time)
        self.postings = self._fill(values)

    def _fill(self, values: Iterable[Any]) -> Postings:
        # A million values are waited for: those that are no lists are looked up here, and nothing is kept of each.
        at, members, codes, known = array("i"), array("i"), self._codes, self.values
        for value in values:
            if type(value) in _PLAIN:
                code = codes.setdefault(value, len(known))
                if code == len(known):
                    known.append(value)
                at.append(code)
            elif len(several := self._coded(value)) == 1:
                at.append(several[0])
            else:
                at.append(~len(members))
                members.extend(several)
                members[-1] = ~members[-1]
        return Postings(np.array(at, dtype=np.int32), np.array(members, dtype=np.int32), len(known))

    def code_of(self, value: Value | None) -> int:
        """The code of a value, −1 where no item has it. 5 and 5.0 are one value; true is not 1; None is `ABSENT`."""
        return self._codes.get(_key(value), -1)

    @property
    def numbers(self) -> NDArray[np.float64]:
        """float64[codes]: the values that are numbers, NaN for others; from `EXACT_BELOW` on rounded."""
        return self._numbers.numbers(self.values)

    @property
    def times(self) -> NDArray[np.float64]:
        """float64[codes]: the values that are ISO times, in µs since the epoch, NaN for others."""
        return self._times.numbers(self.values)

    def between(self, low: float, high: float, most: int, *, times: bool) -> Codes | None:
        """int32[n], in no order: the codes of numbers, or of times in µs, from `low` to `high` as float64 has them.

        None where they are more than `most`.
        """
        return (self._times if times else self._numbers).between(self.values, low, high, most)

    def set(self, slot: int, value: object) -> None:
        """Take over the value of an item, None where it has none."""
        self.postings.set(slot, self._coded(value))

    def _coded(self, value: object) -> list[int]:
        if not isinstance(value, (list, tuple)):
            return [self._code(value)]
        if _MEMBERS.issuperset(map(type, value)):
            try:  # Nearly always all of them are known.
                return list(dict.fromkeys(map(self._codes.__getitem__, value))) or [_EMPTY]
            except KeyError:
                pass
        return list(dict.fromkeys([self._code(one) for one in value if one is not None])) or [_EMPTY]

    def _code(self, value: Any) -> int:
        key = _key(value)
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self.values)
            self.values.append(value)
        return code

    @property
    def is_of_nobody(self) -> bool:
        """Whether no item has the feature."""
        return self.postings.links == int(self.postings.counts[ABSENT])

    @property
    def is_wasteful(self) -> bool:
        """Whether most of it is of values that items had once."""
        has_values = self.postings.links - self.postings.count(_NO_VALUE)
        return max(self.postings.written, len(self.values)) > 2 * has_values + _SPARE_VALUES


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
        column = FeatureColumn(self._features.column(name))
        if column.is_of_nobody:
            if len(self._unknown) < _MOST_NAMES:
                self._unknown.add(name)
            return None
        while len(self._columns) >= _MOST_COLUMNS:
            del self._columns[next(iter(self._columns))]
        return column


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


def _number(value: Value | None) -> float:
    return np.nan if value is None or isinstance(value, (str, bool)) else float(value)


def _time(value: Value | None) -> float:
    at = microseconds(value) if isinstance(value, str) else None
    return np.nan if at is None else at
