"""Conditions on one feature of items: of which items they hold, and by which codes these are found without a search.

An item has one code or more of a feature (`signals/postings.py`). A condition tells codes apart, and holds of an item
that has one of its codes; `not` and several conditions at once are made of such.
"""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.feature_columns import ABSENT, EXACT_BELOW, FeatureColumn, Value
from stream_reco.signals.postings import Codes, Mask, Slots

BOUNDS: Mapping[str, Callable[..., bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class Condition(Protocol):
    """A condition on one feature."""

    def holds(self, column: FeatureColumn, slots: Slots | None = None) -> Mask:
        """bool[n]: of which of n slots it holds; of all of the column where none are given."""
        ...

    def codes(self, column: FeatureColumn, most: int, *, holding: bool = True) -> Codes | None:
        """int32[c], ascending: each item of which it holds, or does not, has one of these.

        None where these, or the slots that have one, are or may be more than `most`.
        """
        ...

    @property
    def is_exact(self) -> bool:
        """Whether it holds of all that have one of its codes."""
        ...

    @property
    def holds_without(self) -> bool:
        """Whether it holds of an item that has no such feature."""
        ...


class _OneCode:
    """A condition that holds of items with one of its codes."""

    is_exact = True

    def holds(self, column: FeatureColumn, slots: Slots | None = None) -> Mask:
        if slots is None:
            return column.postings.with_any(self._are_mine(column, None))
        return column.postings.where(slots, lambda codes: self._are_mine(column, codes))

    def codes(self, column: FeatureColumn, most: int, *, holding: bool = True) -> Codes | None:
        mine = self._mine(column, most)
        if mine is None:
            return None
        if holding:
            return mine if column.postings.count(mine) <= most else None
        others = len(column.values) - len(mine)
        if max(others, column.postings.links - column.postings.count(mine)) > most:
            return None
        return np.delete(np.arange(len(column.values), dtype=np.int32), mine)

    @abstractmethod
    def _mine(self, column: FeatureColumn, most: int) -> Codes | None:
        """int32[c], ascending: its codes; None where these may be more than `most`."""

    @abstractmethod
    def _are_mine(self, column: FeatureColumn, codes: Codes | None) -> Mask:
        """bool[c]: which of the codes are, of all of the column where none are given."""


@dataclass(frozen=True)
class AnyOf(_OneCode):
    """One of the item's values is one of these."""

    values: tuple[Value, ...]
    holds_without: bool = False
    """Whether null is among them: the item may also have no such feature."""

    def _mine(self, column: FeatureColumn, most: int) -> Codes:  # noqa: ARG002
        codes = {column.code_of(value) for value in self.values} - {-1}
        return np.array(sorted(codes | {ABSENT} if self.holds_without else codes), dtype=np.int32)

    def _are_mine(self, column: FeatureColumn, codes: Codes | None) -> Mask:
        mine = self._mine(column, len(self.values))
        if codes is None:
            wanted = np.zeros(len(column.values), dtype=np.bool_)
            wanted[mine] = True
            return wanted
        if not len(mine):
            return np.zeros(len(codes), dtype=np.bool_)
        found: Mask = mine[np.minimum(np.searchsorted(mine, codes), len(mine) - 1)] == codes
        return found


@dataclass(frozen=True)
class Range(_OneCode):
    """One of the item's values lies within all bounds: numbers, or times in µs where `is_time`."""

    bounds: tuple[tuple[str, int | float], ...]
    """Operator and bound."""
    is_time: bool
    holds_without = False

    def _mine(self, column: FeatureColumn, most: int) -> Codes | None:
        low = max((float(bound) for name, bound in self.bounds if name.startswith("g")), default=-math.inf)
        high = min((float(bound) for name, bound in self.bounds if name.startswith("l")), default=math.inf)
        codes = column.between(low, high, most, times=self.is_time)
        return None if codes is None else np.sort(codes[self._are_mine(column, codes)])

    def _are_mine(self, column: FeatureColumn, codes: Codes | None) -> Mask:
        values = column.times if self.is_time else column.numbers
        values = values if codes is None else values[codes]
        wanted = ~np.isnan(values)
        for name, bound in self.bounds:
            wanted &= self._within(name, bound, values, column, codes)
        return wanted

    def _within(
        self, name: str, bound: int | float, values: NDArray[np.float64], column: FeatureColumn, codes: Codes | None
    ) -> Mask:
        compare = BOUNDS[name]
        within = np.array(compare(values, float(bound)), dtype=np.bool_)
        if not self.is_time and abs(bound) >= EXACT_BELOW:
            # Numbers that float64 takes for the bound are compared as what they are.
            for place in np.flatnonzero(values == float(bound)).tolist():
                within[place] = compare(column.values[place if codes is None else codes[place]], bound)
        return within


@dataclass(frozen=True)
class Not:
    """The contrary of another condition."""

    of: Condition
    is_exact = False

    def holds(self, column: FeatureColumn, slots: Slots | None = None) -> Mask:
        return ~self.of.holds(column, slots)

    def codes(self, column: FeatureColumn, most: int, *, holding: bool = True) -> Codes | None:
        return self.of.codes(column, most, holding=not holding)

    @property
    def holds_without(self) -> bool:
        return not self.of.holds_without


@dataclass(frozen=True)
class All:
    """Several conditions at once."""

    of: tuple[Condition, ...]
    is_exact = False

    def holds(self, column: FeatureColumn, slots: Slots | None = None) -> Mask:
        holds: Mask = np.logical_and.reduce([one.holds(column, slots) for one in self.of])
        return holds

    def codes(self, column: FeatureColumn, most: int, *, holding: bool = True) -> Codes | None:
        of_each = [one.codes(column, most, holding=holding) for one in self.of]
        known = [codes for codes in of_each if codes is not None]
        if holding:
            return min(known, key=column.postings.count, default=None)
        # One of them does not hold, whichever.
        return np.unique(np.concatenate(known)) if len(known) == len(of_each) else None

    @property
    def holds_without(self) -> bool:
        return all(one.holds_without for one in self.of)
