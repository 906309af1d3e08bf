"""The time of one trainer as the leader: it learns, publishes and writes checkpoints, in an epoch of its own."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TypeVar

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_reco import metrics
from stream_reco.clock import Clock
from stream_reco.config import Settings
from stream_reco.labels import Example
from stream_reco.learner.progressive_evaluation import PublishedModel
from stream_reco.learner.publication_contents import PublicationContents
from stream_reco.measure.progressive import ProgressiveQuality
from stream_reco.measure.stages import LIVE_MS, observe_stage
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.sync import Channel, ChannelRefused, ChannelUnreachable
from topologies.client.cancellation import is_done_before, within
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import close, connect
from topologies.client.read_to_end import read_to_end
from topologies.dead_letters.letter import DeadLetter, encode_letter
from topologies.topics.declaration import Topics
from topologies.trainer.checkpoints import Checkpoints
from topologies.trainer.input import Taken, TrainingInput
from topologies.trainer.standby import LearnerAtOffsets, WarmStandby

NAME = "training"
_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 64
"""Records learned from before anything else is looked at."""
_WAIT_MS = 200
_TICK_MS = 1_000
_LETTERS = 100
_MEASURED_EVERY = 4
"""Of so many batches one is predicted before it is learned from: to predict all of them took a fifth of the speed."""
_QUALITY_EVERY = 500
"""Measured examples after which the gauges are set: some 2,000 that were learned from, as in one process."""
_EPOCH = b"epoch"
_Result = TypeVar("_Result")


class _Epoch(msgspec.Struct, frozen=True):
    epoch: int


@dataclass(frozen=True)
class TrainerDependencies:
    """What a leader works with, and whoever waits to become it."""

    settings: Settings
    topics: Topics
    channel: Channel
    checkpoints: Checkpoints
    warm: WarmStandby
    clock: Clock
    thread: Executor
    """One thread, on which all learning is done."""
    sync_seconds: float

    async def on_thread(self, work: Callable[..., _Result], *arguments: object) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)


class Leader:
    """Works from `run` until `ending`; where it fails, a later one begins with the last checkpoint."""

    def __init__(self, around: TrainerDependencies, holds: asyncio.Event, ending: asyncio.Event) -> None:
        """While `holds` is not set it stands still: the group is thinking about who leads."""
        self._around, self._holds, self._ending = around, holds, ending
        self._topic = around.topics.trainer_leader.name
        self._ticked = 0
        self._synced = self._written = -float("inf")
        self._synced_records = self._written_records = 0
        self._complained = False

    async def run(self, leads: Callable[[int], None]) -> None:
        """Take over, tell `leads` the epoch, work, and leave a checkpoint behind.

        Raises ProducerFenced where another one has taken over.
        """
        around = self._around
        kafka = around.settings.kafka
        async with AsyncExitStack() as left:
            # With its start whoever led before is fenced: nothing of theirs is written to Kafka any more.
            producer: AIOKafkaProducer = await connect(
                kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka, NAME))
            )
            left.push_async_callback(close, producer)
            self._producer = producer
            self._epoch = await self._begin_epoch()
            leads(self._epoch)
            self._standing = await around.on_thread(around.warm.take)
            consumer: AIOKafkaConsumer = await connect(
                kafka, lambda: AIOKafkaConsumer(**consumer_arguments(kafka, gaps=False))
            )
            left.push_async_callback(close, consumer)
            self._input = TrainingInput(
                consumer,
                around.topics.events.name,
                around.topics.examples.name,
                round(around.settings.serve.future_seconds * 1000),
            )
            await self._input.begin(self._standing.offsets)
            self._prepare_to_publish(self._standing)
            _LOGGER.info(
                "training: leads in epoch %d, after %d examples", self._epoch, self._standing.learner.lessons.examples
            )
            metrics.TRAINER_EPOCH.set(self._epoch)
            left.callback(metrics.TRAINER_EPOCH.set, 0)
            # Whoever leads next tells its own.
            left.callback(metrics.PROGRESSIVE.clear)
            await self._work()
            if self._standing.records > self._written_records or self._input.letters:
                await self._write_checkpoint()

    async def _begin_epoch(self) -> int:
        newest = self._around.checkpoints.last_epoch
        async for records in read_to_end(self._around.settings.kafka, self._topic):
            for record in records:
                if record.key == _EPOCH and record.value is not None:
                    newest = max(newest, msgspec.json.decode(record.value, type=_Epoch).epoch)
        self._epoch = newest + 1
        await self._confirm([])
        return self._epoch

    def _prepare_to_publish(self, standing: LearnerAtOffsets) -> None:
        learner = standing.learner
        self._collecting = PublicationContents(
            learner.intake, learner.lessons, self._around.settings.labels.lateness_ms
        )
        self._publisher = self._collecting.publisher(self._epoch)
        settings = self._around.settings
        self._published = PublishedModel(
            settings.model, ProgressiveQuality(every=_QUALITY_EVERY), _MEASURED_EVERY, settings.serve.row_precision
        )
        learner.lessons.watch = self._published.watch
        self._written, self._written_records = time.monotonic(), standing.records
        self._synced_records = -1

    async def _confirm(self, letters: Sequence[DeadLetter]) -> None:
        """Write the epoch and dead letters in a transaction, which only the leader can. Raises ProducerFenced."""
        async with self._producer.transaction():
            value = msgspec.json.encode(_Epoch(self._epoch))
            sending = [await self._producer.send(self._topic, value, _EPOCH, partition=0)]
            sending += [
                await self._producer.send(self._around.topics.dead_letters.name, encode_letter(letter), letter.key)
                for letter in letters
            ]
            # The client commits whatever became of the messages, so what failed must be raised before.
            for each in sending:
                await each

    async def _work(self) -> None:
        while not self._ending.is_set():
            if not self._holds.is_set():
                await is_done_before(self._ending, self._holds.wait())
                continue
            now = self._around.clock.now_ms()
            await self._input.fetch(min(_WAIT_MS, self._until_sync_ms()), now)
            taken = self._input.take(_AT_ONCE)
            if taken:
                for failed in await self._around.on_thread(self._standing.learn, taken):
                    self._input.give_up(failed.record, "internal", "it could not be learned from", now)
                self._tell_trained(taken)
            elif self._input.is_at_end:
                await self._tick(now)
            # The group may have been thinking meanwhile.
            if self._holds.is_set() and not self._ending.is_set():
                await self._publish_if_due(now)
                await self._write_if_due()

    def _tell_trained(self, taken: Sequence[Taken]) -> None:
        now = self._around.clock.now_ms()
        for one in taken:
            if isinstance(one.what, Example) and one.what.action is not None:
                observe_stage("trained", one.what.label_time, now)

    async def _tick(self, now: int) -> None:
        """Let time pass where nothing is left to read, once the log has come near the present."""
        stream_time = self._standing.learner.now
        if now - self._ticked >= _TICK_MS and stream_time < now <= stream_time + LIVE_MS:
            self._ticked = now
            await self._around.on_thread(self._standing.learner.tick, now)

    def _until_sync_ms(self) -> int:
        left = self._synced + self._around.sync_seconds - time.monotonic()
        return round(1000 * min(max(left, 0.001), 1.0))

    async def _publish_if_due(self, now: int) -> None:
        records = self._standing.records
        idle = records == self._synced_records
        interval = max(self._around.sync_seconds, 1.0) if idle else self._around.sync_seconds
        if time.monotonic() - self._synced < interval:
            return
        if not self._standing.learner.now and not self._input.is_at_end:
            # Scorers may serve what one has published who left no checkpoint: this would leave them with nothing.
            return
        self._synced, self._synced_records = time.monotonic(), records
        self._input.tell_lag(self._standing.offsets)
        await self._around.on_thread(self._publish, now, idle)

    def _publish(self, now: int, idle: bool) -> None:
        try:
            self._published.take(
                self._publisher.publish(self._around.channel, lambda whole: self._collecting.contents(whole, now))
            )
            self._collecting.observe()
        except (ChannelRefused, ChannelUnreachable) as error:
            # The rows stay touched, and go out with the next.
            if not self._complained:
                _LOGGER.warning("training: nothing is published: %s", error)
            self._complained = True
        else:
            if not idle:
                observe_stage("published", self._standing.learner.now, self._around.clock.now_ms())
            if self._complained:
                _LOGGER.info("training: publishes again")
            self._complained = False

    async def _write_if_due(self) -> None:
        training = self._around.settings.training
        records = self._standing.records - self._written_records
        letters = len(self._input.letters)
        is_long_ago = time.monotonic() - self._written >= training.checkpoint_seconds
        if records >= training.checkpoint_events or (records and is_long_ago) or letters >= _LETTERS:
            await self._write_checkpoint()

    async def _write_checkpoint(self) -> None:
        """Write what was learned, once Kafka has confirmed that nobody else leads."""
        standing = self._standing
        self._written, self._written_records = time.monotonic(), standing.records
        letters, self._input.letters = self._input.letters, []
        await within(2 * self._around.settings.kafka.session_seconds, self._confirm(letters))
        try:
            await self._around.on_thread(self._write)
        except CheckpointError as error:
            # The topics still hold everything: the next try is as far away as this one was.
            _LOGGER.error("training: %s", error)

    def _write(self) -> None:
        learner, offsets = self._standing.learner, self._standing.offsets
        examples = learner.lessons.examples
        name = self._around.checkpoints.write(self._epoch, examples, learner.parts(), offsets)
        _LOGGER.info("training: wrote %s, %d examples", name, examples)
