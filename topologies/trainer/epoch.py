"""The epoch of one leader: a number higher than any before, and transactions that only the current leader commits."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaProducer

from topologies.client.read_to_end import read_to_end
from topologies.dead_letters.letter import DeadLetter, encode_letter
from topologies.trainer.dependencies import TrainerDependencies

_KEY = b"epoch"
"""Key of the record that the compacted topic `trainer-leader` keeps of the trainer that publishes."""


class _EpochRecord(msgspec.Struct, frozen=True):
    epoch: int


class Epoch:
    """Written to Kafka with a transactional producer, whose start has fenced the previous leader's."""

    def __init__(self, number: int, producer: AIOKafkaProducer, topic: str, dead_letters: str, key: bytes) -> None:
        """`topic` keeps the epoch under `key`, `dead_letters` is the topic of the letters that `confirm` sends."""
        self.number, self._key = number, key
        self._producer, self._topic, self._dead_letters = producer, topic, dead_letters

    async def confirm(self, letters: Sequence[DeadLetter] = ()) -> None:
        """Write the epoch and dead letters in one transaction, which only the leader can commit.

        Raises ProducerFenced where another trainer has taken over.
        """
        async with self._producer.transaction():
            value = msgspec.json.encode(_EpochRecord(self.number))
            sending = [await self._producer.send(self._topic, value, self._key, partition=0)]
            sending += [
                await self._producer.send(self._dead_letters, encode_letter(letter), letter.key) for letter in letters
            ]
            # The client commits even where a message failed, so failures must be raised before.
            for each in sending:
                await each

    async def add(self, topic: str, messages: Sequence[bytes]) -> None:
        """Add all of the messages to the only partition of a topic, or none.

        Raises ProducerFenced where another trainer has taken over.
        """
        async with self._producer.transaction():
            for each in [await self._producer.send(topic, message, partition=0) for message in messages]:
                await each


async def begin_epoch(dependencies: TrainerDependencies, producer: AIOKafkaProducer) -> Epoch:
    """The epoch after the highest that the topic or the checkpoints know, written to the topic.

    Raises ProducerFenced where another trainer has taken over.
    """
    topics = dependencies.topics
    newest = dependencies.checkpoints.last_epoch
    number = dependencies.settings.training.trainer
    key = _KEY if number == 0 else b"%s-%d" % (_KEY, number)
    async for records in read_to_end(dependencies.settings.kafka, topics.trainer_leader.name):
        for record in records:
            if record.key == key and record.value is not None:
                newest = max(newest, msgspec.json.decode(record.value, type=_EpochRecord).epoch)
    epoch = Epoch(newest + 1, producer, topics.trainer_leader.name, topics.dead_letters.name, key)
    await epoch.confirm()
    return epoch
