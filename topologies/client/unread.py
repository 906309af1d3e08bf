"""How much of a partition a consumer has not read yet."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer, TopicPartition


async def unread(consumer: AIOKafkaConsumer, part: TopicPartition) -> int | None:
    """Offsets between what `consumer`, which reads committed records, was given and the last stable one it knows of.

    0 exactly where every committed record was read, in an idle, an empty and a compacted partition too: the consumer's
    position goes past the markers of transactions, past aborted records and past what compaction took, which the offset
    after the last record does not. Before the end it counts these, so that it may be more than the records to come.
    None before the broker's first answer.
    """
    end: int | None = consumer.last_stable_offset(part)
    if end is None or end < 0:
        return None
    position: int = await consumer.position(part)
    return max(0, end - position)
