"""Events as the local log keeps them: packed where they were decoded, while they are in that processor's cache.

What comes later, on another thread, needs the ids and the bytes alone, and no event is looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self, overload

import msgspec

from stream_reco.events.schema import KINDS, Event, Id
from stream_reco.events.wire import decode_batch, encode_elements, join_batch

MOST_EVENTS = 128
"""Events of one part, and of one record of the log; a learner that is stopped finishes its present record first."""

MOST_BYTES = 1 << 20
"""Of one part or record that has more than one event: to decode it holds up all other threads of the process."""


class PackedPart(NamedTuple):
    """Some events in MessagePack, one after the other."""

    events: int
    packed: bytes


_NAMES = {kind: name for name, kind in KINDS.items()}


class _OnWire(msgspec.Struct, frozen=True, array_like=True):
    parts: list[PackedPart]
    ids: list[Id]
    kinds: dict[str, int]


_DECODER = msgspec.msgpack.Decoder(_OnWire)


class PackedEvents(Sequence[Event]):
    """Events in their order; those that are read from it are unpacked for that."""

    def __init__(self, events: Sequence[Event] = ()) -> None:
        self.parts: list[PackedPart] = []
        self.ids: list[Id] = []
        """The ids of the events that have one."""
        self.kinds: Counter[type[Event]] = Counter()
        """How many there are of each type."""
        self._count = 0
        if events:
            self.extend(events)

    def extend(self, events: Sequence[Event]) -> None:
        """Add events at the end."""
        for start in range(0, len(events), MOST_EVENTS):
            self._pack(events[start : start + MOST_EVENTS])
        self.ids += [event.event_id for event in events if event.event_id is not None]
        self.kinds.update(map(type, events))
        self._count += len(events)

    def _pack(self, events: Sequence[Event]) -> None:
        packed = encode_elements(events)
        if len(packed) > MOST_BYTES and (half := len(events) // 2):
            self._pack(events[:half])
            self._pack(events[half:])
        else:
            self.parts.append(PackedPart(len(events), packed))

    def to_bytes(self) -> bytes:
        """For another process of this release."""
        kinds = {_NAMES[kind]: count for kind, count in self.kinds.items()}
        return msgspec.msgpack.encode(_OnWire(self.parts, self.ids, kinds))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` gave. Raises msgspec.MsgspecError for anything else."""
        wire, made = _DECODER.decode(data), cls()
        made.parts, made.ids = wire.parts, wire.ids
        made.kinds = Counter({KINDS[name]: count for name, count in wire.kinds.items()})
        made._count = sum(part.events for part in wire.parts)
        return made

    def unpacked(self) -> list[Event]:
        """All of them."""
        return [event for count, packed in self.parts for event in decode_batch(join_batch(count, [packed]))]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Event]:
        return iter(self.unpacked())

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | Sequence[Event]:
        return self.unpacked()[index]


EventBatch = list[Event] | PackedEvents
"""The events of one submission, in the form that those who take them want."""
