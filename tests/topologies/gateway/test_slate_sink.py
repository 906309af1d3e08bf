"""Slates on their way to a real Kafka: all that were taken lie there, and an outage costs nobody a request."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest

from stream_reco import metrics
from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from stream_reco.labels.settings import LabelSettings
from stream_reco.serve.slate.slate_features import SlateListener
from tests.integration import kafka_log
from tests.integration.served_log import features_of, shown_slate
from tests.kafka_server import KafkaServer
from tests.waiting import until
from topologies.client.connection import administration
from topologies.gateway.sink_thread import SinkThread
from topologies.messages.served_slate import decode_slate
from topologies.topics.validation import create_absent

NOW = 1_700_000_000_000


def counts() -> dict[str, float]:
    return {name: _count(name) for name in ("written", "dropped")}


def _count(outcome: str) -> float:
    return metrics.REGISTRY.get_sample_value("stream_reco_served_slates_total", {"outcome": outcome}) or 0.0


def give_to(sink: SinkThread) -> SlateListener:
    assert sink.watch is not None
    return sink.watch


async def make_topics(kafka: KafkaSettings) -> None:
    async with administration(kafka, 20) as admin:
        await create_absent(admin, kafka, "user_id")


@pytest.mark.kafka
def test_what_many_threads_give_lies_in_kafka(kafka_settings: KafkaSettings) -> None:
    asyncio.run(make_topics(kafka_settings))
    slates = [shown_slate(user % 7, f"r{user}", NOW, ["a", "b"]) for user in range(400)]
    before = counts()
    with closing(SinkThread(Settings(kafka=kafka_settings), ManualClock(NOW))) as sink:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(give_to(sink), slates))
        until(lambda: counts()["written"] - before["written"] == 400)
    values = asyncio.run(kafka_log.read(kafka_settings, "served"))
    found = {
        (one.user_id, one.request_id, item.item_id): item.features
        for one in map(decode_slate, values)
        for item in one.items
    }
    assert len(values) == 400
    assert found == features_of(slates)


@pytest.mark.kafka
def test_what_waits_at_the_end_is_written(kafka_settings: KafkaSettings) -> None:
    asyncio.run(make_topics(kafka_settings))
    slates = [shown_slate(user % 7, f"r{user}", NOW, ["a", "b"]) for user in range(1500)]
    before = counts()
    with closing(SinkThread(Settings(kafka=kafka_settings), ManualClock(NOW))) as sink:
        for slate in slates:
            give_to(sink)(slate)
        assert counts()["written"] < before["written"] + 1500
    assert counts() == {"written": before["written"] + 1500, "dropped": before["dropped"]}
    assert len(asyncio.run(kafka_log.read(kafka_settings, "served"))) == 1500


@pytest.mark.parametrize("address", ["closed", "silent"])
def test_without_kafka_the_end_takes_seconds_and_what_is_lost_is_counted(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if address == "silent" else 1
        sink = SinkThread(Settings(kafka=KafkaSettings(bootstrap=f"127.0.0.1:{port}")), ManualClock(NOW))
        before = counts()
        watch = give_to(sink)
        for user in range(900):
            watch(shown_slate(user, f"r{user}", NOW, ["a"]))
        began = time.monotonic()
        sink.close()
        assert time.monotonic() - began < 8.0
        watch(shown_slate(1, "late", NOW, ["a"]))
    assert counts() == {"written": before["written"], "dropped": before["dropped"] + 901}
    told = [re.search(r"features of (\d+) slates are lost", one.getMessage()) for one in caplog.records]
    assert sum(int(one[1]) for one in told if one) == 900


@pytest.mark.kafka
def test_while_kafka_is_away_nobody_waits_and_what_is_too_much_is_dropped(
    own_kafka: KafkaServer, topic_prefix: str
) -> None:
    kafka = KafkaSettings(bootstrap=own_kafka.bootstrap, prefix=topic_prefix, partitions=2)
    asyncio.run(make_topics(kafka))
    own_kafka.stop()
    slate = shown_slate(1, "r", NOW, ["a"])
    before = counts()
    with closing(SinkThread(Settings(kafka=kafka), ManualClock(NOW))) as sink:
        watch, began = give_to(sink), time.monotonic()
        for _ in range(5_000):
            watch(slate)
        assert time.monotonic() - began < 2.0
        until(lambda: counts()["dropped"] - before["dropped"] >= 2_500)
        own_kafka.start()

        def again() -> bool:
            watch(slate)
            return counts()["written"] > before["written"]

        until(again, 60)


def test_where_events_are_keyed_by_group_slates_are_not_taken() -> None:
    labels = LabelSettings(policy="early", order="group")
    settings = replace(Settings(kafka=KafkaSettings(bootstrap="127.0.0.1:1")), labels=labels)
    with closing(SinkThread(settings, ManualClock(NOW))) as sink:
        assert sink.watch is None
