"""The ids of events that were seen, each for as long as its repetition could do harm."""

from __future__ import annotations

from stream_reco.events import Id

HOUR_MS = 3_600_000


class Remembered:
    """A set of event ids that forgets in steps of an hour of stream time."""

    def __init__(self) -> None:
        self._ids: set[Id] = set()
        self._until: dict[int, list[Id]] = {}
        self._swept: int | None = None

    def __contains__(self, event_id: Id) -> bool:
        return event_id in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def keep(self, event_id: Id, until: int) -> None:
        """Remember an id until the watermark is past `until` (ms); to be called once an id."""
        self._ids.add(event_id)
        hour = until // HOUR_MS
        ids = self._until.get(hour)
        if ids is None:
            self._until[hour] = [event_id]
        else:
            ids.append(event_id)

    def expire(self, watermark: int) -> None:
        hour = watermark // HOUR_MS
        if self._swept is not None and hour <= self._swept:
            return
        self._swept = hour
        for past in [h for h in self._until if h < hour]:
            self._ids.difference_update(self._until.pop(past))
