"""Topics of one Kafka written down, and made again in another one with every message at its offset.

A state names offsets of its input, and a trainer's checkpoint those of two topics, so that offsets must not change.
Where one has no message stood a transaction's marker, or what was aborted; the same is put there again.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

Log = dict[str, Any]
"""By the names `topics` (partitions and configuration), `messages`, `ends` and `committed`, ready for JSON."""
_POLL_MS = 1_000


async def dump(bootstrap: str, topics: Mapping[str, tuple[int, dict[str, str]]], groups: Sequence[str]) -> Log:
    """All committed messages of topics (partitions and configuration by name), and what groups have committed."""
    parts = [TopicPartition(name, number) for name, (count, _) in topics.items() for number in range(count)]
    messages: list[list[Any]] = []
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed") as consumer:
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        for part, first in (await consumer.beginning_offsets(parts)).items():
            consumer.seek(part, first)
        while any([await consumer.position(part) < ends[part] for part in parts]):
            for part, records in (await consumer.getmany(timeout_ms=_POLL_MS)).items():
                messages += [
                    [part.topic, part.partition, record.offset, _text(record.key), _text(record.value)]
                    for record in records
                ]
                assert not any(record.headers for record in records), "headers are not written down"
    return {
        "topics": {name: list(declared) for name, declared in topics.items()},
        "messages": sorted(messages, key=lambda message: message[:3]),
        "ends": [[part.topic, part.partition, end] for part, end in sorted(ends.items())],
        "committed": {group: await _committed(bootstrap, group, parts) for group in groups},
    }


async def _committed(bootstrap: str, group: str, parts: Sequence[TopicPartition]) -> list[list[Any]]:
    async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False) as consumer:
        consumer.assign(parts)
        found = [(part, await consumer.committed(part)) for part in parts]
    return [[part.topic, part.partition, offset] for part, offset in found if offset is not None]


async def restore(bootstrap: str, log: Log) -> None:
    """Make the topics, and put every message where it was."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics(
            [NewTopic(name, count, 1, topic_configs=configs) for name, (count, configs) in log["topics"].items()]
        )
    finally:
        await admin.close()
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=5) as plain:
        transactional = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id="restore", linger_ms=5)
        async with transactional:
            for topic, number, end in log["ends"]:
                messages = [message for message in log["messages"] if message[:2] == [topic, number]]
                await _restore_partition((plain, transactional), TopicPartition(topic, number), messages, end)
    for group, offsets in log["committed"].items():
        async with AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False) as consumer:
            found = {TopicPartition(topic, number): OffsetAndMetadata(at, "") for topic, number, at in offsets}
            consumer.assign(list(found))
            await consumer.commit(found)


async def _restore_partition(
    producers: tuple[AIOKafkaProducer, AIOKafkaProducer], part: TopicPartition, messages: list[list[Any]], end: int
) -> None:
    plain, transactional = producers
    first = messages[0][2] if messages else end
    await _fill(transactional, part, first)
    for run, gap in _runs(messages, end):
        if gap == 1:
            async with transactional.transaction():
                await _send(transactional, part, run)
        else:
            await _send(plain, part, run)
            await _fill(transactional, part, gap)


async def _fill(transactional: AIOKafkaProducer, part: TopicPartition, count: int) -> None:
    """Take so many offsets for nothing: those of aborted messages, and of the marker that aborts them."""
    assert count != 1, "a marker alone cannot be written"
    if count:
        await transactional.begin_transaction()
        for _ in range(count - 1):
            await transactional.send_and_wait(part.topic, b"aborted", b"aborted", partition=part.partition)
        await transactional.abort_transaction()


async def _send(producer: AIOKafkaProducer, part: TopicPartition, run: list[list[Any]]) -> None:
    sending = [
        await producer.send(part.topic, _bytes(value), _bytes(key), partition=part.partition) for *_, key, value in run
    ]
    for message, sent in zip(run, sending, strict=True):
        assert (await sent).offset == message[2], "it must lie where it was"


def _runs(messages: list[list[Any]], end: int) -> list[tuple[list[list[Any]], int]]:
    """Messages whose offsets follow each other, with the count of offsets behind them that have no message."""
    offsets = [message[2] for message in messages]
    runs: list[tuple[list[list[Any]], int]] = []
    run: list[list[Any]] = []
    for message, (offset, following) in zip(messages, pairwise([*offsets, end]), strict=True):
        run.append(message)
        gap = following - offset - 1
        if gap or offset == offsets[-1]:
            runs.append((run, gap))
            run = []
    return runs


def _text(data: bytes | None) -> str | None:
    return None if data is None else base64.b64encode(data).decode()


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)
