"""States of users in Redis: copies that may be lost, written by the worker that has the original.

In a cluster users lie in the slots of their own keys, on all nodes. A single node may lose its data, so there are marks
in every range of slots, and a writer's users are all there only where all of its marks are.

A mark is a number that rises with each write. It is compared and set behind the users, in one pipeline: where a node
has lost a write, because it was emptied, restored from a snapshot, or was a replica that lagged behind, the number
there is not the one that the writer left, and the next write or look shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import count, islice
from typing import NamedTuple

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from stream_reco.redis.connection import Argument, RedisLink

_PIPELINE_USERS = 500
_DAY_SECONDS = 86_400
_RANGES = 64
_SLOTS_A_RANGE = REDIS_CLUSTER_HASH_SLOTS // _RANGES
_SET_IF_EQUAL = """
local held = redis.call('HGET', KEYS[1], ARGV[1]) or '0'
if held ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""
"""KEYS: a mark. ARGV: the writer, the number it must hold, the number to set. Returns whether it held that."""


class StoredUser(NamedTuple):
    """A user's state in Redis; `complete` is False where it may be missing because Redis has lost its data."""

    state: bytes | None
    complete: bool


class RedisUsers:
    """Bytes by user id, which expire after `ttl_days` without a new `put_many`. The last write wins.

    5 and "5" are different users. All methods raise RedisFailure where Redis is unavailable, after the link's timeout.
    Each writer numbers its writes: `ages` tells whether Redis still has all of them.
    """

    def __init__(self, link: RedisLink, prefix: str = "stream-reco", ttl_days: float = 90.0) -> None:
        self._link = link
        self._users = f"{prefix}:user:"
        self._marks = [f"{prefix}:users:{{{tag}}}" for tag in _tags()]
        self._ttl = max(round(ttl_days * _DAY_SECONDS), 1)

    @property
    def ttl_ms(self) -> int:
        """How long a copy stays after it was written, ms."""
        return self._ttl * 1000

    def put_many(self, states: Mapping[int | str, bytes | None]) -> None:
        """Write states, and delete users without one; where it fails, some may be done. Repeating it is harmless."""
        remaining = iter(states.items())
        while batch := list(islice(remaining, _PIPELINE_USERS)):
            self._link.call_many([self._command(user, state) for user, state in batch])

    def put_numbered(
        self, states: Mapping[int | str, bytes | None], writer: str, held: Sequence[int], number: int
    ) -> bool:
        """Write states, delete users without one, and set the writer's number, which is `held` now, to `number`.

        `held` is as `ages` gives it. False where Redis held another number: it has lost an earlier write, or another
        process writes; what was written stays then. Where it raises, any part may have been written.
        """
        commands = [self._command(user, state) for user, state in states.items()]
        for mark, before in zip(self._marks, held, strict=True):
            commands.append(("EVAL", _SET_IF_EQUAL, 1, mark, writer, before, number))
        return all(self._link.call_many(commands)[len(states) :])

    def ages(self, writer: str) -> list[int]:
        """The number of the writer's last write, in each range of slots.

        0: nothing is there. Below 0: the writer is writing all of its users, and some may be missing. Other than equal
        after a failed write, or where the nodes of a cluster have lost different writes. Releases before 0.3.0 left 1.
        """
        return [int(held or 0) for held in self._link.call_many([("HGET", mark, writer) for mark in self._marks])]

    def begin_all(self, writer: str, number: int) -> list[int]:
        """Note that the writer begins to write all of its users; returns what `ages` would."""
        commands: list[tuple[Argument, ...]] = [("HSET", mark, writer, -number) for mark in self._marks]
        # By this releases before 0.3.0 know that all users were written: they must write them again.
        commands += [("HDEL", mark, f"{writer} begun") for mark in self._marks]
        self._link.call_many(commands)
        return [-number] * len(self._marks)

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

    def _command(self, user: int | str, state: bytes | None) -> tuple[Argument, ...]:
        return ("DEL", self._key(user)) if state is None else ("SET", self._key(user), state, "EX", self._ttl)

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
