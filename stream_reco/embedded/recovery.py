"""What a data folder holds, and how an engine comes back from it."""

from __future__ import annotations

import logging
from pathlib import Path

from stream_reco.config import Settings
from stream_reco.embedded import records
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.learner_state import learner_from, parts_of
from stream_reco.embedded.log import EventLog
from stream_reco.train.checkpoint import read_checkpoint, write_checkpoint

_LOGGER = logging.getLogger(__name__)


class Storage:
    """The log and the checkpoints of one data folder, which is created if need be."""

    def __init__(self, folder: Path) -> None:
        self.checkpoints = folder / "checkpoints"
        self.log = EventLog(folder / "log")

    def checkpoint(self, learner: Learner, position: int) -> None:
        """Write the learner's state, of log position `position`, and give up log records that no checkpoint needs."""
        written = write_checkpoint(self.checkpoints, position, parts_of(learner))
        self.log.truncate_before(written.oldest_position + 1)

    def close(self) -> None:
        self.log.close()


def recover(storage: Storage | None, settings: Settings) -> tuple[Learner, int]:
    """The learner at the end of the log, and its log position; a new one without a folder.

    Raises CheckpointError, LogError or ValueError, each saying what is wrong with the folder and what to do.
    """
    if storage is None:
        return Learner(settings), 0
    restored = read_checkpoint(storage.checkpoints)
    learner, position = Learner(settings), 0
    if restored is not None:
        for warning in restored.warnings:
            _LOGGER.warning("%s", warning)
        learner, position = learner_from(settings, restored.parts), restored.position
    for record in storage.log.read(position):
        records.apply(learner, record.kind, record.payload)
        position = record.position
    return learner, position
