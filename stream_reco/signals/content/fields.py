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

OF_TEXT = 1
"""Bit of a feature's hash by which whoever reads its values knows that they are words."""
MOST_FIELDS = 1000
"""Features of a side that are read; later names are counted and passed over."""
_NAMED = frozenset({Kind.CATEGORY, Kind.TEXT, Kind.BOOLEAN})
"""Kinds that take values of most others for names."""
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
        self.kinds_by_number: list[int] = []
        """The same, as Python reads it in less time."""
        self.vector_names: list[str] = []
        """Features that are vectors."""
        self.turned: list[int] = []
        """Features that were taken for categories and are read as texts now; whoever takes them over empties it."""
        self.present = np.zeros(0, dtype=np.int64)
        """int64[capacity]: how many items or users have the feature now."""
        self.distinct = np.zeros(0, dtype=np.int64)
        """int64[capacity]: how many different categories, or words, they have of it."""
        self.misfits = np.zeros(0, dtype=np.int64)
        """int64[capacity]: values so far that were of another kind than the feature."""
        self.everyone = 0
        """Items or users with any feature."""
        self.refused = 0
        """Times that a feature was passed over because there were too many."""
        self.running = RunningScales()
        self.changed = False
        """Whether there is anything that replicas do not know."""

    def __len__(self) -> int:
        return len(self.names)

    def find(self, name: str) -> int:
        """The number of a feature, −1 where it is unknown."""
        return self._numbers.get(name, -1)

    def admit(self, name: str, kind: Kind, value: object) -> int:
        """The number of a feature of which a value of a `kind` is stated, a new one if it is unknown.

        −1 where the value is of another kind than the feature, or there are too many features; both are counted. A
        category becomes a text with the first value that is one, and is then in `turned`.
        """
        number = self._numbers.get(name, -1)
        if number < 0:
            if len(self.names) == MOST_FIELDS:
                self.refused += 1
                self.changed = True
                return -1
            number = self._add(name, self.declared.get(name, kind))
        own = self.kinds_by_number[number]
        if kind == own:
            return number
        if own == Kind.IGNORED:
            return -1
        if not _fits(kind, own, value):
            self.misfits[number] = min(self.misfits[number] + 1, _MOST_MISFITS)
            self.changed = True
            return -1
        if kind == Kind.TEXT and own == Kind.CATEGORY and name not in self.declared:
            self._set_kind(number, Kind.TEXT)
            self.turned.append(number)
            self.changed = True
        return number

    def find_fitting(self, name: str, kind: Kind, value: object) -> int:
        """The number of a feature that can have a value of a `kind`; −1 where it is unknown or of another kind."""
        number = self._numbers.get(name, -1)
        return number if number >= 0 and _fits(kind, self.kinds_by_number[number], value) else -1

    def vectors_of(self, features: Mapping[str, Any]) -> dict[str, Any]:
        """Those features that are vectors, and whose value is one."""
        return {
            name: features[name]
            for name in self.vector_names
            if name in features and kind_of(features[name]) == Kind.VECTOR
        }

    def declare(self) -> bool:
        """Have features be of the kinds that are declared, whatever they were; returns whether any was of another."""
        changed = False
        for name, kind in self.declared.items():
            number = self._numbers.get(name, -1)
            if number >= 0 and self.kinds_by_number[number] != kind:
                self._set_kind(number, kind)
                self.changed = changed = True
        return changed

    def _set_kind(self, number: int, kind: Kind) -> None:
        self.hashes[number] = (self.hashes[number] & ~OF_TEXT) | (OF_TEXT if kind == Kind.TEXT else 0)
        name, self.kinds[number], self.kinds_by_number[number] = self.names[number], kind, int(kind)
        self.vector_names = [one for one in self.vector_names if one != name] + [name] * (kind == Kind.VECTOR)

    def _add(self, name: str, kind: Kind) -> int:
        number = len(self.names)
        self.names.append(name)
        self._numbers[name] = number
        self.kinds_by_number.append(0)
        if number >= len(self.hashes):
            size = max(16, 2 * number)
            self.hashes, self.kinds = grown(self.hashes, size, 0), grown(self.kinds, size, 0)
            self.present, self.distinct = grown(self.present, size, 0), grown(self.distinct, size, 0)
            self.misfits = grown(self.misfits, size, 0)
        self.hashes[number] = np.int64(key_of(name, f"{self.side} feature")).astype(np.int32)
        self._set_kind(number, kind)
        self.running.make_room(number + 1)
        self.changed = True
        return number

    @property
    def counts(self) -> tuple[NDArray[Any], ...]:
        """`FieldCounts` as a plain tuple, for kernels that change what is counted."""
        return self.kinds, self.present, self.distinct

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
        passed_over: Parts = {
            "misfits": self.misfits[:size].copy(),
            "refused": np.array([self.refused], dtype=np.int64),
        }
        own: Parts = {"names": names, "kinds": self.kinds[:size].copy(), **passed_over}
        return own | {f"scales.{name}": array[:size] for name, array in self.running.parts().items()}

    def tallies(self) -> Parts:
        """What a replica that does not know who has the features cannot count, as `apply_tallies` takes it."""
        size = len(self.names)
        columns = {"present": self.present, "distinct": self.distinct}
        everyone = np.array([self.everyone], dtype=np.int64)
        return {"everyone": everyone, **{name: column[:size].copy() for name, column in columns.items()}}

    def apply_tallies(self, parts: Parts) -> None:
        """Mirror `tallies`, after `apply`."""
        self.everyone = int(parts["everyone"][0])
        for name in ("present", "distinct"):
            getattr(self, name)[: len(parts[name])] = parts[name]

    def apply(self, parts: Parts) -> list[int]:
        """Mirror `parts`; returns the numbers of features that are of another kind than they were."""
        names: list[str] = json.loads(parts["names"].tobytes())
        kinds = parts["kinds"].tolist()
        before = len(self.names)
        if names[:before] != self.names:  # of another trainer
            before = 0
            self.names, self._numbers, self.kinds_by_number, self.vector_names = [], {}, [], []
        other = [number for number in range(before) if self.kinds[number] != kinds[number]]
        for number, kind in enumerate(kinds):
            if number < before:
                self._set_kind(number, Kind(kind))
            else:
                self._add(names[number], Kind(kind))
        self.misfits[: len(kinds)], self.refused = parts["misfits"], int(parts["refused"][0])
        self.running.apply({name: parts[f"scales.{name}"] for name in self.running.scales._fields})
        return other

    def state(self) -> Parts:
        """Everything that is not counted anew from what items and users have, for a checkpoint."""
        learned = {f"running.{name}": array for name, array in self.running.state().items()}
        return self.parts() | learned | {"changed": np.array([self.changed])}

    def summary(self, least: int) -> Parts:
        """What can be told to others, as `restore` takes it: kinds and scales of features that `least` or more have.

        No value is in it but the octiles of numbers.
        """
        size = len(self.names)
        kept = self.present[:size] >= least
        names = json.dumps([name for name, keep in zip(self.names, kept.tolist(), strict=True) if keep])
        learned = {f"running.{name}": array[:size][kept] for name, array in self.running.summary().items()}
        learned |= {f"scales.{name}": array[:size][kept] for name, array in self.running.parts().items()}
        return learned | {
            "names": np.frombuffer(names.encode(), dtype=np.uint8),
            "kinds": self.kinds[:size][kept],
            "misfits": np.zeros(int(kept.sum()), dtype=np.int64),
            "refused": np.zeros(1, dtype=np.int64),
            "changed": np.array([True]),
        }

    def restore(self, parts: Parts) -> None:
        """Become what `state` or `summary` was taken from."""
        self.apply(parts)
        self.running.restore(
            {name.removeprefix("running."): array for name, array in parts.items() if name.startswith("running.")}
        )
        self.changed = bool(parts["changed"][0])


def _fits(kind: Kind, own: int, value: object) -> bool:
    """Whether a feature that is of its `own` kind can have a value of a `kind`."""
    if own not in _NAMED:
        return kind == own
    # Numbers and times may be names, a text may be as short as a category, and a long list of whole numbers names many.
    return kind != Kind.VECTOR or (isinstance(value, (list, tuple)) and all(type(one) is int for one in value))
