"""Keys of the store: one letter for what it is, then parts whose bytes sort as their values do.

`d` time seq: impressions of one time, as they were when they were committed; `s` time seq: one of them as it is now;
`i` user item time seq: where to find it; `e` id: until when an event id is kept, and what it is of; `x` hour seq: what
goes after that hour; `u` user seq: an action without impression; `g` group: its members and responses; `y` hour group:
when to look whether a group is over; `n` kind time seq: what is settled within the lateness; `f` user request item:
features that were served, and when; `z` hour seq: which of these go after that hour; `c`: how many commits had such;
`m`: how far the stream has come.
"""

from __future__ import annotations

from struct import Struct

from stream_reco.events import Id
from stream_reco.labels.memory.groups import GroupKey

_BIAS = 1 << 63
_ONE, _TWO, _LENGTH = Struct(">Q"), Struct(">QQ"), Struct(">I")
META = b"m"


def number(value: int) -> bytes:
    """Eight bytes that sort as signed 64-bit integers do. Raises struct.error for others."""
    return _ONE.pack(value + _BIAS)


def number_at(key: bytes, at: int) -> int:
    """The inverse of `number`."""
    value: int = _ONE.unpack_from(key, at)[0]
    return value - _BIAS


def of_id(one: Id) -> bytes:
    """An id of either kind; no id's bytes begin with all of another's."""
    if isinstance(one, int):
        return b"\x01" + _ONE.pack(one + _BIAS)
    text = one.encode()
    return b"\x02" + _LENGTH.pack(len(text)) + text


def of_pair(user_id: Id, item_id: Id) -> bytes:
    return b"i" + of_id(user_id) + of_id(item_id)


def of_group(key: GroupKey) -> bytes:
    return b"g" + b"".join(map(of_id, key))


def timed(kind: bytes, time: int, seq: int) -> bytes:
    return kind + _TWO.pack(time + _BIAS, seq + _BIAS)


def end_of(prefix: bytes) -> bytes:
    """The least key behind all that begin with `prefix`."""
    return prefix[:-1] + bytes([prefix[-1] + 1]) if prefix[-1] < 255 else end_of(prefix[:-1])
