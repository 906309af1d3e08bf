"""The edge of the embedded engine: which events of a batch are accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_reco import metrics
from stream_reco.events import Event, Id
from stream_reco.serve.event_validation import count_accepted, valid_events
from stream_reco.serve.service import Rejection


class IngestDeduplicator:
    """Sorts a batch into new, repeated and bad events: an `EventDeduplicator` of ids accepted and not yet learned.

    `learned` returns whether an event with this id was learned from. Ids that were accepted are kept in the main memory
    until `release`, for until then `learned` does not know them.
    """

    def __init__(self, learned: Callable[[Id], bool], future_ms: int) -> None:
        self._learned = learned
        self._future_ms = future_ms
        self._accepted: set[Id] = set()

    def __contains__(self, event_id: Id) -> bool:
        return event_id in self._accepted or self._learned(event_id)

    def add(self, event_id: Id, until: int) -> bool:  # noqa: ARG002 - kept until learned, however long that takes
        """Keep an id until `release`; False if it is known."""
        if event_id in self:
            return False
        self._accepted.add(event_id)
        return True

    def admit(self, events: Sequence[Event], now: int) -> tuple[list[Event], int, list[Rejection]]:
        """The new events, the number of repeated ones, and the bad ones; `now` is the wall clock in ms."""
        valid, rejected = valid_events(events, now, self._future_ms)
        new = [event for event in valid if event.event_id is None or self.add(event.event_id, event.timestamp)]
        return new, len(valid) - len(new), rejected

    def count_durable(self, events: Sequence[Event], duplicates: int) -> None:
        """Count what is durable now."""
        count_accepted(events)
        metrics.EVENTS_DUPLICATE.inc(duplicates)

    def release(self, events: Sequence[Event]) -> None:
        """Drop the ids of events that were learned from, so that `learned` knows them, or could not be made durable."""
        self._accepted.difference_update(event.event_id for event in events if event.event_id is not None)
