"""Copies of users in Redis, which may be away, or lose them: kept up by a thread that nobody waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from stream_reco import metrics
from stream_reco.events import Id
from stream_reco.sync.redis_link import RedisFailure
from stream_reco.sync.redis_users import RedisUsers

_LOGGER = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
_AT_ONCE = 1000
States = Mapping[Id, bytes | None]
"""None: the user is forgotten."""


class UserCopies:
    """Writes what it is given, and everything anew where Redis has lost it; the newest state of a user wins."""

    def __init__(
        self, users: RedisUsers, writer: str, recent: Callable[[], Iterator[tuple[Id, bytes]]],
        everything: Callable[[], Iterator[tuple[Id, bytes]]],
    ) -> None:  # fmt: skip
        """`writer` marks in Redis that all of its users were written.

        `recent` gives those whose copy an earlier run may have owed, `everything` all of them; the thread calls both.
        """
        self._users, self._writer, self._everything = users, writer, everything
        self._owed: dict[Id, bytes | None] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._away = False
        self._begin = recent
        self._thread = threading.Thread(target=self._run, name=f"copies-{writer}", daemon=True)
        self._thread.start()

    def put(self, states: States) -> None:
        """Write these soon."""
        with self._changed:
            self._owed.update(states)
            self._changed.notify_all()

    def close(self) -> None:
        """Write what is owed if Redis is there, and end."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        begun = False
        while True:
            with self._changed:
                if not self._owed and not self._closing:
                    self._changed.wait(_LOOK_SECONDS)
                closing, owed, self._owed = self._closing, self._owed, {}
            try:
                if not begun:
                    self._write(self._begin())
                    begun = True
                if not closing and not self._users.has_mark(self._writer):
                    self._write(self._everything())
                    self._users.mark(self._writer)
                self._write((user, state) for user, state in owed.items() if state is not None)
                for user in [user for user, state in owed.items() if state is None]:
                    self._users.forget(user)
                self._told(away=False)
            except RedisFailure as error:
                self._told(away=True, error=error)
                with self._changed:
                    self._owed = owed | self._owed
                    if not self._closing:
                        self._changed.wait(_LOOK_SECONDS)
            if closing:
                return

    def _write(self, states: Iterator[tuple[Id, bytes]]) -> None:
        while some := dict(islice(states, _AT_ONCE)):
            if self._closing and len(some) == _AT_ONCE:
                return  # an end does not wait for a whole partition; what is left is written by whoever has it next
            self._users.put_many(some)
            metrics.USER_COPIES.inc(len(some))

    def _told(self, *, away: bool, error: Exception | None = None) -> None:
        if away != self._away:
            self._away = away
            if away:
                _LOGGER.warning("copies of users wait: %s", error)
            else:
                _LOGGER.info("copies of users go on")
