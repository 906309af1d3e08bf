"""The edge of the embedded engine: which events of a batch are accepted."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_reco import metrics
from stream_reco.events import Event, Id
from stream_reco.serve.event_validation import count_accepted


class IngestDeduplicator:
    """Sorts a batch into new and repeated events: an `EventDeduplicator` of ids accepted and not yet learned.

    `learned` returns whether an event with this id was learned from. Ids that were accepted are kept in the main memory
    until `release`, for until then `learned` does not know them.
    """

    def __init__(self, learned: Callable[[Id], bool]) -> None:
        self._learned = learned
        self._accepted: set[Id] = set()

    def __contains__(self, event_id: Id) -> bool:
        return event_id in self._accepted or self._learned(event_id)

    def add(self, event_id: Id, until: int) -> bool:  # noqa: ARG002 - kept until learned, however long that takes
        """Keep an id until `release`; False if it is known."""
        if event_id in self:
            return False
        self._accepted.add(event_id)
        return True

    def admit(self, events: Sequence[Event]) -> tuple[list[Event], int]:
        """The new ones of valid events, and the number of repeated ones."""
        new: list[Event] = []
        try:
            # Until it fails, if it does, this extends the list one by one.
            new.extend(event for event in events if event.event_id is None or self.add(event.event_id, event.timestamp))
        except BaseException:
            self.release(new)
            raise
        return new, len(events) - len(new)

    def count_durable(self, events: Sequence[Event], duplicates: int) -> None:
        """Count what is durable now."""
        count_accepted(events)
        metrics.EVENTS_DUPLICATE.inc(duplicates)

    def release(self, events: Sequence[Event]) -> None:
        """Drop the ids of events that were learned from, so that `learned` knows them, or could not be made durable."""
        self._accepted.difference_update(event.event_id for event in events if event.event_id is not None)
