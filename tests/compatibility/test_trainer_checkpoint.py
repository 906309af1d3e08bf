"""A checkpoint of a trainer of version 0.1.0 is read: whom it knows, what it has learned, and how far it has read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from stream_reco.config.load import load
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.model.feature_columns import ReadsFeatures
from stream_reco.model.features.names import FEATURES, FIRST_FEATURES
from tests.compatibility.installation import SMALL, TOPICS
from tests.compatibility.recorded import read_json, unpack
from tests.compatibility.shop import USERS
from tests.integration.learned import newest, restored
from tests.programs import settings
from topologies.trainer.checkpoints import Checkpoints, LoadedCheckpoint

_FREE = -(2**63)
"""What stands instead of the time in rows of a saved table that nobody has."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    unpack("checkpoints", tmp_path)
    return sorted((tmp_path / "checkpoints" / "epoch-0000000001").iterdir())[-1]


@pytest.fixture
def found(folder: Path) -> LoadedCheckpoint:
    loaded = newest(Checkpoints(folder.parents[1]))
    assert loaded is not None
    return loaded


@pytest.fixture
def learner(found: LoadedCheckpoint) -> DistributedLearner:
    return restored(found, load(environ=settings(**SMALL)).settings)


def test_tables_are_what_the_files_say(learner: DistributedLearner, folder: Path) -> None:
    tables = learner.queue.trainer.tables
    names = {path.stem for path in (folder / "tables").iterdir()}
    assert tables.keys() - names == {"content", "encoder"}
    assert len(tables["content"]) == len(tables["encoder"]) == 0
    for name in names:
        table = tables[name]
        saved = load_file(folder / "tables" / f"{name}.safetensors")
        kept = saved["meta"][:, 1] != _FREE
        keys, rows = saved["meta"][kept, 0], saved["data"][kept]
        assert len(table) == len(keys) > 0
        vectors = table.lookup(keys)
        assert vectors.any()
        assert vectors.tobytes() == np.ascontiguousarray(rows[:, : vectors.shape[1]]).tobytes()


def test_weights_and_the_state_of_their_optimizer_are_what_the_file_says(
    learner: DistributedLearner, folder: Path
) -> None:
    saved = load_file(folder / "trainer.safetensors")
    # By content, whatever they are called today, and without the columns of features that have joined since.
    state = learner.queue.trainer.state().items()
    present = {fingerprint(one) for name, array in state for one in (array, as_before(learner, name, array))}
    assert saved
    assert [name for name, array in saved.items() if fingerprint(array) not in present] == []


def test_what_was_counted_and_read_goes_on(learner: DistributedLearner, found: LoadedCheckpoint) -> None:
    facts, kafka = read_json("scorer")["facts"], read_json("kafka")
    assert learner.queue.examples == facts["examples"]
    assert learner.state.stream_time == facts["stream_time"]
    assert len(learner.state.signals.catalogue) == facts["items"]
    assert [user for user in USERS if learner.state.histories.row_of(user) < 0] == ["gone"]
    ends = {(topic.rpartition(".")[2], number): end for topic, number, end in kafka["ends"]}
    read = {
        (topic.rpartition(".")[2], number): offset
        for topic, offsets in found.offsets.items()
        for number, offset in offsets.items()
    }
    assert {topic for topic, _ in read} == set(TOPICS[:2])
    # All of it, or all but the marker of the last transaction.
    assert all(ends[part] - offset in (0, 1) for part, offset in read.items())


def as_before(learner: DistributedLearner, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """A weight, or what the optimizer keeps of one, without the columns of features that version 0.1.0 did not have."""
    network = learner.queue.trainer.model.network
    assert isinstance(network, ReadsFeatures)
    weight = name.partition(".")[2]
    if name.startswith("adam."):
        weight = list(dict(network.named_parameters()))[int(name.split(".")[1])]
    if weight not in network.feature_axes or not array.ndim:
        return array
    later = range(len(FIRST_FEATURES), len(FEATURES))
    joined = np.take(array, later, network.feature_axes[weight].axis)
    neutral = 0.0 if name.startswith("adam.") else network.feature_axes[weight].neutral
    assert (joined == neutral).all(), name
    return np.delete(array, later, network.feature_axes[weight].axis)


def fingerprint(array: NDArray[Any]) -> tuple[object, ...]:
    return array.dtype.str, array.shape, array.tobytes()
