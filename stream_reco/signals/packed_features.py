"""The features of all items, packed: a dictionary takes seven hundred bytes where its content takes a hundred."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

import msgspec

Features = dict[str, Any]
NOTHING = msgspec.msgpack.encode(None)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Features)


class PackedFeatures(Sequence[Features | None]):
    """What is stated of each item, by slot; None where nothing ever was. What is read is a copy."""

    def __init__(self) -> None:
        self._packed: list[bytes | None] = []

    def __len__(self) -> int:
        return len(self._packed)

    @overload
    def __getitem__(self, slot: int) -> Features | None: ...
    @overload
    def __getitem__(self, slot: slice) -> list[Features | None]: ...
    def __getitem__(self, slot: int | slice) -> Features | list[Features | None] | None:
        if isinstance(slot, slice):
            return [self[one] for one in range(*slot.indices(len(self)))]
        packed = self._packed[slot]
        return None if packed is None else _DECODER.decode(packed)

    def extend(self, slots: int) -> None:
        """Add so many slots of which nothing is stated."""
        self._packed += [None] * slots

    def put(self, slot: int, features: Features | None) -> bool:
        """Keep the features of an item; returns whether they differ in anything from what was kept."""
        packed = None if features is None else _ENCODER.encode(features)
        if packed == self._packed[slot]:
            return False
        self._packed[slot] = packed
        return True

    def raw(self, slot: int) -> bytes:
        """The features as MessagePack has them, null where there are none."""
        return self._packed[slot] or NOTHING

    def put_raw(self, slot: int, packed: bytes) -> None:
        """Keep what `raw` of another gave."""
        self._packed[slot] = None if packed == NOTHING else packed

    def put_all(self, packed: Iterable[bytes]) -> None:
        """Keep what `raw` of another gave of all slots, in their order; nothing was kept before."""
        self._packed = [None if one == NOTHING else one for one in packed]

    def share(self, slot: int, other: PackedFeatures) -> None:
        """Keep the very object that another has in the same slot."""
        self._packed[slot] = other._packed[slot]

    def column(self, name: str) -> Iterator[Any]:
        """One feature of each slot, None where there is none: nothing else of the features is unpacked."""
        try:
            only = msgspec.defstruct("Only", [("value", Any, None)], rename={"value": name})
        except ValueError:  # a name with quotes or the like
            return (None if features is None else features.get(name) for features in self)
        decode: Callable[[bytes], Any] = msgspec.msgpack.Decoder(only).decode
        return (None if packed is None else decode(packed).value for packed in self._packed)
