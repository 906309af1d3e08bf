"""The learner's whole state as named parts of a checkpoint, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.embedding import EmbeddingTable
from stream_reco.interests import Interests
from stream_reco.labels import Example
from stream_reco.labels.store import Store
from stream_reco.model.rows import TABLES
from stream_reco.signals.history import Histories
from stream_reco.signals.signals import Signals
from stream_reco.train.checkpoint import Arrays, Part, RestoredPart
from stream_reco.train.trainer import Labelled

_LOGGER = logging.getLogger(__name__)
_FIXED = (
    "labels.window_days", "labels.policy", "labels.order", "labels.wait_seconds", "training.row_learning_rate",
    "training.row_idle_days",
)
"""Settings that a data folder is begun with and keeps: deadlines and rows are laid out by them."""


class _Progress(msgspec.Struct, frozen=True):
    fixed: dict[str, float | str]
    waiting: list[Labelled]
    waiting_since: int
    stream_time: int
    events: int
    examples: int
    steps: int
    day: int
    patience: tuple[int, list[Example]] | None


def parts_of(learner: Learner) -> dict[str, Part]:
    """Everything that the learner's future depends on; the labels only where they have a store."""
    learner.commit_labels()
    progress = _Progress(
        _fixed(learner.settings), learner.waiting, learner.waiting_since, learner.stream_time, learner.events,
        learner.examples, learner.steps, learner.day, None if learner.patience is None else learner.patience.state(),
    )
    tables = {f"table.{name}": learner.trainer.tables[name].state() for name in TABLES}
    return {
        "progress": msgspec.msgpack.encode(progress),
        "signals": learner.signals.state(),
        "histories": learner.histories.state(),
        "interests": learner.interests.state(),
        "trainer": learner.trainer.state(),
        **tables,
        **({} if learner.joiner.store is None else {"labels": learner.joiner.store.checkpoint}),
    }


def learner_from(settings: Settings, parts: Mapping[str, RestoredPart], store: Store) -> Learner:
    """The learner that `parts_of` was taken from; `store` holds its labels.

    Raises ValueError where the settings do not fit the parts.
    """
    progress = msgspec.msgpack.decode(_raw(parts["progress"]), type=_Progress)
    _warn_of_changes(progress.fixed, _fixed(settings))
    learner = Learner(_kept(settings, progress.fixed), store)
    learner.waiting, learner.waiting_since = progress.waiting, progress.waiting_since
    learner.stream_time, learner.events = progress.stream_time, progress.events
    learner.examples, learner.steps, learner.day = progress.examples, progress.steps, progress.day
    if learner.patience is not None and progress.patience is not None:
        learner.patience.recall(*progress.patience)
    learner.signals = Signals.from_state(settings.signals, _arrays(parts["signals"]))
    learner.histories = Histories.from_state(settings.signals, _arrays(parts["histories"]))
    learner.interests = Interests.from_state(settings.interests, _arrays(parts["interests"]))
    tables = {name: EmbeddingTable.from_state(_arrays(parts[f"table.{name}"])) for name in TABLES}
    learner.trainer.restore(_arrays(parts["trainer"]), tables)
    learner.reconnect()
    return learner


def _fixed(settings: Settings) -> dict[str, float | str]:
    return {name: getattr(getattr(settings, room), field) for name in _FIXED for room, field in [name.split(".")]}


def _kept(settings: Settings, fixed: Mapping[str, float | str]) -> Settings:
    """The settings with those of the labels that the data folder was begun with."""
    begun = (name.partition(".")[::2] for name in fixed)
    labels: dict[str, Any] = {field: fixed[f"labels.{field}"] for room, field in begun if room == "labels"}
    return replace(settings, labels=replace(settings.labels, **labels))


def _warn_of_changes(kept: Mapping[str, float | str], wanted: Mapping[str, float | str]) -> None:
    for name, value in wanted.items():
        if kept.get(name, value) != value:
            _LOGGER.warning("%s is set to %r, but the data folder was begun with %r, which stays: start with a new data"
                            " folder to change it", name, value, kept[name])


def _raw(part: RestoredPart) -> bytes:
    assert isinstance(part, bytes)
    return part


def _arrays(part: RestoredPart) -> Arrays:
    assert isinstance(part, dict)
    return {name: np.array(array) for name, array in part.items()}
