"""Events as bytes: JSON for HTTP, files and Kafka, MessagePack for the local log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from stream_reco.events.schema import Event

_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder()
_unpack = msgspec.msgpack.Decoder(list[Event])


def encode(event: Event) -> bytes:
    """One JSON object; fields at their default are left out."""
    return _json.encode(event)


def encode_batch(events: Sequence[Event]) -> bytes:
    """A MessagePack array of events, exact to the bit: what the local log stores."""
    return _pack.encode(events)


def decode_batch(data: bytes) -> list[Event]:
    """The inverse of `encode_batch`. Raises `msgspec.DecodeError` where the bytes are not what it wrote."""
    return _unpack.decode(data)
