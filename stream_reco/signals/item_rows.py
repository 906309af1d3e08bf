"""Ids and features of items as arrays, as they travel and lie in checkpoints, one behind the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.growing import Parts
from stream_reco.signals.packed_features import NOTHING, PackedFeatures

_IDS = msgspec.msgpack.Decoder(list[Id | None])
_ENTRIES = msgspec.msgpack.Decoder(list[tuple[Id | None, msgspec.Raw]])


def item_rows(ids: Sequence[Id | None], features: PackedFeatures, slots: NDArray[np.int32]) -> Parts:
    """What `ItemRows` reads: of each slot the id, null where it is free, and the packed features, no byte for none."""
    places = slots.tolist()
    packed = [b"" if (one := features.raw(slot)) == NOTHING else one for slot in places]
    return {
        "ids": np.frombuffer(msgspec.msgpack.encode([ids[slot] for slot in places]), dtype=np.uint8),
        "lengths": np.fromiter(map(len, packed), dtype=np.int32, count=len(packed)),
        "packed": np.frombuffer(b"".join(packed), dtype=np.uint8),
    }


class ItemRows:
    """Ids and packed features by place. Features are cut out when they are asked for."""

    def __init__(self, parts: Mapping[str, NDArray[Any]]) -> None:
        """Up to version 0.2.0 "entries" were pairs of an id and features."""
        self.ids: list[Id | None]
        if "ids" in parts:
            self.ids = _IDS.decode(parts["ids"].tobytes())
            lengths, self._bytes = parts["lengths"], np.ascontiguousarray(parts["packed"]).data
        else:
            entries = _ENTRIES.decode(parts["entries"].tobytes())
            self.ids = [item_id for item_id, _ in entries]
            packed = [b"" if one == NOTHING else bytes(one) for _, one in entries]
            lengths, self._bytes = np.array([len(one) for one in packed], np.int32), memoryview(b"".join(packed))
        self._ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)]).tolist()

    def packed(self, place: int) -> bytes:
        """As `PackedFeatures.raw` has them."""
        return bytes(self._bytes[self._ends[place] : self._ends[place + 1]]) or NOTHING
