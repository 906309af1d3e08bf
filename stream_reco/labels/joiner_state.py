"""What can be read of a joiner's state."""

from __future__ import annotations

from stream_reco.events import Id
from stream_reco.labels.label.pending import PendingImpression
from stream_reco.labels.memory.protocol import BEFORE_ALL, Memory


class JoinerState:
    """What a joiner remembers, and what it has counted."""

    def __init__(self, memory: Memory, lateness_ms: int) -> None:
        self._memory, self.lateness_ms = memory, lateness_ms

    @property
    def presumes(self) -> bool:
        """Whether impressions without an action are presumed negative."""
        return self._memory.windows.presumes

    @property
    def pending(self) -> int:
        """Impressions without a label yet."""
        return self._memory.progress.pending

    @property
    def duplicates(self) -> int:
        """Events whose id had come before."""
        return self._memory.progress.duplicates

    @property
    def late(self) -> int:
        """Events that came behind the watermark; they were processed all the same."""
        return self._memory.progress.late

    @property
    def orphans(self) -> int:
        """Retractions that found no action of theirs."""
        return self._memory.progress.orphans

    @property
    def oldest(self) -> int | None:
        """Time (ms) of the oldest impression whose deadline is not past."""
        return self._memory.oldest()

    @property
    def nbytes(self) -> int:
        """About the size of the state in bytes: of the main memory, or of the store's files."""
        return self._memory.nbytes

    @property
    def uncommitted(self) -> int:
        """About how many records the next `commit` will write; 0 without a store."""
        return self._memory.uncommitted

    @property
    def watermark(self) -> int | None:
        """The highest event time seen minus the lateness; None before the first event."""
        time = self._memory.progress.stream_time
        return None if time == BEFORE_ALL else time - self.lateness_ms

    def seen(self, event_id: Id) -> bool:
        """Whether an event with this id came before and is still remembered."""
        return self._memory.seen(event_id)

    def of_user(self, user_id: Id) -> list[PendingImpression]:
        """Impressions of a user that wait for a label, or whose label may still change, in the order of their times."""
        return sorted(self._memory.of_user(user_id), key=lambda shown: (shown.time, shown.seq))
