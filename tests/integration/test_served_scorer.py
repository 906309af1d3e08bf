"""A scorer as people run it, with Kafka: what it has answered lies there, as the trainer would have computed it."""

from __future__ import annotations

import asyncio
import time
from contextlib import closing
from pathlib import Path

import pytest

from stream_reco.config import Settings
from stream_reco.config.servers import KafkaSettings
from stream_reco.embedded.learner import Learner
from stream_reco.embedded.publishing import Publishing
from stream_reco.serve.served import MODEL_NAME
from stream_reco.simulate import generate
from stream_reco.sync.redis_channel import RedisChannel
from stream_reco.sync.redis_link import RedisLink
from tests.integration import kafka_log
from tests.integration.scorer import ScorerProcess
from tests.redis_server import RedisServer
from topologies.connecting import administration
from topologies.served_slates import ServedSlate, decode_slate
from topologies.topic_checks import create_absent

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


def test_slates_lie_in_kafka_with_the_features_of_their_moment(
    kafka_settings: KafkaSettings, redis_server: RedisServer, tmp_path: Path
) -> None:
    asyncio.run(make_topics(kafka_settings))
    learner = Learner(Settings())
    learner.learn(list(generate(3_000, 0, users=20, items=30)))
    with closing(RedisLink(redis_server.url)) as link:
        publishing = Publishing(learner, Settings(), MODEL_NAME, 1, RedisChannel(link))
        publishing.sync(time.time_ns() // 1_000_000)  # noqa: TID251 - a test is at the edge
        scorer = ScorerProcess(redis_server.url, tmp_path, {}, kafka_settings)
        try:
            scorer.wait_until_ready()
            answers = [scorer.ask("POST", "/v1/recommend", {"user_id": "new", "k": 3 + more}) for more in range(3)]
            found = {slate.request_id: slate for slate in slates(kafka_settings, 3)}
        finally:
            scorer.stop()
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
