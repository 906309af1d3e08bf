"""Keys of the store: one letter for the kind of record, then parts whose bytes sort in the order of their values.

`d` time seq: impressions of one time as first committed; `s` time seq: the present state of one of them; `i` user item
time seq: an index of impressions; `h` digest of an event id: until when it is kept, and its reference; `x` hour seq:
keys that expire after that hour; `v` digest of a user, seq: an action without impression; `g` group: its members and
responses; `y` hour
group: when to check whether a group is over; `n` kind time seq: an unsettled action, retraction or response, or
an entry of a late impression; `f` user request item: served features, and when; `z` hour seq: which of these expire
after that hour; `c`: the number of commits with such; `m`: the progress of the stream (`Meta`).

Stores of earlier releases have `e` id and `u` user seq in place of `h` and `v`, until the first user is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable

from xxhash import xxh3_128_digest

from stream_reco.events import Id
from stream_reco.labels.memory.groups import GroupKey
from stream_reco.storage.sortable_keys import number, of_id, of_ids

META = b"m"


def of_pair(user_id: Id, item_id: Id) -> bytes:
    return b"i" + of_id(user_id) + of_id(item_id)


def of_group(key: GroupKey) -> bytes:
    return b"g" + b"".join(map(of_id, key))


def digest_of(one: Id) -> bytes:
    """16 bytes that stand for an id, by which it can be recognised but not read."""
    return xxh3_128_digest(of_id(one))


def of_event(event_id: Id) -> bytes:
    return b"h" + digest_of(event_id)


def of_events(event_ids: Iterable[Id]) -> list[bytes]:
    """`of_event` of each."""
    return [b"h" + xxh3_128_digest(one) for one in of_ids(event_ids)]


def of_unprompted(user_id: Id, seq: int) -> bytes:
    return b"v" + digest_of(user_id) + number(seq)


def with_digest(key: bytes) -> bytes:
    """The present key of what an earlier release kept under `e` or `u`; any other key as it is."""
    if key.startswith(b"e"):
        return b"h" + xxh3_128_digest(key[1:])
    if key.startswith(b"u"):
        return b"v" + xxh3_128_digest(key[1:-8]) + key[-8:]
    return key


def timed(kind: bytes, time: int, seq: int) -> bytes:
    return kind + number(time) + number(seq)
