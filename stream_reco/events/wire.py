"""Events as bytes: JSON for HTTP, files and Kafka, MessagePack for the local log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_reco.events.schema import Event

_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder()
_SHORT_ARRAY = 16
"""Arrays of fewer elements have their length in the first byte (MessagePack's fixarray)."""
_unpack = msgspec.msgpack.Decoder(list[Event])


def encode(event: Event) -> bytes:
    """One JSON object; fields at their default are left out."""
    return _json.encode(event)


def encode_batch(events: Sequence[Event]) -> bytes:
    """A MessagePack array of events, exact to the bit: what the local log stores."""
    return _pack.encode(events)


def encode_elements(events: Sequence[Event]) -> bytes:
    """What follows the head in `encode_batch`: a part of what `join_batch` puts together."""
    return _pack.encode(events[0]) if len(events) == 1 else _pack.encode(events)[len(_head(len(events))) :]


def join_batch(count: int, parts: Sequence[bytes]) -> bytes:
    """What `encode_batch` makes of `count` events of which `encode_elements` made the parts."""
    return _head(count) + b"".join(parts)


def _head(count: int) -> bytes:
    """How MessagePack begins an array of so many elements."""
    if count < _SHORT_ARRAY:
        return bytes([0x90 | count])
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def decode_batch(data: bytes) -> list[Event]:
    """The inverse of `encode_batch`. Raises `msgspec.DecodeError` where the bytes are not what it wrote."""
    return _unpack.decode(data)
