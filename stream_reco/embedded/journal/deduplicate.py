"""The edge of the embedded engine: which events of a batch are accepted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set

from stream_reco import metrics
from stream_reco.events import Event, Id
from stream_reco.serve.event_validation import count_accepted


class IngestDeduplicator:
    """Sorts a batch into new and repeated events: an `EventDeduplicator` of ids accepted and not yet learned.

    `learned` returns those of some ids whose events were learned from. Ids that were accepted are kept in the main
    memory until `release`, for until then `learned` does not know them.
    """

    def __init__(self, learned: Callable[[Collection[Id]], Set[Id]]) -> None:
        self._learned = learned
        self._accepted: set[Id] = set()

    def __contains__(self, event_id: Id) -> bool:
        return event_id in self._accepted or bool(self._learned((event_id,)))

    def add(self, event_id: Id, until: int) -> bool:  # noqa: ARG002 - kept until learned, however long that takes
        """Keep an id until `release`; False if it is known."""
        if event_id in self:
            return False
        self._accepted.add(event_id)
        return True

    def admit(self, events: Sequence[Event]) -> tuple[list[Event], int]:
        """The new ones of valid events, and the number of repeated ones."""
        ids = {event.event_id for event in events if event.event_id is not None}
        # In this order, for what is learned meanwhile moves from the accepted ones to the learned ones.
        fresh = ids - self._accepted
        fresh -= self._learned(fresh)
        new, missing = list[Event](), set(fresh)
        for event in events:
            event_id = event.event_id
            if event_id is None:
                new.append(event)
            elif event_id in missing:
                missing.remove(event_id)  # what follows with the same id is a repetition
                new.append(event)
        self._accepted |= fresh
        return new, len(events) - len(new)

    def admit_all(self, ids: Sequence[Id]) -> bool:
        """Whether all ids are new and none is there twice; only then they are kept."""
        distinct = set(ids)
        # In this order, as in `admit`.
        if len(distinct) < len(ids) or not self._accepted.isdisjoint(distinct) or self._learned(distinct):
            return False
        self._accepted |= distinct
        return True

    def count_durable(self, kinds: Mapping[type[Event], int], duplicates: int) -> None:
        """Count what is durable now: events by type, and repeated ones."""
        count_accepted(kinds)
        metrics.EVENTS_DUPLICATE.inc(duplicates)

    def release(self, ids: Iterable[Id | None]) -> None:
        """Drop the ids of events that were learned from, so that `learned` knows them, or could not be made durable."""
        self._accepted.difference_update(ids)
