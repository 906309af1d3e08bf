"""What the trainer reads: all partitions of events and of examples, by time, and how far it has learned from them."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time
from stream_reco.labels import Example
from stream_reco.learner.example_codec import BadExample, decode_example
from topologies.client.consumer_metadata import partitions_when_known
from topologies.dead_letters.letter import DeadLetter, dead_letter
from topologies.messages.user_deletion import Deletion, decode_message
from topologies.trainer.checkpoints import Offsets
from topologies.trainer.merge_by_time import Merge

_LOGGER = logging.getLogger(__name__)
_SHORT = 500
"""With fewer records than that in hand a partition is read further."""
_AT_ONCE = 4000
_PATIENCE_SECONDS = 10.0
"""Whoever keeps all others waiting for so long is not waited for."""


@dataclass(frozen=True)
class Taken:
    """What one record holds; nothing, where that could not be read."""

    source: TopicPartition
    record: Any
    """As aiokafka gives it."""
    what: Event | Deletion | Example | None


class TrainingInput:
    """Reads with a consumer of its own, to which partitions are assigned by hand."""

    def __init__(self, consumer: AIOKafkaConsumer, events: str, examples: str, future_ms: int) -> None:
        """`events` and `examples` are the topics; events further ahead of the clock than `future_ms` are bad."""
        self._consumer, self._events, self._examples = consumer, events, examples
        self._future_ms = future_ms
        self._merge = Merge[TopicPartition, Taken]([])
        self._ended: set[TopicPartition] = set()
        self._waiting_since: float | None = None
        self.letters: list[DeadLetter] = []
        """Dead letters of examples that nobody has sent yet; bad events are labelling's to send."""

    async def begin(self, offsets: Offsets) -> None:
        """Stand at the `offsets`; at its oldest record in a partition that has none."""
        sources = [*await self._partitions(self._examples), *await self._partitions(self._events)]
        # An example goes before the event of its own time: its features are those before that event was counted.
        self._merge = Merge(sources)
        firsts, ends = await self._consumer.beginning_offsets(sources), await self._consumer.end_offsets(sources)
        self._consumer.assign(sources)
        for source in sources:
            wanted = offsets.get(source.topic, {}).get(source.partition)
            self._consumer.seek(source, _found(source, wanted, firsts[source], ends[source]))

    async def _partitions(self, topic: str) -> list[TopicPartition]:
        numbers = await partitions_when_known(self._consumer, topic)
        return [TopicPartition(topic, number) for number in sorted(numbers)]

    async def fetch(self, wait_ms: int, now: int) -> None:
        """Read on where little is in hand, for `wait_ms` at most; `now` is the wall clock in ms."""
        short = self._merge.short(_SHORT)
        if short:
            wait = wait_ms if self._merge.is_empty or not self._can_take(short) else 0
            for records in (await self._consumer.getmany(*short, timeout_ms=wait, max_records=_AT_ONCE)).values():
                self._put_all(records, now)
        self._ended = {source for source in self._merge.short(1) if await self._is_read(source)}
        behind = set(self._merge.short(1)) - self._ended
        if not behind or self._merge.is_empty:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > _PATIENCE_SECONDS:
            _LOGGER.warning("learning goes on without %s, which cannot be read", sorted(behind))
            self._ended |= behind

    def _can_take(self, short: Sequence[TopicPartition]) -> bool:
        return not set(self._merge.short(1)) & set(short) - self._ended

    async def _is_read(self, source: TopicPartition) -> bool:
        end = self._consumer.last_stable_offset(source)
        return end is not None and 0 <= end <= await self._consumer.position(source)

    def tell_lag(self, offsets: Offsets) -> None:
        """Tell how many records are written, and not learned from at these `offsets`."""
        for source in self._consumer.assignment():
            end, offset = self._consumer.last_stable_offset(source), offsets.get(source.topic, {}).get(source.partition)
            if end is not None and offset is not None:
                kind = "examples" if source.topic == self._examples else "events"
                metrics.WORK_LAG.labels("training", f"{kind}-{source.partition}").set(max(0, end - offset))

    def take(self, most: int) -> list[Taken]:
        """At most `most` records in their order, as far as it is known."""
        return [taken for _, taken in self._merge.take(most, self._ended.__contains__)]

    @property
    def is_at_end(self) -> bool:
        """Whether all is read, and all of it taken."""
        return self._merge.is_empty and len(self._ended) == len(self._merge.short(1)) > 0

    def _put_all(self, records: Sequence[Any], now: int) -> None:
        for record in records:
            source = TopicPartition(record.topic, record.partition)
            what = self._example(record, now) if record.topic == self._examples else self._event(record, now)
            self._merge.put(source, _time_of(what), Taken(source, record, what))

    def _event(self, record: Any, now: int) -> Event | Deletion | None:
        try:
            event = decode_message(record.value)
            if not isinstance(event, Deletion):
                check_time(event, now, self._future_ms)
        except BadEvent as bad:
            metrics.EVENTS_REJECTED.labels(bad.reason).inc()
            return None
        return event

    def _example(self, record: Any, now: int) -> Example | None:
        try:
            return decode_example(record.value or b"")
        except BadExample as bad:
            self.give_up(record, bad.reason, str(bad), now)
            return None

    def give_up(self, record: Any, reason: str, message: str, now: int) -> None:
        """Owe a dead letter for an example."""
        metrics.EXAMPLES_REJECTED.labels(reason).inc()
        self.letters.append(dead_letter(record, reason, message, now))


def _time_of(what: Event | Deletion | Example | None) -> int | None:
    if isinstance(what, Example):
        return what.label_time
    # A deletion's time is that of the clock, which an old log is far behind.
    return None if what is None or isinstance(what, Deletion) else what.timestamp


def _found(source: TopicPartition, wanted: int | None, first: int, end: int) -> int:
    """The offset to read from, where a partition holds those from `first` to before `end`."""
    if wanted is None:
        return first
    if wanted > end:
        _LOGGER.error(
            "partition %d of %s ends at offset %d, but was learned from up to %d: it was made anew, and is"
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
