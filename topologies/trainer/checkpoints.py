"""The trainer's checkpoints: a folder for each epoch, so that a former leader overwrites nothing."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from stream_reco.learner import checkpoint_parts
from stream_reco.storage.checkpoint import CheckpointError, Part, RestoredPart, read_checkpoint, write_checkpoint

_LOGGER = logging.getLogger(__name__)
_PREFIX = "epoch-"
_KEPT = 2
Offsets = dict[str, dict[int, int]]
"""Topic and partition → the offset of the next record to read."""


class LoadedCheckpoint(NamedTuple):
    """A checkpoint: its name, the learner's parts, and the offsets up to which they were learned from."""

    name: str
    parts: dict[str, RestoredPart]
    offsets: Offsets


class Checkpoints:
    """In `folder`, which all trainers share; the newest intact one of the highest epoch counts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def newest(self, known: str = "") -> LoadedCheckpoint | None:
        """The newest checkpoint; None where there is none, or its name is `known`.

        Raises CheckpointError where there are some, but none can be used.
        """
        problems: list[str] = []
        for epoch in reversed(self._epochs()):
            name = _newest_name(epoch)
            if name == known and name:
                return None
            try:
                restored = read_checkpoint(epoch)
            except CheckpointError as error:
                problems.append(str(error))
                continue
            if restored is not None:
                for warning in [*problems, *restored.warnings]:
                    _LOGGER.warning("%s", warning)
                offsets = msgspec.json.decode(checkpoint_parts.raw(restored.parts["offsets"]), type=Offsets)
                return LoadedCheckpoint(name, restored.parts, offsets)
        if problems:
            raise CheckpointError("; ".join(problems))
        return None

    def write(self, epoch: int, examples: int, parts: Mapping[str, Part], offsets: Offsets) -> str:
        """Write one, and delete those of all but the last two epochs; returns its name.

        Raises CheckpointError where it cannot be written.
        """
        mine = self._folder / f"{_PREFIX}{epoch:010d}"
        written = write_checkpoint(mine, examples, {**parts, "offsets": msgspec.json.encode(offsets)})
        for old in self._epochs()[:-_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return f"{mine.name}/{written.path.name}"

    @property
    def last_epoch(self) -> int:
        """The highest epoch that wrote here, 0 where none did."""
        epochs = self._epochs()
        return int(epochs[-1].name.removeprefix(_PREFIX)) if epochs else 0

    def _epochs(self) -> list[Path]:
        return sorted(path for path in self._folder.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit())


def _newest_name(epoch: Path) -> str:
    names = sorted(path.name for path in epoch.glob("checkpoint-*"))
    return f"{epoch.name}/{names[-1]}" if names else ""
