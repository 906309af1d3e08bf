"""Which partitions a topic has, asked of a consumer that is not subscribed to it.

aiokafka has no public way for it: `partitions_for_topic` knows only the topics of the subscription, and `topics`
returns names alone. Hence the upper bound of aiokafka in pyproject.toml.
"""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer


async def partitions_when_known(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The partitions of a topic, as soon as the consumer knows of any.

    Raises UnknownTopicOrPartitionError where it hears of none within its `request_timeout_ms`.
    """
    partitions: set[int] = await consumer._client._wait_on_metadata(topic)
    return partitions


async def partitions_now(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """The partitions that Kafka names when it is asked now, empty for a topic that is not there.

    Raises KafkaError where no broker answers.
    """
    return (await consumer._client.fetch_all_metadata()).partitions_for_topic(topic) or set()
