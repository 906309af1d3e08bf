"""Checkpoints of one epoch after another: the newest whole one counts, and nobody overwrites another's."""

from __future__ import annotations

from pathlib import Path

import pytest

from stream_reco.storage.checkpoint import CheckpointError
from topologies.trainer.checkpoints import Checkpoints

PARTS = {"progress": b"p"}


def offsets(examples: int) -> dict[str, dict[int, int]]:
    return {"examples": {0: examples, 11: 2 * examples}}


def test_there_is_none_to_begin_with(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "not there")
    assert checkpoints.newest() is None
    assert checkpoints.last_epoch == 0


def test_the_newest_of_the_highest_epoch_counts(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, 10, PARTS, offsets(10))
    name = checkpoints.write(2, 20, PARTS, offsets(20))
    # One who leads no longer, and does not know it yet.
    checkpoints.write(1, 30, PARTS, offsets(30))
    found = checkpoints.newest()
    assert found is not None
    assert (found.name, found.offsets) == (name, offsets(20))
    assert found.parts["progress"] == b"p"
    assert checkpoints.newest(found.name) is None, "it is known"
    assert checkpoints.last_epoch == 2


def test_a_damaged_one_costs_what_came_after_the_one_before(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.write(1, 10, PARTS, offsets(10))
    name = checkpoints.write(2, 20, PARTS, offsets(20))
    (tmp_path / name / "progress.bin").write_bytes(b"q")
    found = checkpoints.newest()
    assert found is not None
    assert found.offsets == offsets(10)


def test_none_that_is_whole_is_told(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    name = checkpoints.write(1, 10, PARTS, offsets(10))
    (tmp_path / name / "manifest.json").unlink()
    with pytest.raises(CheckpointError, match="is whole"):
        checkpoints.newest()


def test_epochs_long_past_leave(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    for epoch in range(1, 6):
        checkpoints.write(epoch, epoch, PARTS, offsets(epoch))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0000000004", "epoch-0000000005"]
