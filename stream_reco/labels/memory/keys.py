"""Keys of the store: one letter for what it is, then parts whose bytes sort as their values do.

`d` time seq: impressions of one time, as they were when they were committed; `s` time seq: one of them as it is now;
`i` user item time seq: where to find it; `e` id: until when an event id is kept, and what it is of; `x` hour seq: what
goes after that hour; `u` user seq: an action without impression; `g` group: its members and responses; `y` hour group:
when to look whether a group is over; `n` kind time seq: what is settled within the lateness; `f` user request item:
features that were served, and when; `z` hour seq: which of these go after that hour; `c`: how many commits had such;
`m`: how far the stream has come.
"""

from __future__ import annotations

from stream_reco.events import Id
from stream_reco.labels.memory.groups import GroupKey
from stream_reco.storage.sortable_keys import number, of_id

META = b"m"


def of_pair(user_id: Id, item_id: Id) -> bytes:
    return b"i" + of_id(user_id) + of_id(item_id)


def of_group(key: GroupKey) -> bytes:
    return b"g" + b"".join(map(of_id, key))


def timed(kind: bytes, time: int, seq: int) -> bytes:
    return kind + number(time) + number(seq)
