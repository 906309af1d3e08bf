"""Parts of keys whose bytes sort in the order of their values."""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct

from stream_reco.events import Id

_BIAS = 1 << 63
_ONE, _LENGTH = Struct(">Q"), Struct(">I")
_SHORT = 64
"""Characters, of up to four bytes each."""
_SHORT_HEADS = [b"\x02" + _LENGTH.pack(length) for length in range(4 * _SHORT + 1)]
"""What stands before a text of so many bytes."""


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


def of_ids(ids: Iterable[Id]) -> list[bytes]:
    """`of_id` of each, in half of the time where they are short texts."""
    return [
        _SHORT_HEADS[len(text := one.encode())] + text if type(one) is str and len(one) <= _SHORT else of_id(one)
        for one in ids
    ]


def end_of(prefix: bytes) -> bytes:
    """The least key after all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix[-1] < 255 else end_of(prefix[:-1])
