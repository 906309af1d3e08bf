"""The features of one side, items or users: names, kinds, scales, and how often each is there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import key_of
from stream_reco.signals.content.kinds import Kind, kind_of
from stream_reco.signals.content.scales import RunningScales
from stream_reco.signals.growing import Parts, grown

MOST_FIELDS = 1000
"""Features of a side that are read; later names are counted and passed over."""
_READ_AS = {Kind.BOOLEAN: Kind.CATEGORY}
"""Kinds whose values are read as those of another."""
_MOST_MISFITS = 1 << 40
_UNIQUE_ITEMS, _UNIQUE_SHARE = 50, 0.9
"""A feature that so many have, and of whose values this share is had by one alone, says no more than an id does."""


class FeatureFields:
    """Numbers features as their names come. A feature keeps its number for as long as the data folder lives."""

    def __init__(self, side: str, declared: Mapping[str, Kind] | None = None) -> None:
        """`side`: "item" or "user". `declared`: kinds that are not to be inferred."""
        self.side, self.declared = side, dict(declared or {})
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}
        self.hashes = np.zeros(0, dtype=np.int32)
        """int32[capacity]: what the feature is known by in keys of rows: the same in every process."""
        self.kinds = np.zeros(0, dtype=np.int8)
        """int8[capacity]: `Kind` of each."""
        self.present = np.zeros(0, dtype=np.int64)
        """int64[capacity]: how many items or users have the feature now."""
        self.distinct = np.zeros(0, dtype=np.int64)
        """int64[capacity]: how many different categories, or words, they have of it."""
        self.misfits = np.zeros(0, dtype=np.int64)
        """int64[capacity]: values so far that were of another kind than the feature."""
        self.refused = 0
        """Times that a feature was passed over because there were too many."""
        self.running = RunningScales()
        self.changed = True
        """Whether there is anything that replicas do not know."""

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int:
        """The number of a feature, −1 where it is unknown."""
        return self._numbers.get(name, -1)

    def admit(self, name: str, value: object) -> int:
        """The number of a feature, a new one if it is unknown; −1 if its value says nothing or there are too many."""
        number = self._numbers.get(name, -1)
        if number >= 0:
            return number
        kind = self.declared.get(name, kind_of(value))
        if kind is None:
            return -1
        if len(self.names) == MOST_FIELDS:
            self.refused += 1
            return -1
        return self._add(name, kind)

    def _add(self, name: str, kind: Kind) -> int:
        number = len(self.names)
        self.names.append(name)
        self._numbers[name] = number
        if number >= len(self.hashes):
            size = max(16, 2 * number)
            self.hashes, self.kinds = grown(self.hashes, size, 0), grown(self.kinds, size, 0)
            self.present, self.distinct = grown(self.present, size, 0), grown(self.distinct, size, 0)
            self.misfits = grown(self.misfits, size, 0)
        self.hashes[number] = np.int64(key_of(name, f"{self.side} feature")).astype(np.int32)
        self.kinds[number] = kind
        self.running.make_room(len(self.hashes))
        self.changed = True
        return number

    def fits(self, number: int, value: object, *, learn: bool) -> bool:
        """Whether a value is of the feature's kind; with `learn` it is counted where it is not.

        Returns False as well for a value that says nothing. A category becomes a text with the first value that is
        one: see `becomes_text`.
        """
        kind, own = kind_of(value), Kind(int(self.kinds[number]))
        if kind is None:
            return False
        kind, own = _READ_AS.get(kind, kind), _READ_AS.get(own, own)
        # Numbers and times may be declared to be names, and a text may be as short as a category.
        if kind == own or (own in (Kind.CATEGORY, Kind.TEXT) and kind != Kind.VECTOR):
            return True
        if learn:
            self.misfits[number] = min(self.misfits[number] + 1, _MOST_MISFITS)
        return False

    def becomes_text(self, number: int, value: object) -> bool:
        """Whether a feature that was taken for a category must be a text from this value on; it is then.

        −1 is no feature.
        """
        if (
            number < 0
            or self.kinds[number] != Kind.CATEGORY
            or self.names[number] in self.declared
            or kind_of(value) != Kind.TEXT
        ):
            return False
        self.kinds[number] = Kind.TEXT
        self.changed = True
        return True

    @property
    def unique(self) -> NDArray[np.bool_]:
        """bool[capacity]: categories of which nearly every item or user has its own."""
        many = self.present >= _UNIQUE_ITEMS
        found: NDArray[np.bool_] = many & (self.kinds == Kind.CATEGORY) & (self.distinct > _UNIQUE_SHARE * self.present)
        return found

    def parts(self) -> Parts:
        """What a replica needs to read features as this side does."""
        size = len(self.names)
        names = np.frombuffer(json.dumps(self.names).encode(), dtype=np.uint8)
        own = {"names": names, "kinds": self.kinds[:size].copy()}
        return own | {f"scales.{name}": array[:size] for name, array in self.running.parts().items()}

    def apply(self, parts: Parts) -> list[int]:
        """Mirror `parts`; returns the numbers of features that are of another kind than they were."""
        names: list[str] = json.loads(parts["names"].tobytes())
        kinds = parts["kinds"].tolist()
        before = len(self.names)
        if names[:before] != self.names:  # of another trainer
            before = 0
            self.names, self._numbers = [], {}
        other = [number for number in range(before) if self.kinds[number] != kinds[number]]
        for name, kind in zip(names[before:], kinds[before:], strict=True):
            self._add(name, Kind(kind))
        self.kinds[: len(kinds)] = kinds
        self.running.apply({name: parts[f"scales.{name}"] for name in self.running.scales._fields})
        return other

    def state(self) -> Parts:
        """Everything that is not counted anew from what items and users have, for a checkpoint."""
        learned = {f"running.{name}": array for name, array in self.running.state().items()}
        counts: dict[str, NDArray[Any]] = {
            "misfits": self.misfits[: len(self.names)].copy(),
            "refused": np.array([self.refused], dtype=np.int64),
            "changed": np.array([self.changed]),
        }
        return self.parts() | learned | counts

    def restore(self, parts: Parts) -> None:
        """Become what `state` was taken from."""
        self.apply(parts)
        self.running.restore(
            {name.removeprefix("running."): array for name, array in parts.items() if name.startswith("running.")}
        )
        self.misfits[: len(self.names)] = parts["misfits"]
        self.refused, self.changed = int(parts["refused"][0]), bool(parts["changed"][0])
