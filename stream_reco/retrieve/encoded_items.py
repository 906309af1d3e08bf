"""Vectors of a replica's items by what is said of them: encoded here, so that a new item waits for no trainer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.encoder.encoding import encode, spelled
from stream_reco.model.encoder.item_codes import ItemCodes
from stream_reco.model.lookup import Lookup
from stream_reco.signals.content.items import ItemContent
from stream_reco.signals.growing import capacity_for, grown

_AT_ONCE = 4096
"""Items that are encoded together: their rows fit the cache."""
_MOST = 20_000
"""Changed items that are encoded with one publication, a tenth of a second's work; the others with the next ones."""
_FEWEST, _SHARE = 1000, 1 / 1024
"""After each publication so many items, or this share of all, are encoded anew in turn: rows move with each, a little,
and to encode a million items takes seconds. Requests wait for it: a thousand take some five milliseconds."""


class EncodedItems:
    """Follows a replica: what it has encoded is at most 1,024 publications old, and of a changed item that of now.

    After a snapshot of a large catalogue, or an import, items wait for their turn, 20,000 a publication.
    """

    def __init__(self, dim: int) -> None:
        """`dim`: numbers of a vector; 0: no item has one."""
        self._dim = dim
        self.codes = ItemCodes(dim)
        self._next, self._waiting = 0, np.zeros(0, dtype=np.bool_)

    def clear(self) -> None:
        """A snapshot follows: there is no item any more."""
        self.codes, self._next, self._waiting = ItemCodes(self._dim), 0, np.zeros(0, dtype=np.bool_)

    def follow(self, content: ItemContent, size: int, changed: NDArray[np.int32], table: Lookup | None) -> None:
        """A publication was applied: encode the `changed` slots int32[n] and some of all `size` in turn."""
        if not self._dim or table is None or not content.says_anything:
            return
        if size > len(self._waiting):
            self._waiting = grown(self._waiting, capacity_for(size, len(self._waiting)), 0)
        self._waiting[changed] = True
        changed = np.flatnonzero(self._waiting)[:_MOST].astype(np.int32)
        self._waiting[changed] = False
        some = min(size, max(_FEWEST, int(size * _SHARE)))
        turn = (self._next + np.arange(some)) % max(size, 1)
        self._next = int(turn[-1] + 1) if some else 0
        slots = np.union1d(changed, turn).astype(np.int32)
        for first in range(0, len(slots), _AT_ONCE):
            these = slots[first : first + _AT_ONCE]
            self.codes.put(these, encode(spelled(content.lasting(these)), table, self._dim))

    def has(self, slot: int) -> bool:
        """Whether an item has a vector."""
        return slot < len(self.codes.codes) and bool(self.codes.codes[slot].any())

    def near(self, medoids: NDArray[np.int32], among: NDArray[np.int32], count: int) -> NDArray[np.int32]:
        """At most `count` of the slots `among` int32[n], those first that are most like `medoids` int32[m], slots too.

        The medoids take turns, each with those that are most like it.
        """
        if not len(medoids) or not len(among) or not count:
            return np.empty(0, dtype=np.int32)
        cosines = self.codes.nearest(self.codes.of(medoids), among)
        share = min(-(-count // len(medoids)), len(among))
        best = np.argsort(-cosines, axis=1, kind="stable")[:, :share]
        alike = np.take_along_axis(cosines, best, axis=1) > 0.0
        found: dict[int, None] = dict.fromkeys(among[best.T[alike.T]].tolist())
        return np.array(list(found)[:count], dtype=np.int32)
