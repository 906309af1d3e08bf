"""The contents of a data folder, and how a learner is restored from them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.embedded.checkpoint_parts import learner_from, parts_of
from stream_reco.embedded.journal import records
from stream_reco.embedded.learner import Learner
from stream_reco.storage.checkpoint import (
    CheckpointError,
    NoWholeCheckpointError,
    Restored,
    read_checkpoint,
    remove_damaged,
    write_checkpoint,
)
from stream_reco.storage.event_log import EventLog, LogError
from stream_reco.storage.rocksdb import RocksStore, StoreError, copy_of

_LOGGER = logging.getLogger(__name__)


class Storage:
    """The log, the checkpoints and the labels' store of one data folder, which is created if missing.

    `accept_loss`: go on with what can be read, where something that was acknowledged cannot (see `EventLog`).
    """

    def __init__(self, folder: Path, accept_loss: bool = False) -> None:
        self.checkpoints = folder / "checkpoints"
        self.log = EventLog(folder / "log", accept_loss)
        self._accept_loss = accept_loss
        self.restored_position = 0
        """Log position of the checkpoint that was restored; 0 where there was none."""
        self._labels = folder / "labels"
        self._store: RocksStore | None = None

    def labels(self, checkpoint: Path | None) -> RocksStore:
        """The labels' store as a checkpoint has it, or a new one; what an earlier run left is deleted."""
        if checkpoint is None:
            shutil.rmtree(self._labels, ignore_errors=True)
            self._store = RocksStore(self._labels)
        else:
            self._store = copy_of(checkpoint, self._labels)
        return self._store

    def restored(self) -> tuple[Restored | None, list[str]]:
        """The newest whole checkpoint, None where the log is to be read from its beginning, and what was damaged.

        Raises CheckpointError where neither is possible.
        """
        try:
            restored = read_checkpoint(self.checkpoints)
        except NoWholeCheckpointError as error:
            whole_log = self.log.first == 1 <= self.log.last
            if not whole_log and not self._accept_loss:
                raise
            return None, [f"{error} The log is read from its {'beginning' if whole_log else 'oldest record'} instead"]
        return restored, [] if restored is None else list(restored.warnings)

    def join(self, position: int) -> int:
        """Make the log go on after `position`, of a checkpoint; returns the position after which it is to be read.

        It changes something only where a loss is accepted.
        """
        if self._accept_loss and position > self.log.last:
            self.log.continue_after(position)
        missing = self.log.first - 1 - position
        if self._accept_loss and missing > 0:
            metrics.LOG_LOST.inc(missing)
            _LOGGER.error("The loss was accepted: %d records before %d are lost", missing, self.log.first)
            return position + missing
        return position

    @property
    def holds_deleted(self) -> bool:
        """Whether the log still has a deletion, and so the folder may have the user who was deleted."""
        return self.log.holds(records.FORGET)

    def checkpoint(self, learner: Learner, position: int, *, erase: bool) -> None:
        """Write the learner's state, of log position `position`, and delete log segments that no checkpoint needs.

        With `erase` no byte is left of what was deleted from the state: all older checkpoints are replaced, and what
        the log and the store have deleted is overwritten. Raises CheckpointError, and may be repeated.
        """
        try:
            parts = parts_of(learner)
            if erase and self._store is not None:
                self._store.erase_deleted()
            written = write_checkpoint(self.checkpoints, position, parts)
            if erase:
                # Both checkpoints that are kept must be of the present.
                written = write_checkpoint(self.checkpoints, position, parts)
                for folder in (self.checkpoints, self.log.path.parent):
                    remove_damaged(folder)
            self.log.truncate_before(written.oldest_position + 1)
            if erase:
                self.log.erase_dropped()
        except (StoreError, LogError, OSError) as error:
            raise CheckpointError(f"checkpoint at position {position}: {error}") from error

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
        self.log.close()


def recover(storage: Storage | None, settings: Settings) -> tuple[Learner, int]:
    """The learner at the end of the log, and its log position; a new one without a folder.

    Raises CheckpointError, LogError, StoreError or ValueError, which say what is wrong with the folder and what to do.
    """
    if storage is None:
        return Learner(settings), 0
    restored, warnings = storage.restored()
    for warning in warnings:
        _LOGGER.warning("%s", warning)
    begin = 0 if restored is None else restored.position
    storage.restored_position = begin
    position = storage.join(begin)
    is_damaged = bool(warnings) or position != begin
    learner = _restored(storage, settings, restored)
    learner.merges_items &= restored is not None
    for record in storage.log.read(position):
        records.apply(learner, record.kind, record.payload)
        position = record.position
    if is_damaged:
        _replace_damaged(storage, learner, position)
    return learner, position


def _restored(storage: Storage, settings: Settings, restored: Restored | None) -> Learner:
    if restored is None:
        return Learner(settings, storage.labels(None))
    labels = restored.parts["labels"]
    assert isinstance(labels, Path)
    return learner_from(settings, restored.parts, storage.labels(labels))


def _replace_damaged(storage: Storage, learner: Learner, position: int) -> None:
    """Write a checkpoint in place of the damaged one at once: until then, only one way back is left."""
    try:
        storage.checkpoint(learner, position, erase=storage.holds_deleted)
        storage.restored_position = position
    except CheckpointError as error:
        _LOGGER.error("%s", error)
