"""The log by which trainers of one model meet: each adds what it learned, and all apply all of it in its order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco.model.spec import settings_digest
from stream_reco.train.exchange import ModelExchange
from topologies.client.configuration import consumer_arguments
from topologies.client.connection import close, connect
from topologies.messages.contribution import (
    BadContributionError,
    Contribution,
    contributions_of,
    decode_contribution,
)
from topologies.trainer.dependencies import TrainerDependencies
from topologies.trainer.epoch import Epoch
from topologies.trainer.standby import LearnerAtOffsets

_LOGGER = logging.getLogger(__name__)
_AT_ONCE = 64
"""Messages of the log that are put together at once where it is read from afar: at most some 64 MB."""
_WAIT_MS = 200


class ExchangeLog:
    """Holds a learner's position in the log, and the model as all trainers have it there."""

    def __init__(
        self, dependencies: TrainerDependencies, epoch: Epoch, learner: LearnerAtOffsets, consumer: AIOKafkaConsumer
    ) -> None:
        self._dependencies, self._epoch, self._learner, self._consumer = dependencies, epoch, learner, consumer
        self._topic = dependencies.topics.trainer_exchange.name
        self._source = TopicPartition(self._topic, 0)
        training = dependencies.settings.training
        self._number = training.trainer
        trainer = learner.learner.queue.trainer
        self._model = settings_digest(trainer.model)
        self._model_exchange = ModelExchange(trainer, self._number, training.trainers)
        self._records = learner.records

    @classmethod
    async def open(
        cls, stack: AsyncExitStack, dependencies: TrainerDependencies, epoch: Epoch, learner: LearnerAtOffsets
    ) -> ExchangeLog:
        """Read the log from where the checkpoint was to its end; closed with `stack`.

        What this trainer had added after its checkpoint is applied with the rest, and the examples of it are not
        learned from again.
        """
        kafka = dependencies.settings.kafka
        consumer = await connect(kafka, lambda: AIOKafkaConsumer(**consumer_arguments(kafka, gaps=False)))
        stack.push_async_callback(close, consumer)
        log = cls(dependencies, epoch, learner, consumer)
        await log._begin()
        return log

    async def _begin(self) -> None:
        consumer, source = self._consumer, self._source
        consumer.assign([source])
        end = (await consumer.end_offsets([source]))[source]
        position = self._learner.offsets.setdefault(self._topic, {}).setdefault(0, end)
        consumer.seek(source, position)
        while await consumer.position(source) < end:
            found = await consumer.getmany(source, timeout_ms=_WAIT_MS, max_records=_AT_ONCE)
            contributions = [decode_contribution(record.value) for record in found.get(source, ())]
            await self._dependencies.on_thread(self._apply, contributions, True)
        await self._moved()

    async def meet(self) -> None:
        """Add what was learned since the last time, and apply what all have added."""
        messages = await self._dependencies.on_thread(self._learned)
        if messages:
            await self._epoch.add(self._topic, messages)
        await self._dependencies.on_thread(self._apply, await self._read(bool(messages)), False)
        await self._moved()

    def _learned(self) -> list[bytes]:
        """Messages of what was learned; examples that wait are learned from before."""
        self._learner.learner.queue.flush()
        learned = self._model_exchange.deltas()
        records, self._records = self._records, self._learner.records
        if learned.is_empty and records == self._learner.records:
            return []
        topics = self._dependencies.topics
        offsets = self._learner.own_offsets(topics.events.name, topics.examples.name)
        return list(contributions_of(self._number, self._epoch.number, self._model, learned, offsets))

    async def _read(self, until_own: bool) -> list[Contribution]:
        """What the log has, up to the last part of what was just added if `until_own`.

        Another trainer that died amid a transaction holds it up until that has timed out.
        """
        found: list[Contribution] = []
        deadline = time.monotonic() + 3 * self._dependencies.settings.kafka.session_seconds
        while True:
            records = await self._consumer.getmany(self._source, timeout_ms=_WAIT_MS if until_own else 0)
            read = [decode_contribution(record.value) for record in records.get(self._source, ())]
            found += read
            until_own = until_own and not any(self._is_own_end(one) for one in read)
            if not until_own:
                return found
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._topic} does not deliver what was just added to it")
            await asyncio.sleep(0)

    def _is_own_end(self, one: Contribution) -> bool:
        return (one.trainer, one.epoch) == (self._number, self._epoch.number) and one.offsets is not None

    def _apply(self, contributions: Iterable[Contribution], is_behind: bool) -> None:
        """Put together what was added; `is_behind`: what is this trainer's own was added before its start."""
        contributions = list(contributions)
        for one in contributions:
            if one.model != self._model:
                raise BadContributionError(
                    f"trainer {one.trainer} has another model than trainer {self._number}: they need one configuration"
                )
        learner = self._learner
        self._model_exchange.merge([one.deltas() for one in contributions], learner.learner.now)
        examples = self._dependencies.topics.examples.name
        for one in contributions:
            offsets = one.offsets or {}
            if is_behind and one.trainer == self._number:
                learner.replay_until(offsets)
            elif one.trainer != self._number:
                learner.note_offsets(examples, offsets.get(examples, {}), own=is_behind)

    async def _moved(self) -> None:
        self._learner.offsets[self._topic][0] = await self._consumer.position(self._source)
