"""What a learner's future depends on as named parts of a checkpoint, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from stream_reco.embedding import EmbeddingTable
from stream_reco.labels import Example
from stream_reco.learner.cohort_buffer import CohortState
from stream_reco.learner.example_queue import ExampleQueue, ShownItem
from stream_reco.learner.head_queue import HeadQueueState
from stream_reco.learner.stream_state import StreamState
from stream_reco.model.content.regression import CONTENT_TABLE
from stream_reco.model.encoder.encoding import ENCODER
from stream_reco.model.heads import HEADS_TABLE
from stream_reco.model.registry import DEFAULT
from stream_reco.signals.active_time import ActiveTimeState
from stream_reco.signals.content.profiles import Profiles
from stream_reco.signals.dislikes import Dislikes
from stream_reco.signals.exposures import Exposures
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.storage.checkpoint import Arrays, Part, RestoredPart
from stream_reco.train.batch import Labelled


class LearnerProgress(msgspec.Struct, frozen=True):
    """How far a learner has come, and what it holds back."""

    waiting: list[Labelled]
    waiting_since: int
    stream_time: int
    events: int
    examples: int
    steps: int
    day: int
    # The name that folders of earlier releases know it by.
    window_buffer: tuple[int, list[Example]] | None = msgspec.field(name="patience")
    model: str = DEFAULT
    """The model's name; folders of earlier releases, which had only one, do not say it."""
    active_time: ActiveTimeState | None = None
    """Checkpoints up to version 0.2.0 do not have it."""
    shown: list[ShownItem] = []
    """Likewise."""
    heads: HeadQueueState | None = None
    """Likewise."""
    cohorts: CohortState | None = None
    """Likewise."""


def progress_of(state: StreamState, queue: ExampleQueue) -> LearnerProgress:
    return LearnerProgress(
        queue.waiting,
        queue.waiting_since,
        state.stream_time,
        state.events,
        queue.examples,
        queue.steps,
        state.day,
        None if queue.window_buffer is None else queue.window_buffer.state(),
        queue.trainer.model.name,
        state.active_time.state(),
        queue.shown,
        queue.heads.state(),
        queue.cohorts.state(),
    )


def parts_of(state: StreamState, queue: ExampleQueue) -> dict[str, Part]:
    """Everything else. The tables are not copied: they are written as they are when the checkpoint is."""

    def tables(folder: Path) -> None:
        folder.mkdir()
        for name, table in queue.trainer.tables.items():
            # Every start begins with a snapshot; and deleted users are among the tombstones.
            table.save(_table_file(folder, name), tombstones=False)

    return {
        "signals": state.signals.state(),
        "histories": state.histories.state(),
        "dislikes": state.dislikes.state(),
        "exposures": state.exposures.state(),
        "profiles": state.profiles.state(),
        "trainer": queue.trainer.state(),
        "calibration": queue.calibration.state(),
        "heads": queue.heads.trainer.state(),
        "encoder": queue.trainer.encoder.state(),
        "tables": tables,
    }


def restore(
    state: StreamState,
    queue: ExampleQueue,
    settings: SignalSettings,
    progress: LearnerProgress,
    parts: Mapping[str, RestoredPart],
) -> None:
    """Go on from what `progress_of` and `parts_of` gave. Raises ValueError where the settings do not fit the parts."""
    name = queue.trainer.model.name
    if progress.model != name:
        raise ValueError(
            f"what was learned is of the model {progress.model!r}, and the settings name {name!r}:"
            f' set model.name to "{progress.model}", or start with a new data folder'
        )
    queue.waiting, queue.waiting_since = progress.waiting, progress.waiting_since
    queue.shown = list(progress.shown)
    if "calibration" in parts:  # checkpoints up to version 0.2.0 do not have it
        queue.calibration.restore(arrays(parts["calibration"]))
    queue.examples, queue.steps = progress.examples, progress.steps
    if queue.window_buffer is not None and progress.window_buffer is not None:
        queue.window_buffer.recall(*progress.window_buffer)
    state.stream_time, state.events, state.day = progress.stream_time, progress.events, progress.day
    state.active_time.restore(progress.active_time, progress.stream_time)
    signals = Signals.from_state(settings, _as_read(parts["signals"]), state.features, lists_items=False)
    state.connect(
        signals,
        Histories.from_state(settings, arrays(parts["histories"])),
        # Checkpoints up to version 0.2.0 have neither.
        Dislikes.from_state(settings, arrays(parts["dislikes"])) if "dislikes" in parts else Dislikes(settings),
        Exposures.from_state(settings, arrays(parts["exposures"])) if "exposures" in parts else Exposures(settings),
        Profiles.from_state(settings, signals.user_fields, arrays(parts["profiles"])) if "profiles" in parts else None,
    )
    folder = parts["tables"]
    assert isinstance(folder, Path)
    queue.trainer.restore(arrays(parts["trainer"]), _tables(queue, folder))
    if "heads" in parts:  # not up to version 0.2.0
        queue.heads.trainer.restore(arrays(parts["heads"]))
    if "encoder" in parts:  # likewise
        queue.trainer.encoder.restore(arrays(parts["encoder"]))
    if progress.cohorts is not None:
        queue.cohorts.recall(progress.cohorts)
    if progress.heads is not None:
        queue.heads.recall(progress.heads)


def _tables(queue: ExampleQueue, folder: Path) -> dict[str, EmbeddingTable]:
    """The tables that were saved, and new ones in place of those that joined later."""
    # Not mapped: a checkpoint may lie on a disk of the network, where the leader may remove it.
    names = [*queue.trainer.tables]
    if _table_file(folder, HEADS_TABLE.name).exists():  # not before there is anything to learn by kind
        names.append(HEADS_TABLE.name)
    new = {}
    for name in (CONTENT_TABLE.name, ENCODER):  # not up to version 0.2.0
        if name in names and not _table_file(folder, name).exists():
            names.remove(name)
            new[name] = queue.trainer.tables[name]
    return {name: EmbeddingTable.load(_table_file(folder, name)) for name in names} | new


def _table_file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"


def _as_read(part: RestoredPart) -> Arrays:
    """A part of arrays that is not copied: the largest one, which is written to other arrays as it is."""
    assert isinstance(part, dict)
    return part


def raw(part: RestoredPart) -> bytes:
    """A part of bytes."""
    assert isinstance(part, bytes)
    return part


def arrays(part: RestoredPart) -> Arrays:
    """A part of arrays, copied."""
    assert isinstance(part, dict)
    return {name: np.array(array) for name, array in part.items()}
