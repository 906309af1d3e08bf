"""How much a consumer has not read: 0 where nothing is left, whatever control records a real broker keeps behind it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic, RecordsToDelete

from stream_reco import metrics
from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Action, encode
from stream_reco.labels import Example
from tests.integration import kafka_log
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import administration
from topologies.client.unread import unread
from topologies.trainer.checkpoints import Offsets
from topologies.trainer.input import TrainingInput

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

START = 1_700_000_000_000
COMPACTED = {"cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.0"}


@asynccontextmanager
async def transactions(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(**producer_arguments(kafka, "writer"))
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


@asynccontextmanager
async def reading(kafka: KafkaSettings, *parts: TopicPartition) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(**consumer_arguments(kafka, gaps=False))
    await consumer.start()
    try:
        if parts:
            consumer.assign(list(parts))
        for part in parts:
            consumer.seek(part, 0)
        yield consumer
    finally:
        await consumer.stop()


async def create(kafka: KafkaSettings, name: str, config: dict[str, str] | None = None) -> TopicPartition:
    async with administration(kafka) as admin:
        await admin.create_topics([NewTopic(f"{kafka.prefix}.{name}", 1, 1, topic_configs=config or {})])
    return TopicPartition(f"{kafka.prefix}.{name}", 0)


async def write(producer: AIOKafkaProducer, part: TopicPartition, values: list[bytes], key: bytes = b"key") -> None:
    for value in values:
        await producer.send(part.topic, value, key, partition=0)


async def read_all(consumer: AIOKafkaConsumer, part: TopicPartition, seconds: float = 20.0) -> list[bytes]:
    """Values, until nothing is unread."""
    found: list[bytes] = []
    deadline = time.monotonic() + seconds
    while await unread(consumer, part) != 0:
        assert time.monotonic() < deadline, (await unread(consumer, part), found)
        records = await consumer.getmany(part, timeout_ms=100)
        found += [record.value for record in records.get(part, [])]
    return found


def test_markers_and_aborted_records_are_not_unread(kafka_settings: KafkaSettings) -> None:
    async def story() -> None:
        part = await create(kafka_settings, "unread")
        async with transactions(kafka_settings) as producer, reading(kafka_settings, part) as consumer:
            assert await read_all(consumer, part) == [], "an empty partition"
            async with producer.transaction():
                await write(producer, part, [b"1", b"2", b"3"])
            while not (first := (await consumer.getmany(part, timeout_ms=100, max_records=1)).get(part)):
                pass
            assert first[0].value == b"1"
            assert (await unread(consumer, part) or 0) >= 2, "what is to come is not read"
            assert await read_all(consumer, part) == [b"2", b"3"]
            end = (await consumer.end_offsets([part]))[part]
            assert end == 4, "behind the last record lies the marker"
            await producer.begin_transaction()
            await write(producer, part, [b"aborted"] * 5)
            await producer.flush()
            await producer.abort_transaction()
            while (await consumer.end_offsets([part]))[part] < 10:
                await asyncio.sleep(0.05)
            await consumer.getmany(part, timeout_ms=500)
            assert await read_all(consumer, part) == []
            await producer.begin_transaction()
            await write(producer, part, [b"not yet"])
            await producer.flush()
            assert await consumer.getmany(part, timeout_ms=500) == {}
            assert await unread(consumer, part) == 0, "what is not committed cannot be read"
            await producer.commit_transaction()
            while not (last := (await consumer.getmany(part, timeout_ms=100)).get(part)):
                pass
            assert [record.value for record in last] == [b"not yet"]
            assert await read_all(consumer, part) == []

    asyncio.run(story())


def test_what_compaction_took_is_not_unread(kafka_settings: KafkaSettings) -> None:
    async def story() -> None:
        part = await create(kafka_settings, "compacted", COMPACTED)
        written = [b"%d" % number for number in range(8)]
        async with transactions(kafka_settings) as producer:
            for value in written:
                async with producer.transaction():
                    await write(producer, part, [value])
                await asyncio.sleep(0.12)  # so that each has a segment of its own, which can be compacted
        deadline = time.monotonic() + 30
        while True:
            async with reading(kafka_settings, part) as consumer:
                found = await read_all(consumer, part)
                assert (await consumer.end_offsets([part]))[part] >= 2 * len(written)
            assert found[-1] == written[-1]
            if len(found) < len(written) // 2:
                return
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.2)

    asyncio.run(story())


def example(number: int) -> bytes:
    time_ms = START + number
    return msgspec.json.encode(
        Example(
            user_id="u",
            item_id=number,
            label=1,
            weight=1.0,
            reason="unprompted",
            event_time=time_ms,
            label_time=time_ms,
            action="click",
        )
    )


def lag(source: str) -> float | None:
    labels = {"work": "training", "partition": source}
    return metrics.REGISTRY.get_sample_value("stream_reco_work_lag_records", labels)


def test_training_counts_what_it_holds_and_nothing_where_all_is_learned(kafka_settings: KafkaSettings) -> None:
    async def story() -> None:
        events, examples = await create(kafka_settings, "events"), await create(kafka_settings, "examples")
        click = Action(user_id="u", item_id=1, action="click", event_id="e", timestamp=START + 10**6)
        await kafka_log.write(kafka_settings, [(b"u", encode(click))])
        async with transactions(kafka_settings) as producer:
            for first in (0, 10):
                async with producer.transaction():
                    await write(producer, examples, [example(number) for number in range(first, first + 10)])
        async with reading(kafka_settings) as consumer:
            source = TrainingInput(consumer, events.topic, examples.topic, 300_000)
            await source.begin({})
            offsets: Offsets = {}
            seen = set[float | None]()
            while not source.is_at_end:
                await source.fetch(100, START)
                for record in source.take(5):
                    offsets.setdefault(record.source.topic, {})[record.source.partition] = record.message.offset + 1
                await source.report_lag()
                seen.add(lag("examples-0"))
            assert {5.0, 10.0, 15.0} & seen, "some were in memory, and were counted"
            await source.report_lag()
            assert (lag("examples-0"), lag("events-0")) == (0, 0)
            ends = await consumer.end_offsets([events, examples])
            assert offsets[examples.topic][0] < ends[examples] == 22
            await source.skip_markers(offsets)
            assert offsets == {examples.topic: {0: 22}, events.topic: {0: ends[events]}}
        async with administration(kafka_settings) as admin:
            await admin.delete_records({examples: RecordsToDelete(before_offset=22)})
        missed = metrics.REGISTRY.get_sample_value("stream_reco_work_missed_total", {"work": "training"})
        async with reading(kafka_settings) as consumer:
            await TrainingInput(consumer, events.topic, examples.topic, 300_000).begin(offsets)
        assert metrics.REGISTRY.get_sample_value("stream_reco_work_missed_total", {"work": "training"}) == missed

    asyncio.run(story())
