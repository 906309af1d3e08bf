"""Parts of keys whose bytes sort in the order of their values."""

from __future__ import annotations

from struct import Struct

from stream_reco.events import Id

_BIAS = 1 << 63
_ONE, _LENGTH = Struct(">Q"), Struct(">I")


def number(value: int) -> bytes:
    """Eight bytes that sort as signed 64-bit integers do. Raises struct.error for others."""
    return _ONE.pack(value + _BIAS)


def number_at(key: bytes, at: int) -> int:
    """The inverse of `number`."""
    value: int = _ONE.unpack_from(key, at)[0]
    return value - _BIAS


def of_id(one: Id) -> bytes:
    """The bytes of an integer or text id; none is a prefix of another's."""
    if isinstance(one, int):
        return b"\x01" + _ONE.pack(one + _BIAS)
    text = one.encode()
    return b"\x02" + _LENGTH.pack(len(text)) + text


def end_of(prefix: bytes) -> bytes:
    """The least key after all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix[-1] < 255 else end_of(prefix[:-1])
