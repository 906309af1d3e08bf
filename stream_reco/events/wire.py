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


def encode_one(event: Event) -> bytes:
    """The MessagePack of one event, a part of what `join_batch` puts together."""
    return _pack.encode(event)


def join_batch(parts: Sequence[bytes]) -> bytes:
    """What `encode_batch` makes of the events of which `encode_one` made the parts."""
    count = len(parts)
    if count < _SHORT_ARRAY:
        head = bytes([0x90 | count])
    elif count < 1 << 16:
        head = b"\xdc" + count.to_bytes(2, "big")
    else:
        head = b"\xdd" + count.to_bytes(4, "big")
    return head + b"".join(parts)


def decode_batch(data: bytes) -> list[Event]:
    """The inverse of `encode_batch`. Raises `msgspec.DecodeError` where the bytes are not what it wrote."""
    return _unpack.decode(data)
