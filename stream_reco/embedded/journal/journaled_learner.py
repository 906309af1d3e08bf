"""The one owner of the learner, of the journal of its records, and of the position up to which they are applied."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence

from stream_reco.config import Settings
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.deduplicate import IngestDeduplicator
from stream_reco.embedded.journal.journal import Journal
from stream_reco.embedded.journal.recovery import Storage, recover
from stream_reco.embedded.learner import Learner
from stream_reco.events import Event, decode_batch, encode_batch
from stream_reco.labels import LabelJoiner
from stream_reco.serve.event_validation import valid_events
from stream_reco.serve.service import Accepted
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.storage.event_log import LogRecord

_LOGGER = logging.getLogger(__name__)


class JournaledLearner:
    """A learner whose every record is in the journal before it is applied; it alone moves the position.

    There are two ways to use it. Without `follow`, the caller's thread appends and applies (`ingest`, `record`). After
    `follow`, one thread appends (`append_many`), and another reads and applies (`unapplied`, `apply`).
    """

    def __init__(self, storage: Storage | None, settings: Settings, joiner: LabelJoiner | None = None) -> None:
        """Restore what `storage` holds; without it everything is in memory. `joiner` replaces that of the settings.

        Raises what `recover` raises.
        """
        self.learner: Learner
        self.learner, self._position = recover(storage, settings)
        if joiner is not None:
            self.learner.label_by(joiner)
        self.learner.merges_items = True
        self._storage = storage
        self._checkpoint_events = settings.training.checkpoint_events
        self._checkpoint_seconds = settings.training.checkpoint_minutes * 60
        self._unsaved = storage is not None and self._position > storage.restored_position
        """Whether more than time has passed since the last checkpoint."""
        self._unsaved_since: float | None = None
        self._erasing = storage is not None and storage.holds_deleted
        """Whether a user was deleted whom older checkpoints and the log may still hold."""
        self._journal = Journal(None if storage is None else storage.log, self._position)
        self._future_ms = int(settings.serve.future_seconds * 1000)
        self._followed = False
        self.epoch = 1 if storage is None else self._append(records.START, records.MERGING)
        """Of the publications of this learner: higher at every start."""
        self.deduplicator = IngestDeduplicator(self.learner.joiner.seen_among)
        """Recognises repeated events."""
        self.erasures = 0
        """Checkpoints after which nothing is left on disk of users who were deleted."""
        self._checkpointed = (self.learner.state.events, self._position)
        self._checkpoint_problem: str | None = None

    @property
    def position(self) -> int:
        """Position of the last record that was applied; 0 before the first."""
        return self._position

    @property
    def checkpoint_problem(self) -> str | None:
        """Why the last checkpoint that was due could not be written, where it could not."""
        return self._checkpoint_problem

    # --- append and apply, on the caller's thread

    def ingest(self, events: Sequence[Event], now: int) -> Accepted:
        """Append the valid and new ones of events that were built in Python, and learn from them.

        `now` is the wall clock in ms. Raises LogError.
        """
        valid, rejections = valid_events(events, now, self._future_ms)
        new, duplicates = self.deduplicator.admit(valid)
        try:
            if new:
                self._append(records.EVENTS, encode_batch(new))
                self.deduplicator.count_durable(Counter(map(type, new)), duplicates)
                self.learner.learn(new)
                self._note(records.EVENTS)
        finally:
            self.deduplicator.release(event.event_id for event in new)
        return rejections.answer(len(new), duplicates)

    def record(self, kind: str, payload: bytes = b"") -> None:
        """Append one record and apply it. Raises LogError."""
        self._append(kind, payload)
        records.apply(self.learner, kind, payload)
        self._note(kind)

    def _append(self, kind: str, payload: bytes) -> int:
        if self._followed:
            # The position would pass records that the following thread has not applied.
            raise RuntimeError("the journal is followed by threads: append through the service that runs them")
        self._position = self._journal.append_many([(kind, payload)]).start
        return self._position

    # --- append on one thread, apply on another

    def follow(self) -> None:
        """From now on records come by `append_many`, and are applied by the thread that reads `unapplied`."""
        self._followed = True
        self._journal.follow()

    def append_many(self, found: Sequence[tuple[str, bytes]]) -> range:
        """Append (kind, payload) pairs, all or none, to be applied later; returns their positions. Raises LogError."""
        return self._journal.append_many(found)

    @property
    def is_behind(self) -> bool:
        """Whether the journal has records that are not applied."""
        return self._journal.last > self._position

    def unapplied(self, limit: int) -> list[LogRecord]:
        """At most `limit` records that are to be applied next, in order."""
        return self._journal.read(self._position, limit)

    def apply(self, record: LogRecord, between: Callable[[], None]) -> int:
        """Apply the next record, calling `between` after each of its events; returns how many events it has."""
        count = 0
        if record.kind == records.EVENTS:
            events = decode_batch(record.payload)
            self.learner.learn(events, between)
            self.deduplicator.release(event.event_id for event in events)
            count = len(events)
        else:
            records.apply(self.learner, record.kind, record.payload)
        self._position = record.position
        self._note(record.kind)
        return count

    def _note(self, kind: str) -> None:
        """A record of this kind was applied."""
        self._unsaved |= kind not in (records.TICK, records.START)
        self._erasing |= kind == records.FORGET

    # --- checkpoints

    def checkpoint(self) -> None:
        """Write the whole state at the present position, in one atomic step; does nothing in memory.

        Afterwards nothing is left in the folder of users who were deleted since the last one. Raises CheckpointError,
        with what was acknowledged still safe in the log.
        """
        if self._storage is not None:
            self._storage.checkpoint(self.learner, self._position, erase=self._erasing)
        self.erasures += self._erasing
        self._unsaved, self._unsaved_since, self._erasing = False, None, False
        self._checkpointed = (self.learner.state.events, self._position)
        self._checkpoint_problem = None

    def checkpoint_if_due(self, now: float) -> None:
        """Write a checkpoint where the last one is far behind; a failure is kept in `checkpoint_problem`.

        `now`: seconds of a steady clock, the same at each call.
        """
        if not self._is_due(now):
            return
        try:
            self.checkpoint()
        except CheckpointError as error:
            # The log still holds everything: the next attempt is as far away as this one was.
            self._checkpointed, self._unsaved_since = (self.learner.state.events, self._position), now
            self._checkpoint_problem = str(error)
            _LOGGER.error("%s", error)

    def _is_due(self, now: float) -> bool:
        events, position = self._checkpointed
        if max(self.learner.state.events - events, self._position - position) >= self._checkpoint_events:
            return True
        if not (self._unsaved or self._erasing):
            return False
        if self._unsaved_since is None:
            self._unsaved_since = now
        return now - self._unsaved_since >= self._checkpoint_seconds
