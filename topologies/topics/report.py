"""The report of `stream-reco topics` and `stream-reco doctor` on the topics."""

from __future__ import annotations

from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from stream_reco.config import Settings
from stream_reco.labels.settings import DAY_MS
from topologies.client.connection import with_admin
from topologies.topics.declaration import Topic, events_key
from topologies.topics.validation import Mismatch, create_absent, mismatches


@dataclass(frozen=True)
class TopicReport:
    """Topics created, and deviations from the declaration; a sentence for each."""

    created: list[str]
    warnings: list[str]
    problems: list[str]


async def topic_report(settings: Settings, timeout: float, *, create: bool) -> TopicReport:
    """Validate the topics, after creating missing ones if `create`.

    Raises `KafkaUnavailableError` after `timeout` seconds without a broker, `TopicsError` where Kafka refuses a topic.
    """
    key = events_key(settings.labels)
    made: list[Topic] = []

    async def look(admin: AIOKafkaAdminClient) -> list[Mismatch]:
        if create:
            made.extend(await create_absent(admin, settings.kafka, key))
        return await mismatches(admin, settings.kafka, key)

    found = await with_admin(settings.kafka, look, timeout)
    return TopicReport(
        [_described(topic) for topic in made],
        [each.text for each in found if not each.serious],
        [each.text for each in found if each.serious],
    )


def _described(topic: Topic) -> str:
    partitions = "1 partition" if topic.partitions == 1 else f"{topic.partitions} partitions"
    kept = "compacted" if topic.retention_ms is None else f"kept for {topic.retention_ms / DAY_MS:g} days"
    return f"{topic.name}: {partitions}, key: {topic.key}, {kept}"
