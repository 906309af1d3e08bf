"""The interface of a kind of worker: its topics, its processor of records, and the state that it keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import TopicPartition

from stream_reco.storage.rocksdb import Changes, RocksStore


class InputRecord(Protocol):
    """A message as aiokafka gives it (`aiokafka.ConsumerRecord`)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...


@dataclass(frozen=True)
class Output:
    """A message to send; its key determines the partition."""

    topic: str
    key: bytes | None
    value: bytes


class Processor(Protocol):
    """Turns the records of one partition into messages; its state, in a store, is durable from `commit` on."""

    @property
    def is_behind(self) -> bool:
        """Whether `advance` has to be called again to reach the present."""
        ...

    def process(self, records: Sequence[InputRecord], now: int) -> list[Output]:
        """Process records, which arrive at `now` (ms, wall clock); never raises because of a record's content."""
        ...

    def advance(self, now: int, *, caught_up: bool) -> list[Output]:
        """Let time pass; `caught_up`: no record is left to read, so that the wall clock may move stream time."""
        ...

    def prepare(self) -> Changes:
        """What the next `commit` will write to the store."""
        ...

    def commit(self, position: bytes) -> None:
        """Make durable what `prepare` returned; `position` is stored with it."""
        ...

    def close(self) -> None:
        """Release what it uses besides the store."""
        ...


@dataclass(frozen=True)
class WorkerSpec:
    """Defines a kind of worker: its name, its topics, and the factory of its processors.

    The name is also that of its consumer group. Its workers share the partitions of `input_topic`. Who is assigned one
    also reads that partition of each of the `side_topics`, whose records come before later ones of `input_topic`. The
    changelog topic and the side topics have as many partitions as `input_topic`.
    """

    name: str
    input_topic: str
    changelog_topic: str
    processor: Callable[[int, RocksStore], Processor]
    side_topics: tuple[str, ...] = ()

    def inputs(self, partition: int) -> list[TopicPartition]:
        """All topic partitions that are read for one partition, that of `input_topic` first."""
        return [TopicPartition(topic, partition) for topic in (self.input_topic, *self.side_topics)]
