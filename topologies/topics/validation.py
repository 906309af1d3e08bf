"""Creates missing topics, and validates existing ones against their declaration."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, NodeNotReadyError, TopicAlreadyExistsError, for_code

from stream_reco.config.servers import KafkaSettings
from stream_reco.labels.settings import DAY_MS
from topologies.client.connection import with_admin
from topologies.topics.declaration import EventsKey, Topic, Topics, declared_topics
from topologies.topics.registry import declare, declared_keys

CREATE = "create it with `stream-reco topics create`"
_LEADERS_SECONDS = 30.0
_BROKERS_SECONDS = 5.0


class TopicsError(RuntimeError):
    """Topics are not as declared; `problems` has a sentence for each, with what to do about it."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as Kafka describes it."""

    partitions: int
    replication: int
    configs: Mapping[str, str]


@dataclass(frozen=True)
class Mismatch:
    """One deviation of a topic. One that is not `serious` risks data or convenience, but no wrong results."""

    topic: str
    text: str
    serious: bool = True


async def present_topics(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, ExistingTopic]:
    """Those of the topics that exist."""
    found = {
        each["topic"]: each["partitions"]
        for each in await admin.describe_topics()  # asked by name, a broker might create those that it does not know
        if each["topic"] in names and not each["error_code"]
    }
    configs = await _configs(admin, list(found))
    return {
        name: ExistingTopic(len(partitions), max(len(part["replicas"]) for part in partitions), configs[name])
        for name, partitions in found.items()
    }


async def _configs(admin: AIOKafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    configs: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for code, message, _, name, entries in answer.resources:
            if code:
                _raise_passing(code, f"topic {name} does not report its settings yet: {message}")
                raise TopicsError(f"topic {name} does not report its settings: {message or for_code(code).__name__}")
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


async def topics_as_declared(
    admin: AIOKafkaAdminClient, kafka: KafkaSettings, events_key: EventsKey
) -> tuple[Topics, dict[str, ExistingTopic]]:
    """The declaration, whose co-partitioned topics follow an existing events topic, and the topics that exist."""
    wanted = declared_topics(kafka, events_key)
    present = await present_topics(admin, [topic.name for topic in wanted])
    events = present.get(wanted.events.name)
    if events is not None:
        wanted = declared_topics(kafka, events_key, events.partitions)
    return wanted, present


async def create_absent(admin: AIOKafkaAdminClient, kafka: KafkaSettings, events_key: EventsKey) -> list[Topic]:
    """Create missing topics and wait until each can be written to; returns them.

    Processes may do so concurrently. Raises `TopicsError` where Kafka refuses one.
    """
    wanted, present = await topics_as_declared(admin, kafka, events_key)
    absent = [topic for topic in wanted if topic.name not in present]
    if absent:
        await _create(admin, kafka, absent)
    if wanted.registry in absent or wanted.events.name not in await declared_keys(kafka, wanted.registry.name):
        await declare(kafka, wanted.registry.name, wanted.events.name, wanted.events.key)
    return absent


async def _create(admin: AIOKafkaAdminClient, kafka: KafkaSettings, absent: list[Topic]) -> None:
    replication = await _replication(admin, kafka)
    requests = [
        NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.configs(replication))
        for topic in absent
    ]
    problems = []
    for name, code, message in (await admin.create_topics(requests)).topic_errors:
        _raise_passing(code, f"topic {name} could not be created yet: {message}")
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            problems.append(f"topic {name} could not be created: {message or error.__name__}")
    if problems:
        raise TopicsError(*problems)
    await _wait_for_leaders(admin, [topic.name for topic in absent])


def _raise_passing(code: int, text: str) -> None:
    """Raise a retriable error where a retry may succeed."""
    error = for_code(code)
    # The replication is refused while too few brokers are registered with the controller, as after a restart.
    if code and (error.retriable or error is InvalidReplicationFactorError):
        raise NodeNotReadyError(text)


async def _replication(admin: AIOKafkaAdminClient, kafka: KafkaSettings) -> int:
    deadline = time.monotonic() + _BROKERS_SECONDS
    # A broker that restarts is missing from the list meanwhile.
    while (brokers := len((await admin.describe_cluster())["brokers"])) < kafka.replication:
        if time.monotonic() > deadline:
            break
        await asyncio.sleep(0.2)
    if kafka.replication > brokers:
        raise TopicsError(
            f"kafka.replication is {kafka.replication}, but there are {brokers} brokers: start more, or set it to"
            f" {brokers} or 0"
        )
    return kafka.replication or min(3, brokers)


async def _wait_for_leaders(admin: AIOKafkaAdminClient, names: list[str]) -> None:
    deadline = time.monotonic() + _LEADERS_SECONDS
    waiting = set(names)
    while waiting:
        for topic in await admin.describe_topics():
            if topic["partitions"] and all(part["leader"] >= 0 for part in topic["partitions"]):
                waiting.discard(topic["topic"])
        if waiting and time.monotonic() > deadline:
            leaderless = [f"topic {name} has no leader after {_LEADERS_SECONDS:g} s" for name in sorted(waiting)]
            raise TopicsError(*leaderless, "see the logs of the brokers")
        await asyncio.sleep(0.1 if waiting else 0)


async def mismatches(admin: AIOKafkaAdminClient, kafka: KafkaSettings, events_key: EventsKey) -> list[Mismatch]:
    """All deviations from the declaration, topic by topic."""
    wanted, present = await topics_as_declared(admin, kafka, events_key)
    found: list[Mismatch] = []
    for topic in wanted:
        there = present.get(topic.name)
        if there is None:
            found.append(Mismatch(topic.name, f"topic {topic.name} does not exist: {CREATE}"))
        else:
            found += _mismatches_of(topic, there)
    if wanted.events.name in present and wanted.registry.name in present:
        keys = await declared_keys(kafka, wanted.registry.name)
        found += _other_key(wanted.events, keys.get(wanted.events.name))
    return found


def _other_key(events: Topic, declared: str | None) -> Iterator[Mismatch]:
    # A topic created by other tools was never declared: its owner is responsible for the key.
    if declared not in (None, events.key):
        yield Mismatch(
            events.name,
            f"topic {events.name} was declared with the key {declared}, this setting needs {events.key}, because"
            " labels.policy and labels.order decide which events must meet in one partition: change them back, or start"
            " over under another kafka.prefix",
        )


async def require(admin: AIOKafkaAdminClient, kafka: KafkaSettings, events_key: EventsKey, *names: str) -> Topics:
    """The declaration, if what exists fits it; raises `TopicsError` with every serious mismatch.

    `names` are fields of `Topics`, such as `labelling_state`: the topics that the caller uses; all if there are none.
    """
    wanted, _ = await topics_as_declared(admin, kafka, events_key)
    used = {getattr(wanted, name).name for name in names} or {topic.name for topic in wanted}
    problems = [each.text for each in await mismatches(admin, kafka, events_key) if each.serious and each.topic in used]
    if problems:
        raise TopicsError(*problems)
    return wanted


async def required(kafka: KafkaSettings, events_key: EventsKey, timeout: float, *names: str) -> Topics:
    """`require`, retried for `timeout` seconds while Kafka is unavailable."""
    return await with_admin(kafka, lambda admin: require(admin, kafka, events_key, *names), timeout)


def _mismatches_of(topic: Topic, there: ExistingTopic) -> Iterator[Mismatch]:
    if there.partitions != topic.partitions:
        yield Mismatch(
            topic.name,
            f"topic {topic.name} has {there.partitions} partitions, this setting needs {topic.partitions}, because"
            f" {topic.why}: {_repair(topic, there)}",
        )
    policy = there.configs["cleanup.policy"]
    if policy != topic.policy:
        yield Mismatch(
            topic.name,
            f"topic {topic.name} has cleanup.policy {policy}, {topic.policy} is needed, because {_why_policy(topic)}:"
            f" set it with `kafka-configs.sh --alter --topic {topic.name} --add-config cleanup.policy={topic.policy}`",
        )
    yield from _comforts(topic, there)


def _repair(topic: Topic, there: ExistingTopic) -> str:
    if topic.with_events:
        return "while it holds nothing, delete it and create it again with `stream-reco topics create`"
    if topic.partitions == 1:
        return f"delete it, and {CREATE}"
    return f"set kafka.partitions to {there.partitions}, or delete the topic while it holds nothing and {CREATE}"


def _why_policy(topic: Topic) -> str:
    if topic.policy == "compact":
        return "the newest message of each key is state that must not leave"
    return "each message counts, not only the newest of its key"


def _comforts(topic: Topic, there: ExistingTopic) -> Iterator[Mismatch]:
    configs = there.configs
    retention = int(configs["retention.ms"])
    if topic.retention_ms is not None and 0 <= retention < topic.retention_ms:
        yield Mismatch(
            topic.name,
            f"topic {topic.name} keeps messages for {retention / DAY_MS:g} days, {topic.retention_ms / DAY_MS:g} are"
            " declared: a worker that is down for longer misses some; set retention.ms, or the setting",
            serious=False,
        )
    least = int(topic.configs(there.replication)["min.insync.replicas"])
    if int(configs["min.insync.replicas"]) < least:
        yield Mismatch(
            topic.name,
            f"topic {topic.name} has min.insync.replicas {configs['min.insync.replicas']}, {least} is declared: a"
            " message that one broker alone has confirmed is lost with it",
            serious=False,
        )
    if int(configs["max.message.bytes"]) < topic.longest_bytes:
        yield Mismatch(
            topic.name,
            f"topic {topic.name} has max.message.bytes {configs['max.message.bytes']}, {topic.longest_bytes} are"
            " declared: longer messages are refused",
            serious=False,
        )
    if topic.retention_ms is not None and configs["message.timestamp.type"] != "LogAppendTime":
        yield Mismatch(
            topic.name,
            f"topic {topic.name} has message.timestamp.type {configs['message.timestamp.type']}, LogAppendTime is"
            " declared: messages of senders with a wrong clock leave too early or too late",
            serious=False,
        )
