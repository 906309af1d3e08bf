"""The ids of events that came, in the main memory, each for as long as its repetition could do harm."""

from __future__ import annotations

from collections.abc import Collection

from stream_reco.events import Id

HOUR_MS = 3_600_000


class InMemoryEventDeduplicator:
    """An `ExpiringEventDeduplicator` over a set of ids; steps of an hour."""

    def __init__(self) -> None:
        self._ids: set[Id] = set()
        self._until: dict[int, list[Id]] = {}
        """Ids by the hour (since the epoch) after which they are forgotten."""
        self._expired: int | None = None

    def __contains__(self, event_id: Id) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def known(self, event_ids: Collection[Id]) -> set[Id]:
        """Those of the ids that it has."""
        return self._ids.intersection(event_ids)

    def add(self, event_id: Id, until: int) -> bool:
        """Keep an id until the watermark has passed `until` (ms); False if it is known."""
        if event_id in self._ids:
            return False
        self._ids.add(event_id)
        hour = until // HOUR_MS
        ids = self._until.get(hour)
        if ids is None:
            self._until[hour] = [event_id]
        else:
            ids.append(event_id)
        return True

    def expire(self, watermark: int) -> None:
        """Forget the ids of all hours before that of `watermark` (ms)."""
        hour = watermark // HOUR_MS
        if self._expired is not None and hour <= self._expired:
            return
        self._expired = hour
        for past in [each for each in self._until if each < hour]:
            self._ids.difference_update(self._until.pop(past))
