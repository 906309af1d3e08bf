"""Copies of users in Redis, written by a background thread: Redis may be unavailable, or lose them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from stream_reco import metrics
from stream_reco.events import Id
from stream_reco.redis.connection import RedisFailure
from stream_reco.redis.user_store import RedisUsers

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_AT_ONCE = 1000
States = Mapping[Id, bytes | None]
"""None: the user is forgotten."""
Since = Callable[[int], Iterator[tuple[Id, bytes]]]


class _GivenUpError(Exception):
    """Not everything was written; the next owner of the partition continues, as the mark is missing."""


class UserCopies:
    """Writes the states it is given, and all of them again where Redis has lost any; the newest state of a user wins.

    It writes only while the last `put` is younger than a session: a process that was frozen for longer may have lost
    the partition to a worker that has written newer states.
    """

    def __init__(
        self, users: RedisUsers, writer: str, states_since: Since, owed_since: int | None, session_seconds: float
    ) -> None:
        """`writer` marks in Redis that all of its users were written.

        `states_since(time)` gives those of users who acted on the day of `time` (ms) or later; the thread calls it.
        `owed_since` is such a time where an earlier run may have owed copies.
        """
        self._users, self._states_since = users, states_since
        self._writer, self._begun = writer, f"{writer} begun"
        self._session_seconds = session_seconds
        self._owed: dict[Id, bytes | None] = {}
        self._owed_since, self._begin = owed_since, owed_since
        self._put_at = time.monotonic()
        self._changed = threading.Condition()
        self._closing = self._away = False
        self._leaving: list[Id] = []
        self._thread = threading.Thread(target=self._run, name=f"copies-{writer}", daemon=True)
        self._thread.start()

    def put(self, states: States, since: int | None) -> None:
        """Write these soon; `since` (ms) is the oldest last action among them. It says that the partition is ours."""
        with self._changed:
            self._put_at = time.monotonic()
            self._owed.update(states)
            self._owed_since = _least(self._owed_since, since)
            self._changed.notify_all()

    @property
    def owed_since(self) -> int | None:
        """Users whose last action (ms) was before this have their copy; None: all have."""
        return self._owed_since

    @property
    def forgotten(self) -> list[Id]:
        """Users who are still to be removed from Redis."""
        with self._changed:
            return [*self._leaving, *(user for user, state in self._owed.items() if state is None)]

    def close(self) -> None:
        """Write what is owed if Redis is there, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._changed:
                if not self._owed and not self._closing:
                    self._changed.wait(_LOOK_SECONDS)
                closing, owed, self._owed = self._closing, self._owed, {}
                self._leaving = [user for user, state in owed.items() if state is None]
            if self._was_frozen():
                self._owe(owed)
                continue
            try:
                self._write_all(owed, closing)
                self._log_outage(away=False)
            except _GivenUpError:
                self._owe(owed)
            except RedisFailure as error:
                self._log_outage(away=True, error=error)
                self._owe(owed)

    def _write_all(self, owed: States, closing: bool) -> None:
        if self._begin is not None and not closing:
            self._rewrite(self._begin)
            self._begin = None
        if not closing and not self._is_complete():
            self._users.mark(self._begun)
            self._rewrite(0)
            self._users.mark(self._writer)
        self._write({user: state for user, state in owed.items() if state is not None})
        for user in self._leaving:
            self._users.forget(user)
        with self._changed:
            self._leaving = []
            if not self._owed and self._begin is None:
                self._owed_since = None

    def _is_complete(self) -> bool:
        """Whether Redis has lost nothing since everything was written: what is lost meanwhile takes the first mark."""
        return self._users.has_mark(self._begun) and self._users.has_mark(self._writer)

    def _owe(self, owed: States) -> None:
        with self._changed:
            self._owed = {**owed, **self._owed}
            if not self._closing:
                self._changed.wait(_LOOK_SECONDS)

    def _rewrite(self, since: int) -> None:
        """Write all users who have acted since then. Raises _GivenUpError where this is closing, or was frozen."""
        states = self._states_since(since)
        while some := dict(islice(states, _AT_ONCE)):
            if self._closing or self._was_frozen():
                raise _GivenUpError
            self._write(some)

    def _write(self, states: Mapping[Id, bytes]) -> None:
        self._users.put_many(states)
        metrics.USER_COPIES.inc(len(states))

    def _was_frozen(self) -> bool:
        return time.monotonic() - self._put_at >= self._session_seconds

    def _log_outage(self, *, away: bool, error: Exception | None = None) -> None:
        if away != self._away:
            self._away = away
            if away:
                _LOGGER.warning("copies of users wait: %s", error)
            else:
                _LOGGER.info("copies of users go on")


def _least(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)
