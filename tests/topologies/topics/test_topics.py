"""The topics against a real Kafka: made once, held to their declaration, and every difference named."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from stream_reco.config.servers import KafkaSettings
from stream_reco.labels.settings import LabelSettings
from topologies.client.connection import administration
from topologies.topics.declaration import EventsKey, Topic, declared_topics, events_key
from topologies.topics.registry import declared_keys
from topologies.topics.validation import TopicsError, create_absent, mismatches, present_topics, require

pytestmark = pytest.mark.kafka
T = TypeVar("T")


def ask(kafka: KafkaSettings, question: Callable[[AIOKafkaAdminClient], Awaitable[T]]) -> T:
    async def asked() -> T:
        async with administration(kafka, timeout=20) as admin:
            return await question(admin)

    return asyncio.run(asked())


def create(kafka: KafkaSettings, key: EventsKey = "user_id") -> list[Topic]:
    return ask(kafka, lambda admin: create_absent(admin, kafka, key))


def serious(kafka: KafkaSettings, key: EventsKey = "user_id") -> list[str]:
    return [each.text for each in ask(kafka, lambda admin: mismatches(admin, kafka, key)) if each.serious]


def comforts(kafka: KafkaSettings) -> list[str]:
    return [each.text for each in ask(kafka, lambda admin: mismatches(admin, kafka, "user_id")) if not each.serious]


def make(kafka: KafkaSettings, name: str, partitions: int, **configs: str) -> None:
    """A topic as someone else might have made it; `_` in names of settings stands for a dot."""
    named = {config.replace("_", "."): value for config, value in configs.items()}
    topic = NewTopic(f"{kafka.prefix}.{name}", partitions, 1, topic_configs=named)
    answer = ask(kafka, lambda admin: admin.create_topics([topic]))
    assert [code for _, code, _ in answer.topic_errors] == [0]
    while not ask(kafka, lambda admin: present_topics(admin, [topic.name])):
        pass  # a broker knows of it a moment later


def test_absent_topics_are_made_as_declared_and_only_once(kafka_settings: KafkaSettings) -> None:
    assert len(serious(kafka_settings)) == 9
    assert create(kafka_settings) == list(declared_topics(kafka_settings))
    assert create(kafka_settings) == []
    assert ask(kafka_settings, lambda admin: mismatches(admin, kafka_settings, "user_id")) == []
    names = [topic.name for topic in declared_topics(kafka_settings)]
    present = ask(kafka_settings, lambda admin: present_topics(admin, names))
    shapes = {
        name.rpartition(".")[2]: (there.partitions, there.configs["cleanup.policy"], there.replication)
        for name, there in present.items()
    }
    assert shapes == {
        "events": (2, "delete", 1),
        "examples": (2, "delete", 1),
        "labelling-state": (2, "compact", 1),
        "interests-state": (2, "compact", 1),
        "served": (2, "delete", 1),
        "dead-letters": (1, "delete", 1),
        "trainer-leader": (1, "compact", 1),
        "trainer-exchange": (1, "delete", 1),
        "registry": (1, "compact", 1),
    }
    events = present[f"{kafka_settings.prefix}.events"].configs
    assert events["retention.ms"] == str(30 * 86_400_000)
    assert events["message.timestamp.type"] == "LogAppendTime"


def test_two_may_make_them_at_once(kafka_settings: KafkaSettings) -> None:
    async def both() -> list[list[Topic]]:
        async def one() -> list[Topic]:
            async with administration(kafka_settings, timeout=20) as admin:
                return await create_absent(admin, kafka_settings, "user_id")

        return list(await asyncio.gather(one(), one()))

    first, second = asyncio.run(both())
    assert first or second
    assert serious(kafka_settings) == []


def test_what_belongs_to_the_events_follows_an_events_topic_that_is_there(kafka_settings: KafkaSettings) -> None:
    make(kafka_settings, "events", 5)
    settings = replace(kafka_settings, partitions=5)
    assert [topic.partitions for topic in create(settings)] == [5, 5, 5, 5, 1, 1, 1, 1]
    assert serious(settings) == []


def test_other_counts_of_partitions_are_named_with_the_reason(kafka_settings: KafkaSettings) -> None:
    make(kafka_settings, "events", 4)
    make(kafka_settings, "labelling-state", 3, cleanup_policy="compact")
    make(kafka_settings, "trainer-leader", 2, cleanup_policy="compact")
    settings = replace(kafka_settings, partitions=12)
    created = {topic.name.rpartition(".")[2]: topic.partitions for topic in create(settings)}
    assert (created["interests-state"], created["served"], created["examples"]) == (4, 4, 12)
    events, state, leader = serious(settings)
    prefix = kafka_settings.prefix
    assert events.startswith(
        f"topic {prefix}.events has 4 partitions, this setting needs 12, because kafka.partitions is 12: set"
        " kafka.partitions to 4, or"
    )
    assert state.startswith(
        f"topic {prefix}.labelling-state has 3 partitions, this setting needs 4, because it is"
        f" co-partitioned with {prefix}.events"
    )
    assert leader.startswith(f"topic {prefix}.trainer-leader has 2 partitions, this setting needs 1, because who holds")


def test_state_that_would_leave_is_named(kafka_settings: KafkaSettings) -> None:
    make(kafka_settings, "labelling-state", 2)
    make(kafka_settings, "interests-state", 2, cleanup_policy="compact,delete")
    make(kafka_settings, "events", 2, cleanup_policy="compact")
    create(kafka_settings)
    events, labelling, interests = serious(kafka_settings)
    assert "events has cleanup.policy compact, delete is needed, because each message counts" in events
    assert "labelling-state has cleanup.policy delete, compact is needed, because the newest message" in labelling
    assert "interests-state has cleanup.policy compact,delete, compact is needed" in interests
    assert f"--alter --topic {kafka_settings.prefix}.labelling-state --add-config cleanup.policy=compact" in labelling


def test_what_is_less_than_declared_is_a_warning(kafka_settings: KafkaSettings) -> None:
    create(kafka_settings)
    assert comforts(kafka_settings) == []
    longer = comforts(replace(kafka_settings, events_days=45))
    assert [text.partition(" keeps ")[2][:33] for text in longer] == ["messages for 30 days, 45 are decl"] * 2
    assert comforts(replace(kafka_settings, events_days=7)) == []
    other = replace(kafka_settings, prefix=f"{kafka_settings.prefix}-other")
    make(other, "events", 2, max_message_bytes="1000", retention_ms="-1")
    create(other)
    assert [text.split(" has ")[1].split(" ")[0] for text in comforts(other)] == [
        "max.message.bytes",
        "message.timestamp.type",
    ]


def test_a_topic_declared_with_another_key_is_refused(kafka_settings: KafkaSettings) -> None:
    create(kafka_settings, "group_id")
    registry = f"{kafka_settings.prefix}.registry"
    keys = asyncio.run(declared_keys(kafka_settings, registry))
    assert keys == {f"{kafka_settings.prefix}.events": "group_id"}
    assert serious(kafka_settings, "group_id") == []
    (text,) = serious(kafka_settings, "user_id")
    assert "was declared with the key group_id, this setting needs user_id, because labels.policy" in text
    assert create(kafka_settings, "user_id") == []
    assert asyncio.run(declared_keys(kafka_settings, registry)) == keys


def test_the_key_follows_the_labels() -> None:
    assert events_key(LabelSettings()) == "user_id"
    assert events_key(LabelSettings(policy="early", order="group")) == "group_id"
    assert events_key(LabelSettings(policy="early", order="slate")) == "user_id"


def test_a_worker_asks_for_what_it_uses(kafka_settings: KafkaSettings) -> None:
    async def needed(*names: str) -> str:
        async with administration(kafka_settings, timeout=20) as admin:
            return (await require(admin, kafka_settings, "user_id", *names)).events.name

    with pytest.raises(TopicsError) as missing:
        asyncio.run(needed("events", "labelling_state"))
    assert [problem.split(": ")[1] for problem in missing.value.problems] == [
        "create it with `stream-reco topics create`"
    ] * 2
    create(kafka_settings)
    assert asyncio.run(needed()) == f"{kafka_settings.prefix}.events"
    with pytest.raises(TopicsError, match="was declared with the key"):
        asyncio.run(_needed_by_group(kafka_settings))


async def _needed_by_group(kafka: KafkaSettings) -> None:
    async with administration(kafka, timeout=20) as admin:
        await require(admin, kafka, "group_id", "events")


def test_more_copies_than_brokers_are_refused(kafka_settings: KafkaSettings) -> None:
    with pytest.raises(TopicsError, match=r"kafka\.replication is 3, but there are 1 brokers: start more, or"):
        create(replace(kafka_settings, replication=3))
    with pytest.raises(TopicsError, match=r"\.events could not be created"):
        create(replace(kafka_settings, prefix="x" * 250))
