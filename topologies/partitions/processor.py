"""What a kind of worker is: what it reads, what it makes of that, and what it remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiokafka import TopicPartition

from stream_reco.storage.rocksdb import Changes, RocksStore


class InputRecord(Protocol):
    """A message as it was read."""

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
    """A message to be sent; its key decides on the partition."""

    topic: str
    key: bytes | None
    value: bytes


class Processor(Protocol):
    """What is made of the records of one partition. It remembers in a store; nothing of it lasts before `commit`."""

    @property
    def is_behind(self) -> bool:
        """Whether time has to pass further, in another call of `advance`."""
        ...

    def process(self, records: Sequence[InputRecord], now: int) -> list[Output]:
        """Take records, which arrive at `now` (ms, wall clock); never raises for what strangers have written."""
        ...

    def advance(self, now: int, *, caught_up: bool) -> list[Output]:
        """Let time pass; `caught_up`: no record waits to be read, so that the wall clock may tell the time."""
        ...

    def prepare(self) -> Changes:
        """What the next `commit` will write to the store."""
        ...

    def commit(self, position: bytes) -> None:
        """Make last what `prepare` told."""
        ...

    def close(self) -> None:
        """Let go of what it uses besides the store."""
        ...


@dataclass(frozen=True)
class WorkerSpec:
    """What kind of work it is: its name, its topics, and what makes its processors.

    The name is that of its consumer group too. `input_topic` is what its workers share out; whoever has a partition of
    it reads that partition of each topic in `beside` too, before what came later. `state_topic` and those beside have
    as many partitions as `input_topic`.
    """

    name: str
    input_topic: str
    state_topic: str
    processor: Callable[[int, RocksStore], Processor]
    beside: tuple[str, ...] = ()

    def inputs(self, partition: int) -> list[TopicPartition]:
        """All that is read for one partition, that of `input_topic` first."""
        return [TopicPartition(topic, partition) for topic in (self.input_topic, *self.beside)]
