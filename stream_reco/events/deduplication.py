"""Has an event with this id come before? The protocol of all that answer it, wherever they keep the ids."""

from __future__ import annotations

from typing import Protocol

from stream_reco.events.schema import Id


class EventDeduplicator(Protocol):
    """A set of event ids; 5 and "5" are different ids."""

    def __contains__(self, event_id: Id, /) -> bool:
        """Whether the id was added and is still kept; never changes anything."""
        ...

    def add(self, event_id: Id, until: int) -> bool:
        """Keep an id at least until stream time has passed `until` (ms). Returns False, changing nothing, if known."""
        ...


class ExpiringEventDeduplicator(EventDeduplicator, Protocol):
    """Forgets ids by stream time, in steps of some hours, so that repeated calls cost nothing."""

    def expire(self, watermark: int) -> None:
        """Forget ids whose time passed in an earlier step than that of `watermark` (ms), which may not go back.

        An earlier watermark changes nothing.
        """
        ...
