"""States of users in Redis: copies that may be lost, written by the worker that has the original.

In a cluster users lie in the slots of their own keys, on all nodes. A single node may lose its data, so there are marks
in every range of slots, and a writer counts as marked only where all of them are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import count, islice
from typing import NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from stream_reco.redis.connection import RedisLink

_PIPELINE_USERS = 500
_DAY_SECONDS = 86_400
_RANGES = 64
_SLOTS_A_RANGE = REDIS_CLUSTER_HASH_SLOTS // _RANGES


class StoredUser(NamedTuple):
    """A user's state in Redis; `complete` is False where it may be missing because Redis has lost its data."""

    state: bytes | None
    complete: bool


class RedisUsers:
    """Bytes by user id, which expire after `ttl_days` without a new `put_many`. The last write wins.

    5 and "5" are different users. All methods raise RedisFailure where Redis is unavailable, after the link's timeout.
    Each writer marks that all of its users were written; a flush deletes the marks with the users, and so is noticed.
    """

    def __init__(self, link: RedisLink, prefix: str = "stream-reco", ttl_days: float = 90.0) -> None:
        self._link = link
        self._users = f"{prefix}:user:"
        self._marks = [f"{prefix}:users:{{{tag}}}" for tag in _tags()]
        self._ttl = max(round(ttl_days * _DAY_SECONDS), 1)

    def put_many(self, states: Mapping[int | str, bytes]) -> None:
        """Write states; where it fails, some may have been written. Repeating it is harmless."""
        remaining = iter(states.items())
        while batch := list(islice(remaining, _PIPELINE_USERS)):
            self._link.call_many([("SET", self._key(user), state, "EX", self._ttl) for user, state in batch])

    def get(self, user: int | str) -> StoredUser:
        """The state that was written last, None where there is none."""
        key = self._key(user)
        state = self._link.call("GET", key)
        if state is not None:
            return StoredUser(state, True)
        return StoredUser(None, bool(self._link.call("EXISTS", self._marks[_range_of(key)])))

    def forget(self, user: int | str) -> bool:
        """Delete a user's state; returns whether there was one."""
        return bool(self._link.call("DEL", self._key(user)))

    def mark(self, writer: str) -> None:
        """Note that all users of `writer` (a partition's number, say) have been written."""
        self._link.call_many([("HSET", mark, writer, 1) for mark in self._marks])

    def has_mark(self, writer: str) -> bool:
        """Whether Redis still has the writer's mark; if not, it has lost users, and all must be written again."""
        return all(self._link.call_many([("HEXISTS", mark, writer) for mark in self._marks]))

    def _key(self, user: int | str) -> str:
        return f"{self._users}{'text' if isinstance(user, str) else 'integer'}:{user}"


def _range_of(key: str) -> int:
    """The range of a cluster's slots that a key lies in; of no importance on a single server."""
    return key_slot(key.encode()) // _SLOTS_A_RANGE


@cache
def _tags() -> list[str]:
    """For each range of slots a hash tag that lies in it."""
    found: dict[int, str] = {}
    for number in count():
        found.setdefault(_range_of(str(number)), str(number))
        if len(found) == _RANGES:
            break
    return [found[number] for number in range(_RANGES)]
