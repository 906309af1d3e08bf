"""Copies of users in Redis, written by a background thread: Redis may be unavailable, lose them, or go back in time."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import NamedTuple

from stream_reco import metrics
from stream_reco.clock import Clock, SystemClock
from stream_reco.events import Id
from stream_reco.redis.connection import RedisFailure
from stream_reco.redis.user_store import RedisUsers

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_AT_ONCE = 1000
Copy = Callable[[int], bytes]
"""The bytes of a user's state in the write of this number."""
Copies = Mapping[Id, Copy | None]
"""None: the user is forgotten."""
_CLOCK = SystemClock()


class CopySource(NamedTuple):
    """Everything that Redis should have; the thread of the copies calls it."""

    states_since: Callable[[int], Iterator[tuple[Id, Copy]]]
    """Of the users who acted on the day of this time (ms) or later."""
    deleted: Callable[[], Iterator[Id]]
    """Users of whom an older Redis may still have a copy, and must not."""


class OwedCopies(NamedTuple):
    """What Redis may lack, as the next owner of the partition must know it."""

    since: int | None = None
    """Users whose last action (ms) was before this have their copy; None: all have."""
    forgotten: tuple[Id, ...] = ()
    """Users who are still to be removed from Redis."""
    age: int = 0
    """Number of the last write: a Redis that has a lower one has lost writes."""


class _GivenUpError(Exception):
    """Not everything was written; whoever looks next, here or as the next owner, sees by the number what is missing."""


class UserCopies:
    """Writes the states it is given, and all of them again where Redis has lost any; the newest state of a user wins.

    It writes only while the last `put` is younger than a session: a process that was frozen for longer may have lost
    the partition to a worker that has written newer states.
    """

    def __init__(
        self,
        users: RedisUsers,
        writer: str,
        source: CopySource,
        owed: OwedCopies,
        session_seconds: float,
        clock: Clock = _CLOCK,
    ) -> None:
        """`writer` numbers its writes in Redis; `owed` is what an earlier run of it left."""
        self._users, self._writer, self._source, self._clock = users, writer, source, clock
        self._session_seconds = session_seconds
        self._owed: dict[Id, Copy | None] = dict.fromkeys(owed.forgotten)
        self._owed_since, self._begin = owed.since, owed.since
        self._age = owed.age
        self._held: list[int] = []
        self._put_at = time.monotonic()
        self._changed = threading.Condition()
        self._closing = self._away = False
        self._leaving: list[Id] = []
        self._thread = threading.Thread(target=self._run, name=f"copies-{writer}", daemon=True)
        self._thread.start()

    def put(self, copies: Copies, since: int | None) -> None:
        """Write these soon; `since` (ms) is the oldest last action among them. It says that the partition is ours."""
        with self._changed:
            self._put_at = time.monotonic()
            self._owed.update(copies)
            self._owed_since = _least(self._owed_since, since)
            self._changed.notify_all()

    @property
    def owed(self) -> OwedCopies:
        """What is not written yet."""
        with self._changed:
            queued = (user for user, copy in self._owed.items() if copy is None)
            return OwedCopies(self._owed_since, (*self._leaving, *queued), self._age)

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
                self._leaving = [user for user, copy in owed.items() if copy is None]
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

    def _write_all(self, owed: Copies, closing: bool) -> None:
        self._held = self._users.ages(self._writer)
        if not closing:
            self._restore()
        if self._is_complete():
            self._write(iter(owed.items()))
        else:
            # The number stays: it tells the next owner that more is missing.
            self._users.put_many(_encoded(owed, self._next_number()))
        with self._changed:
            self._leaving = []
            if not self._owed and self._begin is None:
                self._owed_since = None

    def _is_complete(self) -> bool:
        """Whether Redis has all that was written, as far as `_held` shows."""
        return min(self._held) > 0 and min(self._held) >= self._age

    def _restore(self) -> None:
        """Write all users where Redis has lost any, else those that an earlier run owed."""
        if self._is_complete():
            if self._begin is not None:
                self._write_until_closing(self._source.states_since(self._begin))
        else:
            self._report_loss()
            self._held = self._users.begin_all(self._writer, self._next_number())
            gone = ((user, None) for user in self._source.deleted())
            self._write_until_closing(chain(gone, self._source.states_since(0)))
            self._put({}, all_written=True)
        self._begin = None

    def _report_loss(self) -> None:
        least = min(self._held)
        if least < 0:
            return  # it was reported when all users began to be written
        metrics.USER_COPIES_LOST.labels("older" if least else "missing").inc()
        if least:
            _LOGGER.warning(
                "Redis has the users of partition %s as they were %.0f s before the last write: a snapshot was"
                " restored, or a replica that lagged behind took over; they are written again",
                self._writer,
                (self._age - least) / 1000,
            )
        else:
            _LOGGER.info("Redis does not have the users of partition %s: they are written", self._writer)

    def _owe(self, owed: Copies) -> None:
        with self._changed:
            self._owed = {**owed, **self._owed}
            if not self._closing:
                self._changed.wait(_LOOK_SECONDS)

    def _write_until_closing(self, copies: Iterator[tuple[Id, Copy | None]]) -> None:
        """Raises _GivenUpError where this is closing, or was frozen."""
        while some := dict(islice(copies, _AT_ONCE)):
            if self._closing or self._was_frozen():
                raise _GivenUpError
            self._put(some, all_written=self._held[0] > 0)

    def _write(self, copies: Iterator[tuple[Id, Copy | None]]) -> None:
        while some := dict(islice(copies, _AT_ONCE)):
            self._put(some, all_written=True)

    def _put(self, copies: Copies, *, all_written: bool) -> None:
        """Write them with the next number. Raises _GivenUpError where Redis has lost an earlier write."""
        number = self._next_number()
        signed = number if all_written else -number
        if not self._users.put_numbered(_encoded(copies, number), self._writer, self._held, signed):
            raise _GivenUpError
        self._held = [signed] * len(self._held)
        if all_written:
            with self._changed:
                self._age = number
        metrics.USER_COPIES.inc(sum(copy is not None for copy in copies.values()))

    def _next_number(self) -> int:
        """Above all before it, whoever wrote them: by the clock, unless that was set back."""
        return max(self._clock.now_ms(), self._age + 1, max(map(abs, self._held)) + 1)

    def _was_frozen(self) -> bool:
        return time.monotonic() - self._put_at >= self._session_seconds

    def _log_outage(self, *, away: bool, error: Exception | None = None) -> None:
        if away != self._away:
            self._away = away
            if away:
                _LOGGER.warning("copies of users wait: %s", error)
            else:
                _LOGGER.info("copies of users go on")


def _encoded(copies: Copies, number: int) -> dict[Id, bytes | None]:
    return {user: None if copy is None else copy(number) for user, copy in copies.items()}


def _least(one: int | None, other: int | None) -> int | None:
    return min((time for time in (one, other) if time is not None), default=None)
