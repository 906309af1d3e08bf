"""The vectors that are given for items, by slot: an array for each name and length; each length is its own feature."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from stream_reco.signals.growing import Parts, capacity_for, grown
from stream_reco.signals.item_updates import Statement

MOST_NAMES = 32
"""Names and lengths of vectors; later ones are counted and passed over."""
_OWN = "vector"
_UNCHANGED = -1


class VectorArray:
    """The vectors of one name and length."""

    def __init__(self, dim: int) -> None:
        self.rows = np.zeros((1024, dim), dtype=np.float32)
        """float32[capacity, dim]; 0 where an item has none. Memory is taken only where something is written."""
        self.present = np.zeros(1024, dtype=np.bool_)
        """bool[capacity]: which slots have one."""
        self.count = 0
        """Items that have one."""

    def put(self, slot: int, vector: NDArray[np.float32]) -> None:
        """Take over the vector float32[dim] of an item."""
        if slot >= len(self.present):
            capacity = capacity_for(slot + 1, len(self.present))
            self.rows, self.present = grown(self.rows, capacity, 0), grown(self.present, capacity, 0)
        self.count += not self.present[slot]
        self.rows[slot], self.present[slot] = vector, True

    def has(self, slot: int) -> bool:
        """Whether an item has a vector."""
        return slot < len(self.present) and bool(self.present[slot])

    def remove(self, slot: int) -> None:
        """Take the vector of an item away, if it has one."""
        if self.has(slot):
            self.rows[slot], self.present[slot] = 0.0, False
            self.count -= 1


class GivenVectors:
    """Vectors of item events, under "vector[16]" if they have 16 numbers, and lists of numbers among the features.

    A feature of the name "vector" is under "features.vector[16]". Those of events are merged as `Statement`s are; those
    of features follow from the features. Only what is finite as float32 is taken.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, VectorArray] = {}
        self.listed: list[VectorArray] = []
        """Those of features."""
        self.refused = 0
        """Vectors so far that were not finite, or for whose name there was no room."""
        self._dims = np.zeros(1024, dtype=np.int32)
        """int32[capacity]: numbers in the vector of each slot's events, 0 where it has none."""
        self._stated = np.zeros(1024, dtype=np.int64)
        """int64[capacity], ms: when the vector was given or taken away last."""
        self._changed = np.zeros(1024, dtype=np.bool_)
        """bool[capacity]: whose vector of events no replica has yet."""

    @property
    def names(self) -> list[str]:
        """All names, as they came."""
        return [*self._arrays]

    def array(self, name: str) -> VectorArray | None:
        """The vectors of a name; None where there is no such name."""
        return self._arrays.get(name)

    def rows_of(self, slots: NDArray[np.int32]) -> list[tuple[str, NDArray[np.float32]]]:
        """Names, and the vectors float32[n, d] of items, zeros where they have none; no names that none of them has."""
        found = []
        for name, array in self._arrays.items():
            rows = np.zeros((len(slots), array.rows.shape[1]), dtype=np.float32)
            known = (slots >= 0) & (slots < len(array.present))
            rows[known] = array.rows[slots[known]]
            if rows.any():
                found.append((name, rows))
        return found

    def of(self, slot: int) -> list[float] | None:
        """The vector of an item's events, None where it has none."""
        dim = int(self._dims[slot]) if slot < len(self._dims) else 0
        vector: list[float] | None = self._arrays[_named(_OWN, dim)].rows[slot].tolist() if dim else None
        return vector

    def merge(self, slot: int, said: Statement) -> None:
        """Take over what was said of the vector of an item, unless something newer was."""
        if said.vector is UNSET and not said.replace:
            return
        self._make_room(slot)
        if said.time < self._stated[slot]:
            return
        vector = None
        if said.vector is not UNSET and said.vector is not None:
            vector = _finite(said.vector)
            if vector is None or self._admit(_named(_OWN, len(vector))) is None:
                self.refused += 1
                return
        self._stated[slot], self._changed[slot] = said.time, True
        self._put(slot, vector)

    def set_features(self, slot: int, vectors: Mapping[str, Sequence[Any]], *, learn: bool) -> None:
        """Take over the vectors among the features of an item, by name; with `learn` new names are admitted."""
        for listed in self.listed:
            listed.remove(slot)
        for name, values in vectors.items():
            vector = _finite(values)
            key = _named(f"features.{name}" if name == _OWN else name, len(values))
            array = None if vector is None else self._admit(key) if learn else self._arrays.get(key)
            if array is not None and vector is not None:
                array.put(slot, vector)
            elif learn:
                self.refused += 1

    def forget(self, slot: int) -> None:
        """There is no item in the slot any more."""
        for array in self.listed:
            array.remove(slot)
        if slot < len(self._dims) and (self._dims[slot] or self._stated[slot]):
            self._put(slot, None)
            self._stated[slot], self._changed[slot] = 0, True

    def turn_back(self, time: int) -> None:
        """Take what was said later than `time` (ms) as of that time."""
        np.minimum(self._stated, time, out=self._stated)

    def _put(self, slot: int, vector: NDArray[np.float32] | None) -> None:
        if self._dims[slot]:
            self._arrays[_named(_OWN, int(self._dims[slot]))].remove(slot)
        self._dims[slot] = 0 if vector is None else len(vector)
        if vector is not None:
            self._arrays[_named(_OWN, len(vector))].put(slot, vector)

    def _admit(self, name: str) -> VectorArray | None:
        array = self._arrays.get(name)
        if array is None and len(self._arrays) < MOST_NAMES:
            dim = int(name[name.rindex("[") + 1 : -1])
            array = self._arrays[name] = VectorArray(dim)
            if name != _named(_OWN, dim):
                self.listed.append(array)
        return array

    def _make_room(self, slot: int) -> None:
        if slot >= len(self._dims):
            capacity = capacity_for(slot + 1, len(self._dims))
            self._dims, self._stated = grown(self._dims, capacity, 0), grown(self._stated, capacity, 0)
            self._changed = grown(self._changed, capacity, 0)

    def parts(self, slots: NDArray[np.int32], *, only_changed: bool) -> Parts:
        """What a replica needs of some slots; `only_changed` leaves out what was drained, and is a drain."""
        if not self._arrays and not self.refused:
            return {}
        self._make_room(int(slots.max(initial=0)))
        dims = self._dims[slots]
        if only_changed:
            dims = np.where(self._changed[slots], dims, _UNCHANGED).astype(np.int32)
            self._changed[slots] = False
        given = [
            self._arrays[_named(_OWN, dim)].rows[slot]
            for slot, dim in zip(slots.tolist(), dims.tolist(), strict=True)
            if dim > 0
        ]
        names = np.frombuffer(json.dumps(self.names).encode(), dtype=np.uint8)
        data = np.concatenate(given) if given else np.empty(0, dtype=np.float32)
        refused = np.array([self.refused], dtype=np.int64)
        return {"vectors.names": names, "vectors.dims": dims, "vectors.data": data, "vectors.refused": refused}

    def apply_names(self, parts: Parts) -> None:
        """Know the names that another knows: before the features of its items are taken over."""
        if "vectors.names" in parts:
            for name in json.loads(parts["vectors.names"].tobytes()):
                self._admit(name)
        if "vectors.refused" in parts:
            self.refused = int(parts["vectors.refused"][0])

    def apply(self, parts: Parts) -> None:
        """Mirror the vectors of the events of the slots in `parts`, which has "slots" besides."""
        if "vectors.dims" not in parts:
            return
        slots, end = parts["slots"].tolist(), 0
        self._make_room(max(slots, default=0))
        for slot, dim in zip(slots, parts["vectors.dims"].tolist(), strict=True):
            if dim != _UNCHANGED:
                self._put(slot, parts["vectors.data"][end : end + dim] if dim else None)
                end += max(dim, 0)

    def mark_changed(self, slots: NDArray[np.int32]) -> None:
        """Count slots as not drained: no channel took them."""
        if self._arrays and len(slots):
            self._make_room(int(slots.max()))
            self._changed[slots] = True

    def state(self, size: int) -> Parts:
        """Everything of the first `size` slots that a replica does not need, for a checkpoint."""
        if not self._arrays and not self.refused and not self._stated.any():
            return {}
        self._make_room(size)
        return {
            "vectors.stated": self._stated[:size].copy(),
            "vectors.changed": self._changed[:size].copy(),
            "vectors.refused": np.array([self.refused], dtype=np.int64),
        }

    def restore(self, parts: Parts) -> None:
        """Become what `state` was taken from; what replicas need is there already."""
        if "vectors.stated" in parts:
            size = len(parts["vectors.stated"])
            self._make_room(size)
            self._stated[:size], self._changed[:size] = parts["vectors.stated"], parts["vectors.changed"]
            self.refused = int(parts["vectors.refused"][0])


def _named(name: str, dim: int) -> str:
    return f"{name}[{dim}]"


def _finite(values: Iterable[Any]) -> NDArray[np.float32] | None:
    """float32[n]; None where one of them is no number or too large."""
    try:
        with np.errstate(over="ignore"):
            vector = np.array([*values], dtype=np.float64).astype(np.float32)
    except (TypeError, ValueError, OverflowError):
        return None
    return vector if len(vector) and np.isfinite(vector).all() else None
