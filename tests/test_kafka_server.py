"""The Kafka that the tests start: that it is real, keeps what it was given, and is fetched once."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests import kafka_jars as jars_module
from tests.kafka_jars import kafka_jars
from tests.kafka_server import KafkaServer

pytestmark = pytest.mark.kafka

_MAKE_FOLDER = 'for a; do case $a in -DoutputDirectory=*) mkdir "${a#*=}"; esac; done'
MESSAGES = [b"%d" % number for number in range(1000)]


async def _create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, 1, 1)])
    finally:
        await admin.close()


async def _send(bootstrap: str, topic: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all")
    await producer.start()
    try:
        for message in MESSAGES:
            await producer.send(topic, message, partition=0)
    finally:
        await producer.stop()


async def _read(bootstrap: str, topic: str) -> list[bytes | None]:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes | None] = []
        while len(values) < end:
            values += [record.value for record in (await consumer.getmany(timeout_ms=1000)).get(partition, [])]
        return values
    finally:
        await consumer.stop()


def _fill(server: KafkaServer, topic: str) -> None:
    asyncio.run(_create(server.bootstrap, topic))
    asyncio.run(_send(server.bootstrap, topic))


def test_messages_outlive_every_end(own_kafka: KafkaServer) -> None:
    _fill(own_kafka, "kept")
    steps: list[Callable[[], None]] = [own_kafka.restart, own_kafka.kill, own_kafka.start]
    for step in steps:
        step()
    assert asyncio.run(_read(own_kafka.bootstrap, "kept")) == MESSAGES
    pid = own_kafka.pid
    assert pid is not None
    own_kafka.stop()
    assert own_kafka.pid is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert "Kafka Server started" in own_kafka.said()


def test_a_frozen_broker_goes_on(own_kafka: KafkaServer) -> None:
    _fill(own_kafka, "kept")
    own_kafka.pause()
    with pytest.raises((KafkaError, asyncio.TimeoutError)):
        asyncio.run(_within(2.0, _read(own_kafka.bootstrap, "kept")))
    own_kafka.resume()
    assert asyncio.run(_within(30.0, _read(own_kafka.bootstrap, "kept"))) == MESSAGES


async def _within(seconds: float, reading: Awaitable[list[bytes | None]]) -> list[bytes | None]:
    return await asyncio.wait_for(reading, seconds)


def test_a_topic_that_was_forgotten_is_not_made(kafka: KafkaServer, topic_prefix: str) -> None:
    async def send() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, request_timeout_ms=1000)
        await producer.start()
        try:
            await producer.send_and_wait(f"{topic_prefix}.nowhere", b"lost")
        finally:
            await producer.stop()

    with pytest.raises(KafkaError):
        asyncio.run(send())


def test_a_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    server = KafkaServer(tmp_path / "kafka", kafka_jars(), {"num.network.threads": "none"})
    with pytest.raises(RuntimeError, match=r"num\.network\.threads"):
        server.start()
    assert server.pid is None


def test_the_jars_are_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a `mvn` that counts: the real one has filled the user's cache before."""
    real = kafka_jars()
    assert [jar.name for jar in real.glob("kafka_2.13-*.jar")] == ["kafka_2.13-4.1.1.jar"]
    fake = tmp_path / "bin" / "mvn"
    fake.parent.mkdir()
    count = tmp_path / "count"
    fake.write_text(f"#!/bin/sh\necho once >> {count}\n{_MAKE_FOLDER}")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    started = time.monotonic()
    folders = {kafka_jars(tmp_path / "cache") for _ in range(3)}
    assert len(folders) == 1
    assert folders.pop().is_dir()
    assert count.read_text() == "once\n"
    assert time.monotonic() - started < 10


def test_what_maven_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pom = tmp_path / "pom.xml"
    pom.write_text("<project>")
    monkeypatch.setattr(jars_module, "POM", pom)
    with pytest.raises(RuntimeError, match=r"could not fetch Kafka(.|\n)*pom\.xml"):
        kafka_jars(tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("kafka-*"))
