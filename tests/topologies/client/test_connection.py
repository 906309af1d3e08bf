"""Clients of a Kafka that is not there yet, goes away, or is frozen."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import RequestTimedOutError, TopicAuthorizationFailedError

from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from tests.kafka_server import KafkaServer
from topologies.client.configuration import client_arguments, consumer_arguments, producer_arguments
from topologies.client.connection import KafkaUnavailableError, administration, close, connect, probe, with_admin
from topologies.topics.ensure import check_topics
from topologies.topics.validation import create_absent, present_topics

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:9,127.0.0.1:10", session_seconds=1)


def producer(kafka: KafkaSettings) -> Callable[[], AIOKafkaProducer]:
    return lambda: AIOKafkaProducer(**producer_arguments(kafka))


def test_patience_has_an_end_and_the_reason_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(KafkaUnavailableError, match=r"Kafka at 127\.0\.0\.1:9,127\.0\.0\.1:10 does not answer: Conn"):
        asyncio.run(connect(NOWHERE, producer(NOWHERE), timeout=2.0))
    assert [record.name for record in caplog.records] == ["topologies.client.connection"]
    assert "does not answer: Connection refused; trying again" in caplog.text


def test_a_server_that_is_no_kafka_is_told() -> None:
    async def silent() -> None:
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        kafka = replace(NOWHERE, bootstrap=f"127.0.0.1:{server.sockets[0].getsockname()[1]}", session_seconds=1)
        began = time.monotonic()
        try:
            with pytest.raises(KafkaUnavailableError, match="timed out"):
                await probe(kafka)
            assert time.monotonic() - began < 8
        finally:
            server.close()

    asyncio.run(silent())


def test_settings_become_arguments() -> None:
    kafka = KafkaSettings(
        bootstrap="a:1, b:2",
        prefix="shop",
        session_seconds=8,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_username="me",
        sasl_password=" ".join(["hush"] * 3),
    )
    every = client_arguments(kafka)
    assert every["bootstrap_servers"] == ["a:1", "b:2"]
    assert every["sasl_plain_password"] == kafka.sasl_password
    consumer = consumer_arguments(kafka, "labelling")
    assert (consumer["group_id"], consumer["session_timeout_ms"]) == ("shop.labelling", 8000)
    assert consumer["isolation_level"] == "read_committed"
    assert consumer["enable_auto_commit"] is False
    assert consumer_arguments(kafka, read_committed=False)["isolation_level"] == "read_uncommitted"
    assert "group_id" not in consumer_arguments(kafka)
    written = producer_arguments(kafka, "labelling.3")
    assert (written["transactional_id"], written["transaction_timeout_ms"]) == ("shop.labelling.3", 8000)
    assert "transactional_id" not in producer_arguments(kafka)


@pytest.mark.kafka
def test_a_broker_that_is_down_at_the_start_is_waited_for(
    stopped_kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "topologies")
    server = stopped_kafka
    kafka = KafkaSettings(bootstrap=server.bootstrap)

    async def wait_for_it() -> None:
        waiting = asyncio.ensure_future(connect(kafka, producer(kafka)))
        await asyncio.sleep(1.5)
        assert not waiting.done()
        await asyncio.to_thread(server.start)
        await close(await asyncio.wait_for(waiting, 30))

    asyncio.run(wait_for_it())
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("topologies")]
    assert len(ours) == 2
    assert ours[0] == f"Kafka at {server.bootstrap} does not answer: Connection refused; trying again"
    assert ours[1].endswith("answers again")


@pytest.mark.kafka
def test_a_producer_that_cannot_send_is_let_go(own_kafka: KafkaServer) -> None:
    kafka = KafkaSettings(bootstrap=own_kafka.bootstrap, partitions=2, session_seconds=2)

    async def hold() -> float:
        async with administration(kafka, timeout=10) as admin:
            await create_absent(admin, kafka, "user_id")
        sender = await connect(kafka, producer(kafka))
        await sender.send_and_wait(f"{kafka.prefix}.events", b"known")
        reader = await connect(kafka, lambda: AIOKafkaConsumer(**consumer_arguments(kafka, "readers")))
        await asyncio.to_thread(own_kafka.kill)
        held = await sender.send(f"{kafka.prefix}.events", b"held")
        began = time.monotonic()
        await close(sender, timeout=1.0)
        await close(reader, timeout=1.0)
        assert held.done()
        assert held.exception() is not None
        return time.monotonic() - began

    assert asyncio.run(hold()) < 10


@pytest.mark.kafka
def test_what_is_asked_of_a_broker_that_goes_away_is_asked_again(
    own_kafka: KafkaServer, caplog: pytest.LogCaptureFixture
) -> None:
    kafka, tries = KafkaSettings(bootstrap=own_kafka.bootstrap), 0

    async def look(admin: AIOKafkaAdminClient) -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            await asyncio.to_thread(own_kafka.kill)
        return len(await present_topics(admin, ["none"]))

    async def look_while_it_restarts() -> int:
        looking = asyncio.ensure_future(with_admin(kafka, look))
        await asyncio.sleep(1.5)
        assert not looking.done()
        await asyncio.to_thread(own_kafka.start)
        return await asyncio.wait_for(looking, 30)

    assert asyncio.run(look_while_it_restarts()) == 0
    assert tries == 2
    ours = [record.getMessage() for record in caplog.records if record.name == "topologies.client.connection"]
    assert len(ours) == 2
    assert ours[0].startswith(f"Kafka at {own_kafka.bootstrap} did not answer all requests: ")
    assert ours[1].endswith("answers again")


@pytest.mark.kafka
def test_what_no_other_try_would_mend_is_raised_at_once(kafka_settings: KafkaSettings) -> None:
    tries = 0

    async def look(_: AIOKafkaAdminClient) -> None:
        nonlocal tries
        tries += 1
        raise TopicAuthorizationFailedError("not yours")

    with pytest.raises(TopicAuthorizationFailedError, match="not yours"):
        asyncio.run(with_admin(kafka_settings, look, timeout=20))
    assert tries == 1


@pytest.mark.kafka
def test_asking_again_has_an_end(kafka_settings: KafkaSettings) -> None:
    async def look(_: AIOKafkaAdminClient) -> None:
        raise RequestTimedOutError("busy")

    with pytest.raises(KafkaUnavailableError, match=r"did not answer all requests: RequestTimedOutError: .*busy$"):
        asyncio.run(with_admin(kafka_settings, look, timeout=1.0))


@pytest.mark.kafka
def test_a_worker_begins_whenever_the_broker_restarts(own_kafka: KafkaServer) -> None:
    moments = np.random.default_rng(6)

    async def begin(number: int) -> None:
        kafka = KafkaSettings(bootstrap=own_kafka.bootstrap, prefix=f"shop-{number}", partitions=2)
        checking = asyncio.ensure_future(check_topics(replace(Settings(), kafka=kafka)))
        await asyncio.sleep(moments.random() * 0.8)
        await asyncio.to_thread(own_kafka.kill)
        await asyncio.to_thread(own_kafka.start)
        await asyncio.wait_for(checking, 60)

    for number in range(5):
        asyncio.run(begin(number))


@pytest.mark.kafka
def test_what_a_broker_speaks(kafka_settings: KafkaSettings) -> None:
    versions = asyncio.run(probe(kafka_settings))
    assert versions[0][1] >= 13  # Produce, as Kafka 4.1 has it
