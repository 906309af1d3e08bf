"""When the leader publishes and writes checkpoints, without Kafka: a learner, an input and a clock that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from stream_reco.storage.checkpoint import CheckpointError
from topologies.trainer import checkpoint_schedule, publish_schedule
from topologies.trainer.checkpoint_schedule import CheckpointSchedule
from topologies.trainer.publish_schedule import PublishSchedule


class Surroundings:
    """Stands in for all that a schedule works with; `log` holds what it did, in order."""

    def __init__(self, sync_seconds: float = 10.0) -> None:
        self.log: list[Any] = []
        self.sync_seconds = sync_seconds
        training = SimpleNamespace(checkpoint_events=100, checkpoint_seconds=60.0)
        self.settings = SimpleNamespace(training=training, kafka=SimpleNamespace(session_seconds=1.0))
        self.checkpoints = self
        self.number, self.examples, self.is_at_end = 7, 3, True
        self.learner = SimpleNamespace(now=1, parts=dict)
        self.offsets: dict[str, dict[int, int]] = {}
        self.records = self.lags = 0
        self.dead_letters: list[str] = []
        self.problem: CheckpointError | None = None

    async def on_thread(self, work: Callable[..., None], *arguments: object) -> None:
        work(*arguments)

    def publish(self, now: int, idle: bool) -> None:
        self.log.append(("published", now, idle))

    async def report_lag(self) -> None:
        self.lags += 1

    def take_dead_letters(self) -> list[str]:
        letters, self.dead_letters = self.dead_letters, []
        return letters

    async def confirm(self, letters: list[str]) -> None:
        self.log.append(("confirmed", letters))

    def write(self, epoch: int, examples: int, parts: object, offsets: object) -> str:
        if self.problem is not None:
            raise self.problem
        assert (parts, offsets) == ({}, self.offsets)
        self.log.append(("written", epoch, examples))
        return "name"


class Seconds:
    """A monotonic clock."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    clock = Seconds()
    monkeypatch.setattr(publish_schedule, "time", clock)
    monkeypatch.setattr(checkpoint_schedule, "time", clock)
    return clock


def _publishing(around: Any) -> tuple[PublishSchedule, Callable[[int], None]]:
    schedule = PublishSchedule(around, around, around, around)
    return schedule, lambda now: asyncio.run(schedule.publish_if_due(now))


def _checkpoints(around: Any) -> tuple[CheckpointSchedule, Callable[[], None]]:
    schedule = CheckpointSchedule(around, around, around, around)
    return schedule, lambda: asyncio.run(schedule.write_if_due())


def test_it_publishes_at_once_and_then_every_interval(seconds: Seconds) -> None:
    around = Surroundings(sync_seconds=10.0)
    schedule, publish = _publishing(around)
    assert schedule.ms_until_due == 1
    publish(1)
    publish(2)
    assert schedule.ms_until_due == 1000
    seconds.now += 9.5
    assert schedule.ms_until_due == 500
    around.records = 1
    publish(3)
    seconds.now += 0.5
    publish(4)
    assert around.log == [("published", 1, False), ("published", 4, False)]
    assert around.lags == 2


def test_without_records_it_publishes_once_a_second_at_most(seconds: Seconds) -> None:
    around = Surroundings(sync_seconds=0.1)
    _, publish = _publishing(around)
    publish(1)
    seconds.now += 0.5
    publish(2)
    seconds.now += 0.5
    publish(3)
    around.records = 1
    seconds.now += 0.125
    publish(4)
    assert around.log == [("published", 1, False), ("published", 3, True), ("published", 4, False)]


@pytest.mark.usefixtures("seconds")
def test_a_learner_without_events_publishes_only_at_the_end_of_the_topics() -> None:
    around = Surroundings()
    around.learner.now, around.is_at_end = 0, False
    _, publish = _publishing(around)
    publish(1)
    around.is_at_end = True
    publish(2)
    assert around.log == [("published", 2, False)]


def test_a_checkpoint_is_due_after_records_or_seconds(seconds: Seconds) -> None:
    around = Surroundings()
    around.records = 5  # as of the checkpoint that was loaded
    _, write = _checkpoints(around)
    seconds.now += 60
    write()
    assert around.log == [], "nothing was learned since"
    around.records = 6
    write()
    around.records = 105
    write()
    assert around.log == [("confirmed", []), ("written", 7, 3)]
    around.records = 106
    write()
    assert around.log[2:] == [("confirmed", []), ("written", 7, 3)]


@pytest.mark.usefixtures("seconds")
def test_dead_letters_do_not_wait_for_long() -> None:
    around = Surroundings()
    schedule, write = _checkpoints(around)
    around.dead_letters = ["bad"] * 99
    write()
    assert around.log == []
    around.dead_letters.append("bad")
    write()
    assert around.log[0] == ("confirmed", ["bad"] * 100)
    around.dead_letters = ["last"]
    asyncio.run(schedule.write_last())
    assert around.log[2:] == [("confirmed", ["last"]), ("written", 7, 3)]
    asyncio.run(schedule.write_last())
    assert len(around.log) == 4


@pytest.mark.usefixtures("seconds")
def test_a_checkpoint_that_cannot_be_written_is_tried_an_interval_later(caplog: pytest.LogCaptureFixture) -> None:
    around = Surroundings()
    _, write = _checkpoints(around)
    around.problem = CheckpointError("the disk is full")
    around.records = 100
    write()
    assert "training: the disk is full" in caplog.text
    around.problem = None
    write()
    assert around.log == [("confirmed", [])]
    around.records = 200
    write()
    assert around.log[1:] == [("confirmed", []), ("written", 7, 3)]
