"""The time of one trainer as the leader: it takes over, runs the training loop, and leaves a checkpoint behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream_reco import metrics
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import close, connect
from topologies.trainer.checkpoint_schedule import CheckpointSchedule
from topologies.trainer.checkpoints import Offsets
from topologies.trainer.dependencies import NAME, TrainerDependencies
from topologies.trainer.epoch import begin_epoch
from topologies.trainer.input import TrainingInput
from topologies.trainer.model_publisher import ModelPublisher
from topologies.trainer.publish_schedule import PublishSchedule
from topologies.trainer.training_loop import TrainingLoop

_LOGGER = logging.getLogger(__name__)


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
            learner = await dependencies.on_thread(dependencies.standby.take)
            training_input = await self._input(stack, learner.offsets)
            publisher = ModelPublisher(dependencies, learner, epoch.number)
            publishing = PublishSchedule(dependencies, learner, training_input, publisher)
            checkpoints = CheckpointSchedule(dependencies, epoch, learner, training_input)
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
        producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka, NAME)))
        stack.push_async_callback(close, producer)
        return producer

    async def _input(self, stack: AsyncExitStack, offsets: Offsets) -> TrainingInput:
        settings, topics = self._dependencies.settings, self._dependencies.topics
        consumer = await connect(
            settings.kafka, lambda: AIOKafkaConsumer(**consumer_arguments(settings.kafka, gaps=False))
        )
        stack.push_async_callback(close, consumer)
        future_ms = round(settings.serve.future_seconds * 1000)
        training_input = TrainingInput(consumer, topics.events.name, topics.examples.name, future_ms)
        await training_input.begin(offsets)
        return training_input
