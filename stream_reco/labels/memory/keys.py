"""Keys of the store: one letter for the kind of record, then parts whose bytes sort in the order of their values.

`d` time seq: impressions of one time as first committed; `s` time seq: the present state of one of them; `i` user item
time seq: an index of impressions; `e` id: until when an event id is kept, and its reference; `x` hour seq: keys that
expire after that hour; `u` user seq: an action without impression; `g` group: its members and responses; `y` hour
group: when to check whether a group is over; `n` kind time seq: an unsettled action, retraction or response, or
an entry of a late impression; `f` user request item: served features, and when; `z` hour seq: which of these expire
after that hour; `c`: the number of commits with such; `m`: the progress of the stream (`Meta`).
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
