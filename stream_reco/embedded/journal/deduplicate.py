"""The edge of the embedded engine: which events of a batch enter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from stream_reco import metrics
from stream_reco.events import Event, Id
from stream_reco.serve.event_validation import count_accepted, valid_events
from stream_reco.serve.service import Rejection


class Entrance:
    """Sorts events into new, known and bad ones.

    `learned` tells whether an event with this id was learned from; ids that were admitted and not yet learned are
    remembered here until `learned_all`.
    """

    def __init__(self, learned: Callable[[Id], bool], future_ms: int) -> None:
        self._learned = learned
        self._future_ms = future_ms
        self._entered: set[Id] = set()

    def admit(self, events: Sequence[Event], now: int) -> tuple[list[Event], int, list[Rejection]]:
        """The new events, the number of repeated ones, and the bad ones; `now` is the wall clock in ms."""
        good, rejected = valid_events(events, now, self._future_ms)
        new: list[Event] = []
        duplicates = 0
        for event in good:
            if event.event_id is not None:
                if event.event_id in self._entered or self._learned(event.event_id):
                    duplicates += 1
                    continue
                self._entered.add(event.event_id)
            new.append(event)
        return new, duplicates, rejected

    def took(self, events: Sequence[Event], duplicates: int) -> None:
        """Count what is durable now."""
        count_accepted(events)
        metrics.EVENTS_DUPLICATE.inc(duplicates)

    def learned_all(self, events: Sequence[Event]) -> None:
        """The events were learned from, or could not be made durable: `learned` answers for their ids from now on."""
        self._entered.difference_update(event.event_id for event in events if event.event_id is not None)
