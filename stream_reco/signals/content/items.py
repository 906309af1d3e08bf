"""What the items' features say, by slot, and which items say it: an inverted index that is always up to date."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.content.encode import Entry, encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.values import Entries, Values, read_values
from stream_reco.signals.growing import capacity_for, grown

_SPARE = 4096
"""Entries are packed when so many more than half of them are of what items said once."""
_SPARE_SLOTS = 16
"""Likewise of the slots of a list."""
_FEW_VALUES = 100
"""Categories of a feature that are all asked for by each request."""
_LISTED = frozenset({int(Kind.CATEGORY), int(Kind.TEXT), int(Kind.BOOLEAN)})
"""Kinds whose values have lists of items."""


class _Postings:
    """The slots of the items with one value, in the order in which they got it.

    To take a slot out of a million would take a search: it is only counted, and left to those who read.
    """

    __slots__ = ("items", "slots")

    def __init__(self) -> None:
        self.slots = array("i")
        """Some of them have the value no more, and some stand there twice."""
        self.items = 0
        """Items that have it."""


class ItemContent:
    """The values of all items, and for each category and word the items that have it.

    Words weigh (1 + log tf) · log((1 + N) / (1 + df)) with squares that sum to 1 (Salton and Buckley 1988, "ltc"), with
    N and df as of the item's own description.
    """

    def __init__(self, features: list[dict[str, Any] | None], fields: FeatureFields) -> None:
        """`features` by slot: the list that the catalogue changes before it calls `set`."""
        self._features, self.fields = features, fields
        self.described = 0
        """Items with any feature."""
        self._starts, self._lengths = np.zeros(1024, dtype=np.int64), np.zeros(1024, dtype=np.int32)
        self._numbers = np.zeros(1024, dtype=np.int16)
        self._codes, self._weights = np.zeros(1024, dtype=np.int64), np.zeros(1024, dtype=np.float32)
        self._written = self._in_use = 0
        self._postings: dict[tuple[int, int], _Postings] = {}
        self._codes_of: dict[int, dict[int, None]] = {}
        """The values of each feature whose values have lists."""

    @property
    def entries(self) -> Entries:
        """All entries, by slot."""
        return Entries(self._starts, self._lengths, self._numbers, self._codes, self._weights)

    def set(self, slot: int, features: Mapping[str, Any] | None, *, learn: bool = True) -> None:
        """Take over the features of an item; `learn` as `encoded` takes it."""
        if not features and (slot >= len(self._lengths) or not self._lengths[slot]):
            return
        if learn and features:
            self._turn_to_texts(features)
        self._take_out(slot)
        self._put_in(slot, encoded(self.fields, features, learn=learn) if features else [])

    def _turn_to_texts(self, features: Mapping[str, Any]) -> None:
        """Read those features as texts from now on that this item shows to be texts, of all items."""
        for name, value in features.items():
            number = self.fields.find(name)
            if self.fields.becomes_text(number, value):
                self.read_again([number])

    def learn_all(self) -> None:
        """Learn to read all features that there are: they come from a release that read none."""
        for slot, features in enumerate(self._features):
            self.set(slot, features)

    def read_again(self, numbers: list[int]) -> None:
        """Take items over again that have any of these features: they are of another kind now."""
        names = {self.fields.names[number] for number in numbers}
        for slot, features in enumerate(self._features):
            if features and not names.isdisjoint(features):
                self._take_out(slot)
                self._put_in(slot, encoded(self.fields, features, learn=False))

    def read(self, slots: NDArray[np.int32], now: int) -> tuple[NDArray[np.int32], Values]:
        """The values of items at `now` (ms) one behind the other, and how many each of `slots` int32[n] has."""
        return read_values(self.fields, self.entries, slots, now)

    def having(self, field: int, code: int, count: int) -> list[int]:
        """At most `count` slots of items that have a value, the newest first."""
        found = self._postings.get((field, code))
        newest: dict[int, None] = {}
        if found is None or not count:
            return []
        if len(found.slots) == found.items:  # nothing was taken out
            return found.slots[-count:].tolist()[::-1]
        for slot in reversed(found.slots):
            if slot not in newest and self._has(slot, field, code):
                newest[slot] = None
                if len(newest) == count:
                    break
        return list(newest)

    def _has(self, slot: int, field: int, code: int) -> bool:
        start, length = int(self._starts[slot]), int(self._lengths[slot])
        codes, numbers = self._codes[start : start + length], self._numbers[start : start + length]
        return bool(((codes == code) & (numbers == field)).any())

    def in_turn(self, field: int, code: int, count: int, turn: int) -> list[int]:
        """At most `count` slots of items that have a value, others with each `turn`, until all had theirs."""
        found = self._postings.get((field, code))
        if found is None or count <= 0:
            return []
        slots, begin = found.slots, turn * count % len(found.slots)
        window = [*slots[begin : begin + count], *slots[: max(0, begin + count - len(slots))]]
        return [slot for slot in dict.fromkeys(window) if self._has(slot, field, code)]

    @property
    def listed_fields(self) -> list[int]:
        """Numbers of the features that have lists of categories."""
        return [field for field in self._codes_of if self.fields.kinds[field] != Kind.TEXT]

    @property
    def common_values(self) -> list[tuple[int, int]]:
        """Feature and code of the categories of features that have few of them."""
        found: list[tuple[int, int]] = []
        for field in self.listed_fields:
            if len(self._codes_of[field]) <= _FEW_VALUES:
                found += [(field, code) for code in self._codes_of[field]]
        return found

    def listed_values(self, slots: NDArray[np.int32]) -> list[tuple[int, int]]:
        """Feature and code of the categories of some items."""
        found: dict[tuple[int, int], None] = {}
        for slot in slots[slots < len(self._lengths)].tolist():
            start, length = int(self._starts[slot]), int(self._lengths[slot])
            numbers = self._numbers[start : start + length].tolist()
            for field, code in zip(numbers, self._codes[start : start + length].tolist(), strict=True):
                if (field, code) in self._postings and self.fields.kinds[field] != Kind.TEXT:
                    found[field, code] = None
        return list(found)

    def frequency(self, field: int, code: int) -> int:
        """How many items have a value."""
        found = self._postings.get((field, code))
        return 0 if found is None else found.items

    def _take_out(self, slot: int) -> None:
        if slot >= len(self._lengths) or not self._lengths[slot]:
            return
        start, length = int(self._starts[slot]), int(self._lengths[slot])
        numbers = self._numbers[start : start + length].tolist()
        for field, code in zip(numbers, self._codes[start : start + length].tolist(), strict=True):
            found = self._postings.get((field, code))
            if found is not None:
                found.items -= 1
                if not found.items:
                    del self._postings[field, code], self._codes_of[field][code]
                    self.fields.distinct[field] -= 1
        self.fields.present[np.unique(numbers)] -= 1
        self._lengths[slot] = 0
        self._in_use -= length
        self.described -= 1

    def _put_in(self, slot: int, entries: list[Entry]) -> None:
        if not entries:
            return
        self._make_room(slot, len(entries))
        self.described += 1
        kinds = self.fields.kinds.tolist()
        for field, code, _ in entries:
            if kinds[field] in _LISTED:
                found = self._postings.get((field, code))
                if found is None:
                    found = self._postings[field, code] = _Postings()
                    self._codes_of.setdefault(field, {})[code] = None
                    self.fields.distinct[field] += 1
                found.slots.append(slot)
                found.items += 1
                if len(found.slots) > 2 * found.items + _SPARE_SLOTS:
                    # This slot is among them only once the item is there.
                    kept = self.having(field, code, len(found.slots))
                    found.slots = array("i", [*reversed(kept), slot])
        numbers = [entry.field for entry in entries]
        self.fields.present[np.unique(numbers)] += 1
        end = self._written + len(entries)
        self._numbers[self._written : end] = numbers
        self._codes[self._written : end] = [entry.code for entry in entries]
        self._weights[self._written : end] = self._weighted(entries)
        self._starts[slot], self._lengths[slot] = self._written, len(entries)
        self._written, self._in_use = end, self._in_use + len(entries)

    def _weighted(self, entries: list[Entry]) -> list[float]:
        texts = {entry.field for entry in entries if self.fields.kinds[entry.field] == Kind.TEXT}
        if not texts:
            return [entry.weight for entry in entries]
        weights = [
            entry.weight * math.log((1 + self.described) / self.frequency(entry.field, entry.code)) + 1e-3
            if entry.field in texts
            else entry.weight
            for entry in entries
        ]
        for field in texts:
            at = [place for place, entry in enumerate(entries) if entry.field == field]
            length = math.sqrt(sum(weights[place] ** 2 for place in at))
            for place in at:
                weights[place] /= length
        return weights

    def _make_room(self, slot: int, entries: int) -> None:
        if slot >= len(self._lengths):
            capacity = capacity_for(slot + 1, len(self._lengths))
            self._starts, self._lengths = grown(self._starts, capacity, 0), grown(self._lengths, capacity, 0)
        if self._written > 2 * self._in_use + _SPARE:
            self._pack()
        if self._written + entries > len(self._codes):
            capacity = capacity_for(self._written + entries, len(self._codes))
            self._numbers, self._codes = grown(self._numbers, capacity, 0), grown(self._codes, capacity, 0)
            self._weights = grown(self._weights, capacity, 0.0)

    def _pack(self) -> None:
        """Leave out what no item says any more."""
        slots = np.flatnonzero(self._lengths)
        lengths = self._lengths[slots].astype(np.int64)
        ends = np.cumsum(lengths)
        places = np.repeat(self._starts[slots] - (ends - lengths), lengths) + np.arange(
            int(ends[-1]) if len(ends) else 0
        )
        for name in ("_numbers", "_codes", "_weights"):
            kept = getattr(self, name)
            packed = np.zeros_like(kept)
            packed[: len(places)] = kept[places]
            setattr(self, name, packed)
        self._starts[slots] = ends - lengths
        self._written = len(places)
