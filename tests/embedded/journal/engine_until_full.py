"""Run by test_recovery.py on a small disk: checkpoints fail, then events find no room, then there is room again."""

from __future__ import annotations

import errno
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from stream_reco.embedded import Engine
from stream_reco.storage import disk
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.storage.event_log import LogFull
from tests.embedded.journal.recovery_world import SETTINGS, Step, differences, do, opened, steps, whole_state

OFTEN = replace(SETTINGS, training=replace(SETTINGS.training, checkpoint_events=40))
MOUNTED_BYTES = 10_000_000


class Disk:
    """Leaves little room on a disk that is mounted; where none is, makes the operating system's answers small."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ballast = folder / "ballast"
        self.mounted = self._bytes(os.statvfs(folder).f_blocks) < MOUNTED_BYTES

    def _bytes(self, blocks: int) -> int:
        return blocks * os.statvfs(self.folder).f_frsize

    @contextmanager
    def no_room_for_a_checkpoint(self) -> Iterator[None]:
        if self.mounted:
            with self._only(280_000):
                yield
            return
        real = disk.sync
        disk.sync = _refuse
        yield
        disk.sync = real

    @contextmanager
    def no_room_at_all(self) -> Iterator[None]:
        if self.mounted:
            with self._only(0):
                yield
            return
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def _only(self, room: int) -> Iterator[None]:
        self.ballast.write_bytes(bytes(self._bytes(os.statvfs(self.folder).f_bavail) - room))
        yield
        self.ballast.unlink()


def _refuse(path: Path) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def go_on_without_checkpoints(engine: Engine, some: list[Step]) -> None:
    for step in some:
        do(engine, step)
    problem = str(engine.status()["checkpoint_problem"])
    assert "could not be written" in problem, problem
    assert "Free space" in problem
    sys.stdout.write(f"{problem}\n")
    assert engine.recommend("someone", 3).items
    try:
        engine.checkpoint()
    except CheckpointError as error:
        sys.stdout.write(f"{error}\n")
    else:
        raise AssertionError("there was room for a checkpoint")


def refuse_all(engine: Engine, events: Step) -> None:
    """However often they are sent, none of the events is taken, and answers still come."""
    assert isinstance(events, list)
    before = whole_state(engine), engine.status()["log_position"]
    for _ in range(3):
        try:
            engine.ingest(events)
        except LogFull as error:
            message = str(error)
        else:
            raise AssertionError("there was room for the events")
        assert differences(whole_state(engine), before[0]) == []
        assert engine.status()["log_position"] == before[1]
    sys.stdout.write(f"{message}\n")
    assert engine.recommend("someone", 3).items


def main(disk: Disk) -> None:
    folder = disk.folder / "data"
    all_steps = steps(5, 30)
    with opened(None) as calm:
        for step in all_steps:
            do(calm, step)
        expected = whole_state(calm)
    with opened(folder, OFTEN) as engine:
        for step in all_steps[:10]:
            do(engine, step)
        assert engine.status()["checkpoint_problem"] is None
        with disk.no_room_for_a_checkpoint():
            go_on_without_checkpoints(engine, all_steps[10:20])
        later = next(at for at in range(20, 30) if isinstance(all_steps[at], list) and len(str(all_steps[at])) > 1000)
        for step in all_steps[20:later]:
            do(engine, step)
        with disk.no_room_at_all():
            refuse_all(engine, all_steps[later])
        for step in all_steps[later:]:
            do(engine, step)
        assert differences(whole_state(engine), expected) == []
        engine.checkpoint()
        assert engine.status()["checkpoint_problem"] is None
    with opened(folder, OFTEN) as again:
        assert differences(whole_state(again), expected) == []
    sys.stdout.write("nothing is missing\n")


main(Disk(Path(sys.argv[1])))
