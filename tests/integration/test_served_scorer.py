"""A scorer as people run it, with Kafka: what it has answered lies there, as the trainer would have computed it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import pytest

from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publish import Publishing
from stream_reco.redis.connection import RedisLink
from stream_reco.simulate import generate
from stream_reco.sync.redis.channel import RedisChannel
from tests.integration import kafka_log
from tests.integration.scorer import ScorerProcess
from tests.redis_server import RedisServer
from topologies.client.connection import administration
from topologies.messages.served_slate import ServedSlate, decode_slate
from topologies.topics.validation import create_absent

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(240)]


async def make_topics(kafka: KafkaSettings) -> None:
    async with administration(kafka, 20) as admin:
        await create_absent(admin, kafka, "user_id")


def slates(kafka: KafkaSettings, count: int) -> list[ServedSlate]:
    """All that are there, once there are so many."""
    deadline = time.monotonic() + 30
    while len(values := asyncio.run(kafka_log.read(kafka, "served"))) < count:
        assert time.monotonic() < deadline, f"{len(values)} slates are there"
        time.sleep(0.2)
    return [decode_slate(value) for value in values]


@contextmanager
def scorer_of(learner: Learner, redis: RedisServer, folder: Path, kafka: KafkaSettings) -> Iterator[ScorerProcess]:
    """A scorer that serves what was learned."""
    with closing(RedisLink(redis.url)) as link:
        publishing = Publishing(learner, Settings(), 1, RedisChannel(link))
        publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
        scorer = ScorerProcess(redis.url, folder, {}, kafka)
        try:
            scorer.wait_until_ready()
            yield scorer
        finally:
            scorer.stop()


def learned() -> Learner:
    learner = Learner(Settings())
    learner.learn(list(generate(3_000, 0, users=20, items=30)))
    return learner


def test_slates_lie_in_kafka_with_the_features_of_their_moment(
    kafka_settings: KafkaSettings, redis_server: RedisServer, tmp_path: Path
) -> None:
    asyncio.run(make_topics(kafka_settings))
    learner = learned()
    with scorer_of(learner, redis_server, tmp_path, kafka_settings) as scorer:
        answers = [scorer.ask("POST", "/v1/recommend", {"user_id": "new", "k": 3 + more}) for more in range(3)]
        found = {slate.request_id: slate for slate in slates(kafka_settings, 3)}
    assert len(found) == 3
    signals, present = learner.signals, learner.intake.present
    for status, answer in answers:
        assert status == 200
        assert isinstance(answer, dict)
        slate = found[answer["request_id"]]
        assert slate.user_id == "new"
        assert [item.item_id for item in slate.items] == [item["item_id"] for item in answer["items"]]
        context = signals.coder.encode(None, slate.timestamp)
        for item in slate.items:
            slot = signals.catalogue.slot_of(item.item_id)
            assert item.features == present.impression("new", slot, context, slate.timestamp)


def test_every_slate_that_was_answered_lies_in_kafka_when_it_has_stopped(
    kafka_settings: KafkaSettings, redis_server: RedisServer, tmp_path: Path
) -> None:
    asyncio.run(make_topics(kafka_settings))
    answered: set[str] = set()

    def visit(scorer: ScorerProcess, user: int) -> None:
        for number in range(100):
            status, answer = scorer.ask("POST", "/v1/recommend", {"user_id": user, "k": 3 + number % 9})
            assert status == 200
            assert isinstance(answer, dict)
            answered.add(answer["request_id"])

    with scorer_of(learned(), redis_server, tmp_path, kafka_settings) as scorer:
        with ThreadPoolExecutor(4) as visitors:
            list(visitors.map(visit, repeat(scorer), range(4)))
        began = time.monotonic()
        scorer.stop()
        assert time.monotonic() - began < 20
        assert scorer.process.returncode == 0, scorer.said()
    assert len(answered) == 400
    values = asyncio.run(kafka_log.read(kafka_settings, "served"))
    assert {decode_slate(value).request_id for value in values} == answered


def test_a_scorer_without_kafka_stops_within_seconds_and_says_what_is_lost(
    kafka_settings: KafkaSettings, redis_server: RedisServer, tmp_path: Path
) -> None:
    nowhere = replace(kafka_settings, bootstrap="127.0.0.1:1")
    with scorer_of(learned(), redis_server, tmp_path, nowhere) as scorer:
        for user in range(50):
            status, _ = scorer.ask("POST", "/v1/recommend", {"user_id": user, "k": 5})
            assert status == 200
        began = time.monotonic()
        scorer.stop()
        assert time.monotonic() - began < 20
        assert scorer.process.returncode == 0, scorer.said()
    lost = re.findall(r"features of (\d+) slates are lost", scorer.said())
    assert sum(map(int, lost)) == 50
