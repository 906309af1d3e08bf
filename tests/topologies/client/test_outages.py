"""Workers whose Kafka goes away at the worst moments: they go on when it is back, and end when they are told to."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.producer.sender import Sender

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from stream_reco.storage.rocksdb import Changes
from tests.kafka_server import KafkaServer
from tests.waiting import until
from topologies.client import outage_log, read_to_end
from topologies.client.cancellation import within
from topologies.client.configuration import consumer_arguments, producer_arguments
from topologies.client.connection import KafkaUnavailableError, close, connect
from topologies.client.outage_log import log_outages
from topologies.partitions.assigned import AssignedPartitions
from topologies.partitions.task import PartitionClients
from topologies.partitions.transactions import Transactions
from topologies.run_partition_worker import labelling
from topologies.topics import ensure
from topologies.topics.declaration import declared_topics, events_key
from topologies.topics.ensure import check_topics
from topologies.topics.report import topic_report
from topologies.topics.validation import TopicsError
from topologies.trainer.dependencies import NAME

pytestmark = pytest.mark.kafka


@pytest.fixture
def settings(own_kafka: KafkaServer) -> Settings:
    """Two partitions, whose topics are there."""
    kafka = KafkaSettings(bootstrap=own_kafka.bootstrap, partitions=2, session_seconds=6.0)
    settings = replace(Settings(), kafka=kafka)
    asyncio.run(check_topics(settings))
    return settings


async def _restart(server: KafkaServer) -> asyncio.Task[None]:
    """Kill it, and start it again while others go on."""
    await asyncio.to_thread(server.kill)
    return asyncio.create_task(asyncio.to_thread(server.start))


class _Member:
    """A labelling worker in this process."""

    def __init__(self, settings: Settings, folder: Path, clients: PartitionClients | None = None) -> None:
        spec = labelling(settings, declared_topics(settings.kafka, events_key(settings.labels)), ExitStack())
        clients = clients or PartitionClients(settings.kafka, "labelling")
        self.ending = asyncio.Event()
        self._partitions = AssignedPartitions(spec, folder, clients, SystemClock(), settings.kafka.session_seconds)
        self.working = asyncio.create_task(self._partitions.run(self.ending))

    def works_on(self) -> list[int]:
        return sorted(self._partitions._tasks)

    async def end(self, seconds: float) -> None:
        self.ending.set()
        await asyncio.wait_for(asyncio.shield(self.working), seconds)


def test_who_joins_while_kafka_restarts_gets_its_partitions(
    own_kafka: KafkaServer, settings: Settings, tmp_path: Path
) -> None:
    restarts: list[asyncio.Task[None]] = []

    class Clients(PartitionClients):
        """Kafka goes away between the connection of the first member of the group and what it is told."""

        async def consumer(self) -> AIOKafkaConsumer:
            consumer = await super().consumer()
            if not restarts:
                restarts.append(await _restart(own_kafka))
            return consumer

    async def live() -> None:
        before = _Member(settings, tmp_path / "before")
        # With this the topic of the groups' offsets is there.
        await asyncio.to_thread(until, lambda: before.works_on() == [0, 1], 30)
        await before.end(20)
        member = _Member(settings, tmp_path / "state", Clients(settings.kafka, "labelling"))
        await asyncio.to_thread(until, lambda: member.works_on() == [0, 1], 20)
        await restarts[0]
        await member.end(20)

    asyncio.run(live())


@pytest.mark.parametrize("away", ["killed", "frozen"])
def test_a_worker_ends_amid_a_transaction_without_kafka(
    own_kafka: KafkaServer, settings: Settings, tmp_path: Path, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, is_away = Transactions._send_changes, asyncio.Event()

    async def then_away(self: Transactions, changes: Changes) -> int:
        if not is_away.is_set():
            is_away.set()
            await asyncio.to_thread(own_kafka.kill if away == "killed" else own_kafka.pause)
        return await plain(self, changes)

    monkeypatch.setattr(Transactions, "_send_changes", then_away)

    async def live() -> None:
        member = _Member(settings, tmp_path)
        await asyncio.wait_for(is_away.wait(), 30)
        await asyncio.sleep(1)
        await member.end(25)

    asyncio.run(live())


def test_a_worker_ends_while_it_waits_for_kafka(own_kafka: KafkaServer, settings: Settings, tmp_path: Path) -> None:
    async def live() -> None:
        await asyncio.to_thread(own_kafka.kill)
        member = _Member(settings, tmp_path)
        await asyncio.sleep(2)
        await member.end(3)

    asyncio.run(live())


def test_what_a_leader_confirms_has_a_bound(own_kafka: KafkaServer, settings: Settings) -> None:
    kafka = settings.kafka

    async def confirm() -> float:
        producer = await connect(kafka, lambda: AIOKafkaProducer(**producer_arguments(kafka, NAME)))
        await asyncio.to_thread(own_kafka.kill)

        async def send() -> None:
            async with producer.transaction():
                await producer.send_and_wait(f"{kafka.prefix}.trainer-leader", b"", partition=0)

        began = time.monotonic()
        with pytest.raises(TimeoutError):
            await within(1.0, send())
        taken = time.monotonic() - began
        await close(producer)
        return taken

    assert asyncio.run(confirm()) < 6


def test_a_worker_begins_where_kafka_restarts_between_its_questions(
    own_kafka: KafkaServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = read_to_end._assign
    restarts: list[asyncio.Task[None]] = []

    async def assign(*arguments: Any) -> dict[TopicPartition, int]:
        if not restarts:
            restarts.append(await _restart(own_kafka))
        return await plain(*arguments)

    monkeypatch.setattr(read_to_end, "_assign", assign)

    async def begin() -> None:
        await asyncio.wait_for(check_topics(settings), 60)
        await restarts[0]

    asyncio.run(begin())


@pytest.mark.parametrize("moment", ["before", "while"])
def test_a_command_ends_where_kafka_goes_away_while_it_reads(
    own_kafka: KafkaServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(read_to_end, "SILENT_SECONDS", 2.0)
    name = "_assign" if moment == "while" else "connect"
    plain = getattr(read_to_end, name)

    async def then_away(*arguments: Any) -> object:
        if moment == "before":
            await asyncio.to_thread(own_kafka.kill)
        found = await plain(*arguments)
        if moment == "while":
            await asyncio.to_thread(own_kafka.kill)
            # A fetch that was under way may have brought all there is: one message is always missing.
            return {part: end + 1 for part, end in found.items()}
        return found

    monkeypatch.setattr(read_to_end, name, then_away)

    async def report() -> None:
        with pytest.raises(KafkaUnavailableError):
            await asyncio.wait_for(topic_report(settings, 1.0, create=False), 30)

    asyncio.run(report())


def test_the_timeout_holds_for_a_producer_whose_broker_goes_away_as_it_starts(
    own_kafka: KafkaServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain: Callable[[Sender], Awaitable[None]] = Sender._maybe_wait_for_pid

    async def killing(sender: Sender) -> None:
        await asyncio.to_thread(own_kafka.kill)
        await plain(sender)

    monkeypatch.setattr(Sender, "_maybe_wait_for_pid", killing)

    async def seconds_to_give_up() -> float:
        began = time.monotonic()
        with pytest.raises(KafkaUnavailableError):
            await connect(settings.kafka, lambda: AIOKafkaProducer(**producer_arguments(settings.kafka)), 2.0)
        return time.monotonic() - began

    assert asyncio.run(seconds_to_give_up()) < 15


def test_nothing_is_left_of_clients_that_are_let_go(own_kafka: KafkaServer, settings: Settings) -> None:
    kafka, events = settings.kafka, TopicPartition("stream-reco.events", 0)

    async def leave() -> list[str]:
        clients: list[Any] = []
        for number in range(3):
            consumer = await connect(kafka, lambda: AIOKafkaConsumer(**consumer_arguments(kafka, gaps=False)))
            consumer.assign([events])
            consumer.seek(events, 0)
            await consumer.getmany(timeout_ms=50)
            arguments = producer_arguments(kafka, f"some.{number}")
            producer = await connect(kafka, lambda arguments=arguments: AIOKafkaProducer(**arguments))  # type: ignore[misc]
            await producer.begin_transaction()
            await producer.send(events.topic, b"held", partition=0)
            clients += [consumer, producer]
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.sleep(1)
        for client in clients:
            await close(client, timeout=0.5)
        await asyncio.sleep(0.5)
        return [repr(task.get_coro()) for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    assert asyncio.run(leave()) == []


def test_outages_are_told_once(
    own_kafka: KafkaServer, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outage_log, "_LOOK_SECONDS", 0.1)
    caplog.set_level(logging.WARNING, "topologies.client.connection")

    async def live() -> None:
        async with log_outages(settings.kafka):
            await asyncio.sleep(0.5)
            assert not caplog.records
            await asyncio.to_thread(own_kafka.kill)
            await asyncio.sleep(1)
            await asyncio.to_thread(own_kafka.start)
            await asyncio.to_thread(until, lambda: len(caplog.records) == 2, 10)
            await asyncio.sleep(0.5)

    asyncio.run(live())
    away, again = (record.getMessage() for record in caplog.records)
    assert away.startswith(f"Kafka at {own_kafka.bootstrap} does not answer: ")
    assert away.endswith("; waiting for it")
    assert again == f"Kafka at {own_kafka.bootstrap} answers again"


def test_what_kafka_refuses_for_good_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise TopicAuthorizationFailedError("stream-reco.events")

    monkeypatch.setattr(ensure, "create_absent", refuse)
    with pytest.raises(TopicsError, match="topics to be created or described: TopicAuthorizationFailedError"):
        asyncio.run(check_topics(settings))
