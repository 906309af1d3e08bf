"""What the items' features say, by slot, and which items say it: an inverted index that is always up to date."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.entries import (
    Entries,
    Links,
    cell_of,
    empty_cells,
    move_cells,
    newest_slots,
    replace_entries,
    take_runs,
)
from stream_reco.signals.content.entry_store import EntryStore
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.kinds import Kind
from stream_reco.signals.content.values import NO_VALUES, Frequencies, Values, read_values
from stream_reco.signals.content.vectors import GivenVectors
from stream_reco.signals.growing import Parts, capacity_for, grown

_FEWEST_CELLS = 4096
_FEW_VALUES = 100
"""Categories of a feature that are all asked for by each request."""
_MOST_ASKED = 32
"""Features whose categories are asked for."""
_MOST_IN_TURN = 2000
"""Of the items with one value, so many take turns: a chain is walked to where a turn begins."""
_NOTHING = np.empty((0, 3), dtype=np.int64)
_AT_ONCE = 16_384
"""Items that are taken over from a checkpoint at once: cells are made for as many values as they may bring."""
READING = 1
"""Changes when features are read otherwise than before: what a checkpoint says they say holds no longer then."""


_BEFORE_ALL = 0
"""A time (ms) before which no item was: an age is then 0, whose weight is 0."""


class Lasting(NamedTuple):
    """What is said of n items at any time."""

    counts: NDArray[np.int32]
    """int32[n]: how many `values` each has."""
    values: Values
    """One item's behind the other's; ages weigh 0."""
    vectors: list[tuple[str, NDArray[np.float32]]]
    """Names of given vectors, and the items' vectors float32[n, d]; zeros where an item has none."""


class ItemContent:
    """The values of all items, and for each category and word the items that have it.

    What is read of an item follows from its features and from `fields`, and the weights of its words from how many
    items have a feature, and the word, at the moment: replicas that have the same items read the same.
    """

    def __init__(
        self,
        features: Sequence[dict[str, Any] | None],
        fields: FeatureFields,
        *,
        store: EntryStore | None = None,
        lists_items: bool = True,
    ) -> None:
        """`features` by slot: those that the catalogue changes before it calls `set`.

        `store`: that of another one in this process, to share what both say. Without `lists_items` it is only counted
        how many items have a value, and `having` and `in_turn` cannot be asked.
        """
        self._features, self.fields = features, fields
        self.vectors = GivenVectors()
        self._owns, self.store = store is None, store or EntryStore()
        self.starts, self.lengths = np.zeros(1024, dtype=np.int64), np.zeros(1024, dtype=np.int32)
        self._links = Links(*(np.zeros(1024 if lists_items else 0, dtype=np.int32) for _ in Links._fields))
        self._cells, self._taken = empty_cells(_FEWEST_CELLS), 0
        self._common: tuple[tuple[int, ...], list[tuple[int, int]]] = ((), [])
        self.follow_store()
        self.store.add_holder(self)

    def follow_store(self) -> None:
        """Take over the arrays of the store, which grow, and keep room for links of as many entries."""
        self.entries = Entries(self.starts, self.lengths, *self.store.arrays)
        if 0 < len(self._links.slots) < len(self.entries.codes):
            self._links = Links(*(grown(one, len(self.entries.codes), 0) for one in self._links))
        # Plain tuples of the arrays, which a kernel reads in less time.
        plain: tuple[tuple[NDArray[Any], ...], ...] = (self.entries, self._links, self._cells)
        self._entries, self._chains, self._values = (tuple(one) for one in plain)
        self._sizes = len(self.starts), len(self.entries.codes), len(self._cells.codes) // 2

    def set(self, slot: int, features: Mapping[str, Any] | None, *, learn: bool = True) -> None:
        """Take over the features of an item; `learn` as `encoded` takes it."""
        given = encoded(self.fields, features, learn=learn) if features else _NOTHING
        if self.fields.vector_names or self.vectors.listed:
            self.vectors.set_features(slot, self.fields.vectors_of(features or {}), learn=learn)
        if not len(given) and not self.has(slot):
            return
        self._make_room(slot, len(given))
        start = self.store.written
        self.store.written += len(given)
        self._set_run(slot, start, given)

    def take_over(self, slot: int, other: ItemContent) -> bool:
        """Take over what another one with the same store says of an item in the same slot, of the same features.

        False where it has vectors among its features, which each keeps for itself: it is to be `set` then.
        """
        if self.fields.vector_names or self.vectors.listed:
            return False
        length = int(other.lengths[slot]) if slot < len(other.lengths) else 0
        if length or self.has(slot):
            self._make_room(slot, length, written=True)
            start = int(other.starts[slot]) if length else 0
            if not length or start != self.starts[slot] or length != self.lengths[slot]:
                self._set_run(slot, start, _NOTHING, length)
        return True

    def _set_run(self, slot: int, start: int, given: NDArray[np.int64], length: int = 0) -> None:
        """Have an item say what is `given`, or else what the run of a `length` says already."""
        before, length = int(self.lengths[slot]), length or len(given)
        self._taken += replace_entries(
            self._entries, self._chains, self._values, self.fields.counts, given, slot, (start, length)
        )
        if self._owns:
            self.store.in_use += length - before
        self.fields.everyone += bool(length) - bool(before)
        if self.fields.turned:
            turned, self.fields.turned = self.fields.turned, []
            self.read_again(turned)

    def state(self, size: int) -> Parts:
        """What the items in the first `size` slots say, for a checkpoint: to read a million again takes long."""
        lengths = np.zeros(size, dtype=np.int32)
        known = min(size, len(self.lengths))
        lengths[:known] = self.lengths[:known]
        ends = np.cumsum(lengths, dtype=np.int64)
        entries = np.repeat(self.starts[:known] - (ends - lengths)[:known], lengths[:known])
        entries += np.arange(len(entries))
        said: Parts = {name: array[entries] for name, array in self.store.by_name.items()}
        kinds = self.fields.kinds[: len(self.fields)].copy()
        return {"reading": np.array([READING]), "kinds": kinds, "lengths": lengths, **said}

    def is_as_read(self, parts: Parts) -> bool:
        """Whether parts are a `state` of a release that reads as this one does, and of features of the same kinds."""
        kinds = self.fields.kinds[: len(self.fields)]
        return "reading" in parts and int(parts["reading"][0]) == READING and np.array_equal(parts["kinds"], kinds)

    def restore(self, parts: Parts, order: NDArray[np.int64]) -> None:
        """Become what `state` was taken from, with the `fields` as they were; `order` int64[n] is that of the slots."""
        lengths, written = parts["lengths"], len(parts["codes"])
        starts = np.cumsum(lengths, dtype=np.int64) - lengths
        self.store.make_room(written)
        for name, array in self.store.by_name.items():
            array[:written] = parts[name]
        self.store.written = self.store.in_use = written
        self._make_room(max(len(lengths) - 1, 0), 0, written=True)
        saying = order[lengths[order] > 0]
        for first in range(0, len(saying), _AT_ONCE):
            slots = saying[first : first + _AT_ONCE]
            self._make_room(0, int(lengths[slots].sum()), written=True)
            self._taken += take_runs(
                self._entries, self._chains, self._values, self.fields.counts, slots, (starts[slots], lengths[slots])
            )
        self.fields.everyone = len(saying)
        if self.fields.vector_names:
            for slot in order.tolist():
                self.vectors.set_features(slot, self.fields.vectors_of(self._features[slot] or {}), learn=False)

    def learn_all(self) -> None:
        """Learn to read all features that there are: they come from a release that read none."""
        for slot, features in enumerate(self._features):
            self.set(slot, features)

    def read_again(self, numbers: list[int]) -> None:
        """Take items over again that have any of these features: they are of another kind now."""
        names = {self.fields.names[number] for number in numbers}
        for slot, features in enumerate(self._features if names else ()):
            if features and not names.isdisjoint(features):
                self.set(slot, features, learn=False)

    def read(self, slots: NDArray[np.int32], now: int) -> tuple[NDArray[np.int32], Values]:
        """The values of items at `now` (ms) one behind the other, and how many each of `slots` int32[n] has."""
        if not self.fields.everyone:  # as in a shop that describes nothing
            return np.zeros(len(slots), dtype=np.int32), NO_VALUES
        cells = self._cells
        frequencies = Frequencies(cells.fields, cells.codes, cells.items, self.fields.everyone)
        return read_values(self.fields, self._entries, frequencies, slots, now)

    @property
    def says_anything(self) -> bool:
        """Whether any item has features, or a vector was ever given of one."""
        return bool(self.fields.everyone or self.vectors.names)

    def has(self, slot: int) -> bool:
        """Whether an item has any value."""
        return slot < self._sizes[0] and bool(self.lengths[slot])

    def lasting(self, slots: NDArray[np.int32]) -> Lasting:
        """What is said of items, but for what changes from one moment to the next."""
        counts, values = self.read(slots, _BEFORE_ALL)
        return Lasting(counts, values, self.vectors.rows_of(slots))

    def having(self, field: int, code: int, count: int) -> list[int]:
        """At most `count` slots of items that have a value, those first that got it last."""
        slots: list[int] = newest_slots(self._chains, self._values, (field, code), count, 0).tolist()
        return slots

    def in_turn(self, field: int, code: int, count: int, turn: int, behind: int = 0) -> list[int]:
        """At most `count` slots of items that have a value, behind the `behind` newest, others with each `turn`."""
        among = min(self.frequency(field, code), _MOST_IN_TURN) - behind
        if among <= 0 or count <= 0:
            return []
        slots: list[int] = newest_slots(
            self._chains, self._values, (field, code), count, behind + turn * count % among
        ).tolist()
        return slots

    @property
    def category_fields(self) -> list[int]:
        """Numbers of the features that are categories, the first ones; not of those that are unique to each item."""
        kinds, size = self.fields.kinds[: len(self.fields)], len(self.fields)
        shared = ((kinds == Kind.CATEGORY) | (kinds == Kind.BOOLEAN)) & ~self.fields.unique[:size]
        found: list[int] = np.flatnonzero(shared)[:_MOST_ASKED].tolist()
        return found

    @property
    def common_values(self) -> list[tuple[int, int]]:
        """Feature and code of the categories of features that have few of them."""
        state = self._taken, int(self.fields.distinct.sum()), len(self.fields)
        if self._common[0] != state:
            self._common = state, self._find_common()
        return self._common[1]

    def _find_common(self) -> list[tuple[int, int]]:
        few = np.zeros(len(self.fields.hashes) + 1, dtype=np.bool_)
        few[self.category_fields] = self.fields.distinct[self.category_fields] <= _FEW_VALUES
        cells = self._cells
        # Free cells have the number −1, which is the place behind all features.
        at = np.flatnonzero((cells.items > 0) & few[cells.fields])
        return list(zip(cells.fields[at].tolist(), cells.codes[at].tolist(), strict=True))

    def categories_of(self, slots: NDArray[np.int32], *, words: bool = False) -> list[tuple[int, int]]:
        """Feature and code of the categories of some items, and of the `words` of their texts."""
        found: dict[tuple[int, int], None] = {}
        categories = set(self.category_fields)
        if words:
            categories.update(np.flatnonzero(self.fields.kinds[: len(self.fields)] == Kind.TEXT).tolist())
        for slot in slots[slots < self._sizes[0]].tolist():
            mine = slice(int(self.starts[slot]), int(self.starts[slot] + self.lengths[slot]))
            for field, code in zip(self.entries.fields[mine].tolist(), self.entries.codes[mine].tolist(), strict=True):
                if field in categories:
                    found[field, code] = None
        return list(found)

    def frequency(self, field: int, code: int) -> int:
        """How many items have a value."""
        return int(self._cells.items[cell_of(self._cells.fields, self._cells.codes, field, code)])

    def _make_room(self, slot: int, entries: int, *, written: bool = False) -> None:
        """For an item with so many entries, which are `written` already or are to be."""
        # Of several holders the later ones are read while the first one learns: they pack when nobody reads.
        if self.store.is_wasteful and self._owns != self.store.is_shared:
            self.store.pack()
        if not written:
            self.store.make_room(entries)
        if slot >= self._sizes[0]:
            slots = capacity_for(slot + 1, self._sizes[0])
            self.starts, self.lengths = grown(self.starts, slots, 0), grown(self.lengths, slots, 0)
        if slot >= self._sizes[0] or self.entries.codes is not self.store.codes:
            self.follow_store()
        if self._taken + entries > self._sizes[2]:
            self._add_cells(entries)

    def _add_cells(self, entries: int) -> None:
        """Make cells for so many more values, and leave out what no item has any more."""
        live = int(np.count_nonzero(self._cells.items)) + entries
        cells = empty_cells(capacity_for(3 * live, _FEWEST_CELLS))
        self._taken, self._cells = move_cells(self._values, tuple(cells)), cells
        self.follow_store()

    def move(self, kept: NDArray[np.int64], moved: NDArray[np.int32]) -> None:
        """Follow entries that are chained by their numbers, which change; numbers below 0 are no entries."""
        if not len(self._links.slots):
            return
        self._links.slots[: len(kept)] = self._links.slots[kept]
        for array in (self._links.older, self._links.newer):
            chained = array[kept]
            # Of entries that only others hold there are no links, but whatever stood there.
            array[: len(kept)] = np.where(chained < 0, chained, moved[np.clip(chained, 0, len(moved) - 1)])
        live = self._cells.items > 0
        self._cells.newest[live] = moved[self._cells.newest[live]]
