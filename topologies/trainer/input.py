"""What the trainer reads: all partitions of events and of examples, merged by time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time
from stream_reco.labels import Example
from stream_reco.learner.example_codec import BadExample, decode_example
from topologies.client.consumer_metadata import partitions_when_known
from topologies.client.unread import unread
from topologies.dead_letters.letter import DeadLetter, dead_letter
from topologies.messages.user_deletion import Deletion, decode_message
from topologies.trainer.checkpoints import Offsets
from topologies.trainer.merge_by_time import Merge

_LOGGER = logging.getLogger(__name__)
_LOW_RECORDS = 500
"""A partition is read further where it has fewer records than that in memory."""
_FETCH_RECORDS = 4000
"""At most in one read."""
_STALL_SECONDS = 10.0
"""A partition that has held up all others for this long is skipped until it can be read."""


@dataclass(frozen=True)
class TrainingRecord:
    """One message of the events or examples."""

    source: TopicPartition
    message: Any
    """`aiokafka.ConsumerRecord`."""
    content: Event | Deletion | Example | None
    """None where it could not be decoded."""


class TrainingInput:
    """Reads with a consumer of its own, to which partitions are assigned by hand."""

    def __init__(
        self,
        consumer: AIOKafkaConsumer,
        events: str,
        examples: str,
        future_ms: int,
        owns: Callable[[int], bool] = lambda _: True,
    ) -> None:
        """`events` and `examples` are the topics; events further ahead of the clock than `future_ms` are bad.

        `owns` says of each partition whether its examples are read.
        """
        self._owns = owns
        self._consumer, self._events, self._examples = consumer, events, examples
        self._future_ms = future_ms
        self._merge = Merge[TopicPartition, TrainingRecord]([])
        self._ended: set[TopicPartition] = set()
        self._stalled_since: float | None = None
        self.dead_letters: list[DeadLetter] = []
        """Of bad examples, not sent yet; labelling sends those of bad events."""

    async def begin(self, offsets: Offsets) -> None:
        """Seek to the `offsets`, in partitions without one to the oldest record."""
        examples = [one for one in await self._partitions(self._examples) if self._owns(one.partition)]
        sources = [*examples, *await self._partitions(self._events)]
        # An example goes before the event of its own time: its features are those before that event was counted.
        self._merge = Merge(sources)
        firsts, ends = await self._consumer.beginning_offsets(sources), await self._consumer.end_offsets(sources)
        self._consumer.assign(sources)
        for source in sources:
            wanted = offsets.get(source.topic, {}).get(source.partition)
            self._consumer.seek(source, _start_offset(source, wanted, firsts[source], ends[source]))

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        numbers = await partitions_when_known(self._consumer, topic)
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    async def fetch(self, wait_ms: int, now: int) -> None:
        """Read where few records are in memory, for `wait_ms` at most; `now` is the wall clock in ms."""
        short = self._merge.short(_LOW_RECORDS)
        if short:
            wait = wait_ms if self._merge.is_empty or not self._can_take(short) else 0
            for records in (await self._consumer.getmany(*short, timeout_ms=wait, max_records=_FETCH_RECORDS)).values():
                self._put_all(records, now)
        self._ended = {source for source in self._merge.short(1) if await self._is_read(source)}
        behind = set(self._merge.short(1)) - self._ended
        if not behind or self._merge.is_empty:
            self._stalled_since = None
        elif self._stalled_since is None:
            self._stalled_since = time.monotonic()
        elif time.monotonic() - self._stalled_since > _STALL_SECONDS:
            _LOGGER.warning("training: continues without %s, which cannot be read", sorted(behind))
            self._ended |= behind

    def _can_take(self, short: Sequence[TopicPartition]) -> bool:
        return not set(self._merge.short(1)) & set(short) - self._ended

    async def _is_read(self, source: TopicPartition) -> bool:
        return await unread(self._consumer, source) == 0

    async def report_lag(self) -> None:
        """Set the gauges of what is not learned from yet: the records in memory, and what lies in Kafka behind them."""
        for source in self._consumer.assignment():
            lag = await unread(self._consumer, source)
            if lag is not None:
                kind = "examples" if source.topic == self._examples else "events"
                metrics.WORK_LAG.labels("training", f"{kind}-{source.partition}").set(self._merge.count(source) + lag)

    async def skip_markers(self, offsets: Offsets) -> None:
        """Move `offsets`, up to which was learned, past markers of transactions that follow them.

        Otherwise retention, which deletes the last records of an idle topic with the marker, would seem to have deleted
        a record that was not learned from.
        """
        for source in self._merge.short(1):
            learned = offsets.get(source.topic, {})
            if source.partition in learned:
                position = await self._consumer.position(source)
                learned[source.partition] = max(learned[source.partition], position)

    def take(self, most: int) -> list[TrainingRecord]:
        """At most `most` records by time, none that a record not read yet might precede."""
        return [record for _, record in self._merge.take(most, self._ended.__contains__)]

    @property
    def is_at_end(self) -> bool:
        """Whether all records were read and taken."""
        return self._merge.is_empty and len(self._ended) == len(self._merge.short(1)) > 0

    def _put_all(self, messages: Sequence[Any], now: int) -> None:
        for message in messages:
            source = TopicPartition(message.topic, message.partition)
            content = self._example(message, now) if message.topic == self._examples else self._event(message, now)
            self._merge.put(source, _time_of(content), TrainingRecord(source, message, content))

    def _event(self, message: Any, now: int) -> Event | Deletion | None:
        try:
            event = decode_message(message.value)
            if not isinstance(event, Deletion):
                check_time(event, now, self._future_ms)
        except BadEvent as bad:
            metrics.EVENTS_REJECTED.labels(bad.reason).inc()
            return None
        return event

    def _example(self, message: Any, now: int) -> Example | None:
        try:
            return decode_example(message.value or b"")
        except BadExample as bad:
            self.give_up(message, bad.reason, str(bad), now)
            return None

    def give_up(self, message: Any, reason: str, text: str, now: int) -> None:
        """Make a dead letter of an example; `text` says why, for people."""
        metrics.EXAMPLES_REJECTED.labels(reason).inc()
        self.dead_letters.append(dead_letter(message, reason, text, now))

    def take_dead_letters(self) -> list[DeadLetter]:
        """Hand over the dead letters that were not sent yet."""
        letters, self.dead_letters = self.dead_letters, []
        return letters


def _time_of(content: Event | Deletion | Example | None) -> int | None:
    if isinstance(content, Example):
        return content.label_time
    # A deletion is stamped by the wall clock, which an old log is far behind.
    return None if content is None or isinstance(content, Deletion) else content.timestamp


def _start_offset(source: TopicPartition, wanted: int | None, first: int, end: int) -> int:
    """The offset to read from, where a partition holds those from `first` to before `end`."""
    if wanted is None:
        return first
    if wanted > end:
        _LOGGER.error(
            "partition %d of %s ends at offset %d, but was learned from up to %d: it was recreated, and is"
            " read from its beginning",
            source.partition,
            source.topic,
            end,
            wanted,
        )
        return first
    if wanted < first:
        _LOGGER.error(
            "%d records of partition %d of %s were deleted before they were learned from (offsets %d to %d):"
            " the topic's retention is shorter than the trainer was away",
            first - wanted,
            source.partition,
            source.topic,
            wanted,
            first - 1,
        )
        metrics.WORK_MISSED.labels("training").inc(first - wanted)
    return max(wanted, first)
