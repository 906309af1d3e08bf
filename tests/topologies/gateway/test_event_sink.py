"""The sink of a scorer on a real Kafka: nothing acknowledged is lost, order stays, and an outage is said."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from stream_reco.events import Action, Event, Impression, ItemEvent, Retraction, UserEvent, decode
from stream_reco.events.schema import Features
from stream_reco.labels.settings import LabelSettings
from stream_reco.serve.service import UnavailableError
from tests.kafka_server import KafkaServer
from topologies.client.connection import administration
from topologies.client.read_to_end import read_to_end
from topologies.gateway.batch_producer import partition_of
from topologies.gateway.event_sink import KafkaSink
from topologies.messages.keys import event_key
from topologies.topics.validation import create_absent

kafka_test = pytest.mark.kafka
NOW = 1_700_000_000_000


def click(user: str | int, number: int, **more: Any) -> Action:
    return Action(user_id=user, item_id=number, action="click", timestamp=NOW, event_id=f"e{number}", **more)


async def make_topics(settings: Settings) -> None:
    async with administration(settings.kafka, 20) as admin:
        await create_absent(admin, settings.kafka, "user_id")


async def lying(settings: Settings) -> list[Any]:
    topic = f"{settings.kafka.prefix}.events"
    return [record async for records in read_to_end(settings.kafka, topic) for record in records]


def test_keys() -> None:
    action, grouped = click("u", 1), click("u", 1, group_id=7)
    impression = Impression(user_id=-5, item_id="i", timestamp=NOW, group_id="g")
    retraction = Retraction(retracts="e1", timestamp=NOW, user_id="u", group_id="g")
    item = ItemEvent(item_id=9, timestamp=NOW)
    user = UserEvent(user_id="ü", timestamp=NOW)
    by_user = [event_key(event, "user_id") for event in (action, grouped, impression, retraction, item, user)]
    assert by_user == [b"u", b"u", b"-5", b"u", b"9", "ü".encode()]
    by_group = [event_key(event, "group_id") for event in (action, grouped, impression, retraction, item, user)]
    assert by_group == [b"u", b"7", b"g", b"g", b"9", "ü".encode()]
    assert event_key(Retraction(retracts="e1", timestamp=NOW), "user_id") is None


@given(st.binary(min_size=1), st.integers(1, 50))
def test_partitions_are_those_of_other_clients(key: bytes, count: int) -> None:
    assert partition_of(key, count) == DefaultPartitioner()(key, list(range(count)), [])


@kafka_test
def test_what_is_accepted_lies_in_the_topic(kafka_settings: KafkaSettings) -> None:
    settings = Settings(kafka=kafka_settings)
    good: list[Event] = [click(f"u{number % 7}", number) for number in range(500)]
    good += [ItemEvent(item_id="i", timestamp=NOW), Retraction(retracts="e1", timestamp=NOW)]
    late = click("u", 1000)

    async def send() -> list[Any]:
        await make_topics(settings)
        sink = KafkaSink(settings, ManualClock(NOW))
        accepted = await sink.accept(good)
        assert (accepted.accepted, accepted.duplicates) == (len(good), 0)
        assert (await sink.accept([])).accepted == 0
        assert (await sink.accept([late])).accepted == 1
        await sink.stop()
        return await lying(settings)

    records = asyncio.run(send())
    assert sorted(map(str, (decode(record.value) for record in records))) == sorted(map(str, [*good, late]))
    for record in records:
        key = event_key(decode(record.value), "user_id")
        assert record.key == key
        assert key is None or record.partition == partition_of(key, 2)


@kafka_test
def test_many_at_once_share_batches_and_keep_the_order_of_each_user(kafka_settings: KafkaSettings) -> None:
    settings = Settings(kafka=kafka_settings)

    async def user(sink: KafkaSink, name: str) -> None:
        for number in range(0, 100, 2):
            await sink.accept([click(name, number), click(name, number + 1)])

    async def send() -> list[Any]:
        await make_topics(settings)
        sink = KafkaSink(settings, ManualClock(NOW))
        await asyncio.gather(*(user(sink, f"u{number}") for number in range(30)))
        await sink.stop()
        return await lying(settings)

    items: dict[bytes, list[object]] = {}
    for record in asyncio.run(send()):
        event = decode(record.value)
        assert isinstance(event, Action)
        items.setdefault(record.key, []).append(event.item_id)
    assert len(items) == 30
    assert all(numbers == list(range(100)) for numbers in items.values())


@kafka_test
def test_the_longest_events_get_through(kafka_settings: KafkaSettings) -> None:
    settings = Settings(kafka=kafka_settings)
    wide: Features = {f"f{number}": "x" * 4000 for number in range(250)}
    events: Sequence[Event] = [ItemEvent(item_id=number, timestamp=NOW, features=wide) for number in range(5)]

    async def send() -> list[Any]:
        await make_topics(settings)
        sink = KafkaSink(settings, ManualClock(NOW), timeout=20)
        assert (await sink.accept(events)).accepted == 5
        await sink.stop()
        return await lying(settings)

    assert len(asyncio.run(send())) == 5


async def refused(sink: KafkaSink, event: Event) -> tuple[str, float]:
    began = time.monotonic()
    with pytest.raises(UnavailableError) as caught:
        await sink.accept([event])
    assert caught.value.reason == "kafka"
    assert caught.value.retry_after >= 1
    return str(caught.value), time.monotonic() - began


@kafka_test
def test_an_outage_is_said_and_passes(own_kafka: KafkaServer) -> None:
    """Killed under load: whatever was acknowledged is there afterwards, and the sink goes on by itself."""
    settings = Settings(kafka=KafkaSettings(bootstrap=own_kafka.bootstrap, partitions=2, session_seconds=3))
    taken: set[int] = set()

    async def load(sink: KafkaSink, first: int, stop: asyncio.Event) -> None:
        for number in range(first, 10**9, 10):
            if stop.is_set():
                return
            try:
                await sink.accept([click(f"u{first}", number)])
                taken.add(number)
            except UnavailableError:
                await asyncio.sleep(0.2)

    async def story() -> set[object]:
        await make_topics(settings)
        sink = KafkaSink(settings, ManualClock(NOW), timeout=3.0)
        stop = asyncio.Event()
        loads = [asyncio.ensure_future(load(sink, number, stop)) for number in range(10)]
        await asyncio.sleep(2)
        await asyncio.to_thread(own_kafka.kill)
        text, _ = await refused(sink, click("late", 10**9))
        assert own_kafka.bootstrap in text
        text, seconds = await refused(sink, click("late", 10**9))
        assert seconds < 1.5, "known to be away, it says so at once"
        before = len(taken)
        await asyncio.to_thread(own_kafka.start)
        while len(taken) < before + 100:
            await asyncio.sleep(0.1)
        stop.set()
        await asyncio.gather(*loads)
        await sink.stop()
        return {getattr(decode(record.value), "item_id", None) for record in await lying(settings)}

    there = asyncio.run(asyncio.wait_for(story(), 120))
    assert len(taken) > 200
    assert taken <= there


@kafka_test
def test_a_frozen_broker_is_given_up_in_time(own_kafka: KafkaServer) -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap=own_kafka.bootstrap, partitions=2, session_seconds=3))

    async def story() -> None:
        await make_topics(settings)
        sink = KafkaSink(settings, ManualClock(NOW), timeout=2.0)
        await sink.accept([click("u", 1)])
        own_kafka.pause()
        text, seconds = await refused(sink, click("u", 2))
        assert "has not confirmed the messages: 2 s have passed" in text
        assert 1.5 < seconds < 6
        own_kafka.resume()
        for _ in range(40):
            try:
                await sink.accept([click("u", 3)])
                break
            except UnavailableError:
                await asyncio.sleep(0.5)
        else:
            pytest.fail("it did not recover")
        await sink.stop()

    asyncio.run(asyncio.wait_for(story(), 120))


@kafka_test
def test_topics_that_do_not_fit_are_said(kafka_settings: KafkaSettings) -> None:
    settings = Settings(kafka=kafka_settings)

    async def story() -> None:
        sink = KafkaSink(settings, ManualClock(NOW))
        text, _ = await refused(sink, click("u", 1))
        assert f"topic {kafka_settings.prefix}.events does not exist: create it with `stream-reco topics cr" in text
        await make_topics(settings)
        assert (await sink.accept([click("u", 1)])).accepted == 1
        await sink.stop()
        grouped = replace(settings, labels=LabelSettings(policy="early", order="group"))
        sink = KafkaSink(grouped, ManualClock(NOW))
        text, _ = await refused(sink, click("u", 1))
        assert "was declared with the key user_id, this setting needs group_id" in text
        await sink.stop()

    asyncio.run(story())


def test_who_waits_when_it_stops_is_told() -> None:
    settings = Settings(kafka=KafkaSettings(bootstrap="127.0.0.1:9"))

    async def story() -> None:
        sink = KafkaSink(settings, ManualClock(NOW), timeout=60)
        waiting = asyncio.ensure_future(sink.accept([click("u", 1)]))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await sink.stop()
        with pytest.raises(UnavailableError, match="stopped"):
            await waiting

    asyncio.run(story())
