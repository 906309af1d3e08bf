"""Merges what the shop says of an item from time to time: of each feature the newest statement holds.

The result does not depend on the order in which the statements come, as long as no two have the same time; of two with
the same time, the one that came last holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts, grown

Features = dict[str, Any]
Since = tuple[int, tuple[str, ...]]
"""A time (ms) and the names of the features that were stated last then."""


@dataclass(frozen=True)
class Statement:
    """What the shop said of an item at `time` (ms); None as a feature's value takes the feature away."""

    time: int
    features: Mapping[str, Any] = field(default_factory=dict)
    available: bool | None = None
    """None says nothing of it."""
    replace: bool = False
    """Whether what it does not name is gone."""
    vector: Sequence[float] | UnsetType | None = UNSET
    """None takes the item's vector away; UNSET says nothing of it."""


class StatementTimes:
    """When each part of an item was stated last, by slot.

    A feature that is there was stated at the slot's `described`, unless `_older` says when. One that is not there was
    never stated after `replaced`, unless `_older` says that it was taken away later. So the times of an item that was
    described once, as nearly all are, take three numbers.
    """

    def __init__(self, capacity: int) -> None:
        self.described = np.zeros(capacity, dtype=np.int64)
        """int64[capacity], ms: time of the newest statement, 0 where there is none."""
        self.replaced = np.zeros(capacity, dtype=np.int64)
        """int64[capacity], ms: time of the newest statement that replaced everything, 0 where there is none."""
        self.said_available = np.zeros(capacity, dtype=np.int64)
        """int64[capacity], ms: time of the newest statement on availability, 0 where there is none."""
        self._older: dict[int, tuple[Since, ...]] = {}
        self._names: dict[tuple[str, ...], tuple[str, ...]] = {}
        """Each tuple of names in `_older` once: the items of a shop are updated alike."""

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` slots."""
        self.described = grown(self.described, capacity, 0)
        self.replaced = grown(self.replaced, capacity, 0)
        self.said_available = grown(self.said_available, capacity, 0)

    def forget(self, slot: int) -> None:
        """There is no item in the slot any more."""
        self.described[slot] = self.replaced[slot] = self.said_available[slot] = 0
        self._older.pop(slot, None)

    def merge(self, slot: int, features: Features | None, available: bool, said: Statement) -> tuple[Features, bool]:
        """The features and the availability of an item as they are with one more statement."""
        at = said.time
        if at >= self.said_available[slot] and (said.replace or said.available is not None):
            available, self.said_available[slot] = said.available is not False, at
        if said.replace and at >= self.described[slot]:
            # What came before no longer counts, whatever it was: the common way of those who send everything each time.
            self._older.pop(slot, None)
            self.described[slot] = self.replaced[slot] = at
            return {name: value for name, value in said.features.items() if value is not None}, available
        known = features or {}
        if at >= self.described[slot] and slot not in self._older and self._is_complete(known, said):
            self.described[slot] = at
            return {**known, **said.features}, available
        return self._merge_each(slot, dict(known), said), available

    @staticmethod
    def _is_complete(known: Features, said: Statement) -> bool:
        """Whether a statement names all that is known of an item and takes nothing away: nothing older is left then."""
        return known.keys() <= said.features.keys() and None not in said.features.values()

    def _merge_each(self, slot: int, features: Features, said: Statement) -> Features:
        at, floor = said.time, int(self.replaced[slot])
        times = self._times(slot, features)
        if said.replace:
            for name in [name for name, time in times.items() if time <= at]:
                features.pop(name, None)
                del times[name]
            self.replaced[slot] = max(floor, at)
        for name, value in said.features.items():
            if at < times.get(name, floor):
                continue
            times[name] = at
            if value is None:
                features.pop(name, None)
            else:
                features[name] = value
        self.described[slot] = max(int(self.described[slot]), at)
        self._keep(slot, features, times)
        return features

    def _times(self, slot: int, features: Features) -> dict[str, int]:
        newest = int(self.described[slot])
        return dict.fromkeys(features, newest) | {
            name: time for time, names in self._older.get(slot, ()) for name in names
        }

    def _keep(self, slot: int, features: Features, times: Mapping[str, int]) -> None:
        newest, floor = int(self.described[slot]), int(self.replaced[slot])
        by_time: dict[int, list[str]] = {}
        for name, time in times.items():
            if time != newest if name in features else time > floor:
                by_time.setdefault(time, []).append(name)
        if by_time:
            self._older[slot] = tuple(
                (time, self._names.setdefault(names, names))
                for time, found in sorted(by_time.items())
                for names in [tuple(sorted(found))]
            )
        else:
            self._older.pop(slot, None)

    def turn_back(self, time: int) -> NDArray[np.bool_]:
        """Take statements later than `time` (ms) as of that time; bool[capacity]: the slots that have any."""
        changed: NDArray[np.bool_] = self.described > time
        for array in (self.described, self.replaced, self.said_available):
            np.minimum(array, time, out=array)
        for slot, older in self._older.items():
            if older[-1][0] > time:
                self._older[slot] = tuple((min(at, time), names) for at, names in older)
        return changed

    def state(self, size: int) -> Parts:
        """Everything of the first `size` slots that a replica does not need, for a checkpoint."""
        return {
            "replaced": self.replaced[:size].copy(),
            "said_available": self.said_available[:size].copy(),
            "older": np.frombuffer(msgspec.msgpack.encode(list(self._older.items())), dtype=np.uint8),
        }

    def restore(self, parts: Parts, size: int) -> None:
        """Become what `state` was taken from; `described` is there already.

        Before there were merges, each statement said all there was to say.
        """
        known = "replaced" in parts
        self.replaced[:size] = parts["replaced"] if known else self.described[:size]
        self.said_available[:size] = parts["said_available"] if known else self.described[:size]
        if known:
            kept = msgspec.msgpack.decode(parts["older"].tobytes(), type=list[tuple[int, tuple[Since, ...]]])
            self._older = {slot: tuple(self._interned(older)) for slot, older in kept}

    def _interned(self, older: tuple[Since, ...]) -> Iterator[Since]:
        for time, names in older:
            yield time, self._names.setdefault(names, names)
