"""What an engine lets the scorers of other processes see: its publications, its users' states, its pulse."""

from __future__ import annotations

import time

from stream_reco.embedded.learning_engine import LearningEngine
from stream_reco.embedded.user_states import UserStates
from stream_reco.serve.pulse import Pulse

_FLUSH_SECONDS = 0.01
"""Between two writes of users' states while events are learned: well within the 50 ms after which one's own click is
out of one's own slates, and several events of a burst share a write."""
_REST_SECONDS = 0.05
"""How long users are written on end who wait while nothing is to be learned."""
_TELL_SECONDS = 0.5
"""Between two writes of the status, besides the figures that are shown at once."""


class Mirror:
    """Called by the threads of a service, as what it names happens."""

    def __init__(self, engine: LearningEngine, users: UserStates, pulse: Pulse) -> None:
        self._engine, self._users, self._pulse = engine, users, pulse
        self._flushed = self._told = 0.0
        self._erasures = engine.journaled.erasures

    def opened(self, events: int) -> None:
        """Before the first event is taken: all that was recovered is shown, of so many distinct events."""
        self._users.write_all()
        self._pulse.durable(events, 0)
        self._pulse.reached(self._engine.stream_time)
        self._pulse.tell(self._engine.status())
        self._pulse.opened()

    def durable(self, events: int, backlog: int) -> None:
        """So many distinct events are durable, so many of them not learned from."""
        self._pulse.durable(events, backlog)

    def learned(self, *, everything: bool) -> None:
        """An event was learned from; with `everything` all that is durable."""
        now = time.monotonic()
        if self._erasures != (erasures := self._engine.journaled.erasures):
            # A file that is changed keeps bytes of what was deleted from it, one that is written anew has none.
            self._users.write_all()
            self._erasures = erasures
        if everything or now - self._flushed >= _FLUSH_SECONDS:
            self._write_users(rest=everything)
            self._flushed = time.monotonic()
        self._pulse.reached(self._engine.stream_time)
        self._pulse.beat()
        if now - self._told >= _TELL_SECONDS:
            self._pulse.tell(self._engine.status())
            self._told = now

    def _write_users(self, *, rest: bool) -> None:
        """Write some hundreds who changed, and for a moment the `rest`, such as those who changed as a day began."""
        until, left = time.monotonic() + _REST_SECONDS, self._users.flush()
        while rest and left and time.monotonic() < until:
            before, left = left, self._users.flush()
            if left >= before:  # they cannot be written now
                return

    def failed(self, problem: str) -> None:
        """Nothing is learned any more."""
        self._pulse.tell({**self._engine.status(), "state": "failed", "problem": problem})
