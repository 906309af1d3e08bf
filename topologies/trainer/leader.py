"""The time of one trainer as the leader: it takes over, runs the training loop, and leaves a checkpoint behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_reco import metrics
from topologies.client.cancellation import pause
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import close, connect
from topologies.trainer.checkpoint_schedule import CheckpointSchedule
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.epoch import Epoch, begin_epoch
from topologies.trainer.exchange_log import ExchangeLog
from topologies.trainer.input import TrainingInput
from topologies.trainer.model_publisher import ModelPublisher
from topologies.trainer.publish_schedule import PublishSchedule
from topologies.trainer.standby import LearnerAtOffsets
from topologies.trainer.training_loop import TrainingLoop

_LOGGER = logging.getLogger(__name__)
_WAIT_SECONDS = 1.0
"""How often a trainer looks whether the one that publishes has left a checkpoint to begin with."""


class Leader:
    """Works from `run` until `ending`; where it fails, the next leader begins with the last checkpoint."""

    def __init__(self, dependencies: TrainerDependencies, assigned: asyncio.Event, ending: asyncio.Event) -> None:
        """While `assigned` is not set it pauses: the group is deciding who leads."""
        self._dependencies, self._assigned, self._ending = dependencies, assigned, ending

    async def run(self, on_epoch: Callable[[int], None]) -> None:
        """Take over, call `on_epoch` with the epoch's number, work, and leave a checkpoint behind.

        Raises ProducerFenced where another trainer has taken over.
        """
        dependencies = self._dependencies
        async with AsyncExitStack() as stack:
            epoch = await begin_epoch(dependencies, await self._producer(stack))
            on_epoch(epoch.number)
            learner = await self._learner()
            if learner is None:
                return
            is_new = self._topic not in learner.offsets
            exchange = await self._exchange(stack, epoch, learner)
            training_input = await self._input(stack, learner)
            publisher = ModelPublisher(dependencies, learner, epoch.number)
            publishing = PublishSchedule(dependencies, learner, training_input, publisher, exchange)
            checkpoints = CheckpointSchedule(dependencies, epoch, learner, training_input, exchange)
            if exchange is not None and is_new:
                # Trainers of other numbers begin with it.
                await checkpoints.write()
            _LOGGER.info("training: leads in epoch %d, after %d examples", epoch.number, learner.examples)
            metrics.TRAINER_EPOCH.set(epoch.number)
            stack.callback(metrics.TRAINER_EPOCH.set, 0)
            # The next leader reports its own.
            stack.callback(metrics.PROGRESSIVE.clear)
            stack.callback(metrics.CALIBRATION_BY_AGE.clear)
            loop = TrainingLoop(dependencies, learner, training_input, publishing, checkpoints)
            await loop.run(self._assigned, self._ending)
            await checkpoints.write_last()

    async def _producer(self, stack: AsyncExitStack) -> AIOKafkaProducer:
        """As it starts, it fences the previous leader: nothing of that one's is committed to Kafka any more."""
        kafka = self._dependencies.settings.kafka
        producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka, self._dependencies.group)))
        stack.push_async_callback(close, producer)
        return producer

    @property
    def _topic(self) -> str:
        return self._dependencies.topics.trainer_exchange.name

    async def _learner(self) -> LearnerAtOffsets | None:
        """That of the newest checkpoint, waited for unless this trainer publishes; None where `ending` was set first.

        Only the one that publishes begins with nothing, so that all begin with the same.
        """
        training = self._dependencies.settings.training
        while not self._ending.is_set():
            learner = await self._dependencies.on_thread(self._dependencies.standby.take)
            if training.trainer == 0 or self._topic in learner.offsets:
                return learner
            await pause(self._ending, _WAIT_SECONDS)
        return None

    async def _exchange(self, stack: AsyncExitStack, epoch: Epoch, learner: LearnerAtOffsets) -> ExchangeLog | None:
        """How trainers meet, where there are several."""
        if self._dependencies.settings.training.trainers > 1:
            return await ExchangeLog.open(stack, self._dependencies, epoch, learner)
        # Where others join later, what was added up to here is no part of what this trainer has learned.
        learner.offsets.pop(self._topic, None)
        return None

    async def _input(self, stack: AsyncExitStack, learner: LearnerAtOffsets) -> TrainingInput:
        settings, topics = self._dependencies.settings, self._dependencies.topics
        consumer = await connect(
            settings.kafka, lambda: AIOKafkaConsumer(**consumer_arguments(settings.kafka, gaps=False))
        )
        stack.push_async_callback(close, consumer)
        future_ms = round(settings.serve.future_seconds * 1000)
        training_input = TrainingInput(consumer, topics.events.name, topics.examples.name, future_ms, learner.owns)
        await training_input.begin(learner.offsets)
        return training_input
