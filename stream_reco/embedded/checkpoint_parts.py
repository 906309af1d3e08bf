"""The learner's whole state as named parts of a checkpoint, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from stream_reco.config import Settings
from stream_reco.embedded.learner import Learner
from stream_reco.interests import Interests
from stream_reco.learner import checkpoint_parts
from stream_reco.storage.checkpoint import Part, RestoredPart
from stream_reco.storage.rocksdb import RocksStore

_LOGGER = logging.getLogger(__name__)
_FIXED = (
    "labels.window_days",
    "labels.policy",
    "labels.order",
    "labels.wait_seconds",
    "training.row_learning_rate",
    "training.row_idle_days",
    "training.table_megabytes",
    "training.user_sightings",
)
"""Settings that a data folder is created with and keeps, because stored deadlines and rows depend on them."""


class _EngineProgress(checkpoint_parts.LearnerProgress, frozen=True, kw_only=True):
    fixed: dict[str, float | str]
    merges_items: bool = False


def parts_of(learner: Learner) -> dict[str, Part]:
    """Everything that the learner's future depends on; the labels only where they have a store."""
    learner.commit_labels()
    progress = msgspec.structs.asdict(checkpoint_parts.progress_of(learner.state, learner.queue))
    kept = _EngineProgress(fixed=_fixed(learner.settings), merges_items=learner.merges_items, **progress)
    return {
        "progress": msgspec.msgpack.encode(kept),
        "interests": learner.interests.state(),
        **checkpoint_parts.parts_of(learner.state, learner.queue),
        **({} if learner.joiner.store is None else {"labels": learner.joiner.store.checkpoint}),
    }


def learner_from(settings: Settings, parts: Mapping[str, RestoredPart], store: RocksStore) -> Learner:
    """The learner that `parts_of` was taken from; `store` holds its labels.

    Raises ValueError where the settings do not fit the parts.
    """
    progress = msgspec.msgpack.decode(checkpoint_parts.raw(parts["progress"]), type=_EngineProgress)
    _warn_of_changes(progress.fixed, _fixed(settings))
    learner = Learner(_kept(settings, progress.fixed), store)
    learner.merges_items = progress.merges_items
    learner.interests = Interests.from_state(
        settings.interests, checkpoint_parts.arrays(parts["interests"]), learner.state.active_time
    )
    checkpoint_parts.restore(learner.state, learner.queue, settings.signals, progress, parts)
    return learner


def _fixed(settings: Settings) -> dict[str, float | str]:
    return {name: getattr(getattr(settings, room), field) for name in _FIXED for room, field in [name.split(".")]}


def _kept(settings: Settings, fixed: Mapping[str, float | str]) -> Settings:
    """The settings, with those of labels that the data folder was created with."""
    created_with = (name.partition(".")[::2] for name in fixed)
    labels: dict[str, Any] = {field: fixed[f"labels.{field}"] for room, field in created_with if room == "labels"}
    return replace(settings, labels=replace(settings.labels, **labels))


def _warn_of_changes(kept: Mapping[str, float | str], wanted: Mapping[str, float | str]) -> None:
    for name, value in wanted.items():
        if kept.get(name, value) != value:
            _LOGGER.warning(
                "%s is set to %r, but the data folder was created with %r, which stays in force: use a new data"
                " folder to change it",
                name,
                value,
                kept[name],
            )
