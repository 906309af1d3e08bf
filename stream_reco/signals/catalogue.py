"""Which items there are: their ids, their dense slots, what the shop says of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id, key_of
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.feature_columns import FeatureColumns
from stream_reco.signals.growing import Parts, capacity_for, grown
from stream_reco.signals.item_rows import ItemRows, item_rows
from stream_reco.signals.item_updates import Statement, StatementTimes
from stream_reco.signals.packed_features import NOTHING, PackedFeatures
from stream_reco.signals.slot_index import SlotIndex

_CONTENT = "content."
"""Before the names of what items say, in a checkpoint and in a snapshot for other processes."""


class Catalogue:
    """Gives every live item a slot: a small dense number under which all arrays of the signals keep it.

    A replica mirrors the trainer's slots, so that a slot means the same item on both sides. A freed slot rests until
    `rested`, so that a reader that still holds its number finds it free, not another item in it; then it is reused,
    the most recently freed first.
    """

    def __init__(
        self, fields: FeatureFields | None = None, *, beside: Catalogue | None = None, lists_items: bool = True
    ) -> None:
        """`fields`: what is known of the items' features. `lists_items`: whether `content` is asked who says what.

        `beside`: the one that this one mirrors, if it is in this process: what both have is held once. Both are changed
        by the same thread then, this one while nobody reads it.
        """
        self.ids: list[Id | None] = []
        self.features = PackedFeatures()
        self.keys = np.zeros(1024, dtype=np.int64)
        """int64[capacity]: the item's key in the embedding table."""
        self.available = np.zeros(1024, dtype=np.bool_)
        """bool[capacity]: may be recommended; False for free slots."""
        self.live = np.zeros(1024, dtype=np.bool_)
        """bool[capacity]: there is an item in the slot."""
        self.unavailable = 0
        """Live items that may not be recommended."""
        self.columns = FeatureColumns(self.features)
        """The features as filters read them."""
        self.content: ItemContent = ItemContent(
            self.features,
            FeatureFields("item") if fields is None else fields,
            store=None if beside is None else beside.content.store,
            lists_items=lists_items,
        )
        """The features as models read them."""
        self._beside = beside
        self._times = StatementTimes(1024)
        self._index = SlotIndex()
        self._colliding: dict[Id, int] = {}
        """Slots of items whose key another item had before: an integer may be the hash of a text."""
        self._count = 0
        self._free: list[int] = []
        self._resting: list[int] = []

    def __len__(self) -> int:
        """Live items."""
        return self._count

    @property
    def size(self) -> int:
        """Slots in use or free: one more than the highest slot ever given."""
        return len(self.ids)

    @property
    def described(self) -> NDArray[np.int64]:
        """int64[capacity], ms: time of the newest description, 0 where there is none."""
        return self._times.described

    def slot_of(self, item_id: Id) -> int:
        """The item's slot, −1 if it has none."""
        try:
            slot = self._index.find(self.keys, key_of(item_id, "item"))
        except UnicodeEncodeError:  # no text that an item could be named by
            return -1
        return slot if slot < 0 or self.ids[slot] == item_id else self._colliding.get(item_id, -1)

    def slots_of_keys(self, keys: Iterable[int] | NDArray[np.int64]) -> NDArray[np.int32]:
        """int32[n]: the slots of embedding keys int64[n], −1 where there is none."""
        asked = keys if isinstance(keys, np.ndarray) else np.fromiter(keys, dtype=np.int64)
        return self._index.find_all(self.keys, asked)

    def admit(self, item_id: Id) -> int:
        """The item's slot, a new one if it has none; a new item is available."""
        slot = self.slot_of(item_id)
        if slot >= 0:
            return slot
        slot = self._free.pop() if self._free else self.size
        self._place(slot, item_id, NOTHING)
        return slot

    def describe(self, slot: int, said: Statement) -> None:
        """Take over what the shop said of an item, but for what it has said something newer of."""
        features, available = self._times.merge(slot, self.features[slot], bool(self.available[slot]), said)
        if self.features.put(slot, features):
            self.columns.set(slot, features)
            self.content.set(slot, features)
        self.content.vectors.merge(slot, said)
        self._let(slot, available)

    def turn_back(self, time: int) -> NDArray[np.bool_]:
        """Take descriptions later than `time` (ms) as of that time; bool[size]: the slots that have any."""
        self.content.vectors.turn_back(time)
        return self._times.turn_back(time)[: self.size]

    def release(self, slots: Iterable[int]) -> None:
        """Free slots; the items are unknown from now on."""
        for slot in slots:
            self._remove(int(slot))
            self._resting.append(int(slot))

    def rested(self) -> None:
        """Let the slots be reused that were freed so far."""
        self._free += self._resting
        self._resting = []

    def _extend(self, size: int) -> None:
        missing = size - self.size
        self.ids += [None] * missing
        self.features.extend(missing)
        if size > len(self.keys):
            capacity = capacity_for(size, len(self.keys))
            self.keys = grown(self.keys, capacity, 0)
            self._times.grow(capacity)
            self.available = grown(self.available, capacity, 0)
            self.live = grown(self.live, capacity, 0)

    def _place(self, slot: int, item_id: Id, packed: bytes) -> None:
        """Have an item in a slot, available, with `packed` features as another catalogue learned to read them."""
        self._extend(slot + 1)
        key = key_of(item_id, "item")
        if not self._share(slot, item_id, packed):
            self.ids[slot] = item_id
            self.features.put_raw(slot, packed)
            features = self.features[slot]
            self.columns.set(slot, features)
            self.content.set(slot, features, learn=False)
        self.keys[slot] = key
        self.available[slot] = self.live[slot] = True
        self._count += 1
        if self._index.find(self.keys, key) < 0:
            self._index.put(self.keys, slot)
        else:
            self._colliding[item_id] = slot

    def _share(self, slot: int, item_id: Id, packed: bytes) -> bool:
        """Hold what the catalogue beside this one has in a slot; False where it has not the same there."""
        other = self._beside
        if other is None or slot >= other.size or other.ids[slot] != item_id or other.features.raw(slot) != packed:
            return False
        self.ids[slot] = other.ids[slot]
        self.features.share(slot, other.features)
        if not self.columns.is_idle:
            self.columns.set(slot, self.features[slot])
        if not self.content.take_over(slot, other.content):
            self.content.set(slot, self.features[slot], learn=False)
        return True

    def _remove(self, slot: int) -> None:
        item_id = self.ids[slot]
        if item_id is None:
            return
        self._count -= 1
        if self._colliding.pop(item_id, None) is None:
            self._index.remove(self.keys, slot)
            self._take_over(int(self.keys[slot]))
        self.ids[slot] = None
        self.features.put(slot, None)
        self.columns.set(slot, None)
        self.content.set(slot, None)
        self.content.vectors.forget(slot)
        self.keys[slot] = 0
        self._times.forget(slot)
        self._let(slot, True)
        self.available[slot] = False
        self.live[slot] = False

    def _take_over(self, key: int) -> None:
        """Let another item that has the same key be found by it."""
        for item_id, slot in self._colliding.items():
            if self.keys[slot] == key:
                del self._colliding[item_id]
                self._index.put(self.keys, slot)
                return

    def _let(self, slot: int, available: bool) -> None:
        """Whether the item in a slot may be recommended."""
        self.unavailable += int(self.available[slot]) - int(available)
        self.available[slot] = available

    def rows(self, slots: NDArray[np.int32], *, drained: bool = False) -> Parts:
        """What a replica needs to mirror the given slots; a free slot travels as a null id.

        `drained`: without the vectors of earlier such calls.
        """
        return {
            "slots": slots,
            "available": self.available[slots],
            "described": self.described[slots],
            **item_rows(self.ids, self.features, slots),
        } | self.content.vectors.parts(slots, only_changed=drained)

    def apply(self, parts: Parts) -> None:
        """Mirror the rows of another catalogue.

        Items that moved to other slots between two versions are taken out of their old slots before any is placed.
        """
        if self._take_whole(parts):
            return
        rows, slots = ItemRows(parts), parts["slots"].tolist()
        self._extend(max(slots, default=-1) + 1)
        self.content.vectors.apply_names(parts)
        # Nearly always it is the counts that changed, not what the shop says.
        changed = np.array(
            [
                place
                for place, (slot, item_id) in enumerate(zip(slots, rows.ids, strict=True))
                if item_id != self.ids[slot] or rows.packed(place) != self.features.raw(slot)
            ],
            dtype=np.int64,
        )
        for place in changed.tolist():
            if rows.ids[place] != self.ids[slots[place]]:
                self._remove(slots[place])
        # Items that say the same stand in the order in which they came.
        for place in changed[np.argsort(parts["described"][changed], kind="stable")].tolist():
            item_id = rows.ids[place]
            if item_id is not None:
                self._place(slots[place], item_id, rows.packed(place))
        for slot, item_id, available in zip(slots, rows.ids, parts["available"].tolist(), strict=True):
            if item_id is not None:
                self._let(slot, available)
        self.described[parts["slots"]] = parts["described"]
        self.content.vectors.apply(parts)

    def _take_whole(self, parts: Parts) -> bool:
        """Take over all slots at once, with what the content says; False where `parts` do not allow it."""
        said = {name.removeprefix(_CONTENT): array for name, array in parts.items() if name.startswith(_CONTENT)}
        if self.size or self._beside is not None or not self.content.is_as_read(said):
            return False
        rows, size = ItemRows(parts), len(parts["slots"])
        if not np.array_equal(parts["slots"], np.arange(size)):
            return False
        self._extend(size)
        self.content.vectors.apply_names(parts)
        self.ids = rows.ids
        self.features.put_all(rows.packed(place) for place in range(size))
        self.keys[:size] = [0 if one is None else key_of(one, "item") for one in rows.ids]
        self.live[:size] = live = np.array([one is not None for one in rows.ids], dtype=np.bool_)
        self.available[:size] = parts["available"] & live
        self._count = int(live.sum())
        self.unavailable = self._count - int(self.available.sum())
        self.described[:size] = parts["described"]
        # Items that say the same stand in the order in which they came, as in `apply`.
        order = np.argsort(parts["described"], kind="stable")
        left = self._index.put_all(self.keys, order[live[order]].astype(np.int32)).tolist()
        self._colliding = {item_id: slot for slot in left if (item_id := self.ids[slot]) is not None}
        self.content.restore(said, order)
        self.content.vectors.apply(parts)
        return True

    def snapshot(self, *, as_read: bool) -> Parts:
        """`rows` of all slots; `as_read`: with what their content says, which takes a reader a minute a million."""
        rows = self.rows(np.arange(self.size, dtype=np.int32))
        if as_read:
            rows |= {f"{_CONTENT}{name}": array for name, array in self.content.state(self.size).items()}
        return rows

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        return {
            **self.snapshot(as_read=True),
            **self._times.state(self.size),
            **self.content.vectors.state(self.size),
            "free": np.array(self._free, dtype=np.int64),
            "resting": np.array(self._resting, dtype=np.int64),
        }

    @classmethod
    def from_state(cls, parts: Parts, fields: FeatureFields | None = None, *, lists_items: bool = True) -> Catalogue:
        """The catalogue that `state` was taken from, with the `fields` of its content as they were."""
        catalogue = cls(fields, lists_items=lists_items)
        catalogue.apply(parts)
        catalogue._times.restore(parts, catalogue.size)
        catalogue.content.vectors.restore(parts)
        catalogue._free = parts["free"].tolist()
        catalogue._resting = parts["resting"].tolist()
        return catalogue
