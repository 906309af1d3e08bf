"""What is known of each user, in Redis: copies that may be lost, written by whoever has the original.

In a cluster users lie in the slots of their own keys, on all nodes. A node may lose its part alone, so there are marks
in every part of the slots, and a mark is there only where all of its parts are.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import count, islice
from typing import NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from stream_reco.redis.connection import RedisLink

_AT_ONCE = 500
_DAY_SECONDS = 86_400
_PARTS = 64
_SLOTS_A_PART = REDIS_CLUSTER_HASH_SLOTS // _PARTS


class StoredUser(NamedTuple):
    """What Redis has of a user; `complete` is False where that may be nothing because Redis has lost it."""

    state: bytes | None
    complete: bool


class RedisUsers:
    """Bytes by user id, which leave after `ttl_days` without a new `put_many`. The last write wins.

    5 and "5" are different users. All methods raise RedisFailure where Redis is away, after the link's timeout. Each
    writer marks that all of its users were written; the marks are lost with the users, and so tell of a flush.
    """

    def __init__(self, link: RedisLink, prefix: str = "stream-reco", ttl_days: float = 90.0) -> None:
        self._link = link
        self._users = f"{prefix}:user:"
        self._marks = [f"{prefix}:users:{{{tag}}}" for tag in _tags()]
        self._ttl = max(round(ttl_days * _DAY_SECONDS), 1)

    def put_many(self, states: Mapping[int | str, bytes]) -> None:
        """Write states; where it fails, some of them may have been written, and all may be written again."""
        left = iter(states.items())
        while some := list(islice(left, _AT_ONCE)):
            self._link.call_many([("SET", self._key(user), state, "EX", self._ttl) for user, state in some])

    def get(self, user: int | str) -> StoredUser:
        """The state that was written last; None for a user of whom there is none."""
        key = self._key(user)
        state = self._link.call("GET", key)
        if state is not None:
            return StoredUser(state, True)
        return StoredUser(None, bool(self._link.call("EXISTS", self._marks[_part_of(key)])))

    def forget(self, user: int | str) -> bool:
        """Delete a user's state; tells whether there was any."""
        return bool(self._link.call("DEL", self._key(user)))

    def mark(self, writer: str) -> None:
        """Note that all users of a writer (such as a partition's number) have been written."""
        self._link.call_many([("HSET", mark, writer, 1) for mark in self._marks])

    def has_mark(self, writer: str) -> bool:
        """Whether Redis still has the writer's mark; if not, it has lost the users and they are to be written again."""
        return all(self._link.call_many([("HEXISTS", mark, writer) for mark in self._marks]))

    def _key(self, user: int | str) -> str:
        return f"{self._users}{'text' if isinstance(user, str) else 'integer'}:{user}"


def _part_of(key: str) -> int:
    """Which part of a cluster's slots a key lies in; the same, and of no importance, on a single server."""
    return key_slot(key.encode()) // _SLOTS_A_PART


@cache
def _tags() -> list[str]:
    """For each part a text that lies in it where it is a key's hash tag."""
    found: dict[int, str] = {}
    for number in count():
        found.setdefault(_part_of(str(number)), str(number))
        if len(found) == _PARTS:
            break
    return [found[part] for part in range(_PARTS)]
