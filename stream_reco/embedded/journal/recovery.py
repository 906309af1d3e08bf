"""The contents of a data folder, and how a learner is restored from them."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

from stream_reco.config import Settings
from stream_reco.embedded.checkpoint_parts import learner_from, parts_of
from stream_reco.embedded.journal import records
from stream_reco.embedded.learner import Learner
from stream_reco.storage.checkpoint import KEPT, CheckpointError, read_checkpoint, remove_damaged, write_checkpoint
from stream_reco.storage.event_log import EventLog, LogError
from stream_reco.storage.rocksdb import RocksStore, StoreError, copy_of

_LOGGER = logging.getLogger(__name__)


class Storage:
    """The log, the checkpoints and the labels' store of one data folder, which is created if missing."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = folder / "checkpoints"
        self.log = EventLog(folder / "log")
        self.restored = 0
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
                for _ in range(1, KEPT):
                    written = write_checkpoint(self.checkpoints, position, parts)
                remove_damaged(self.checkpoints)
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
    restored = read_checkpoint(storage.checkpoints)
    if restored is None:
        learner, position = Learner(settings, storage.labels(None)), 0
    else:
        for warning in restored.warnings:
            _LOGGER.warning("%s", warning)
        labels = restored.parts["labels"]
        assert isinstance(labels, Path)
        learner, position = learner_from(settings, restored.parts, storage.labels(labels)), restored.position
        storage.restored = position
    for record in storage.log.read(position):
        records.apply(learner, record.kind, record.payload)
        position = record.position
    return learner, position
