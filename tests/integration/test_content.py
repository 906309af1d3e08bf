"""What is said of users and items, over Kafka and Redis: all processes of the distributed run, with a scorer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from stream_reco.config.servers import KafkaSettings
from stream_reco.model.inputs import Inputs
from tests import two_tastes
from tests.integration import kafka_log
from tests.integration.conftest import StartWorker
from tests.integration.one_of_each import one_of_each
from tests.integration.scorer import ScorerProcess
from tests.integration.workers import Worker
from tests.redis_server import RedisServer
from tests.waiting import until

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(400)]

_SECONDS = 120.0


class OverKafka:
    """One process of each kind."""

    def __init__(self, trainer: Worker, scorer: ScorerProcess) -> None:
        self._trainer, self._scorer = trainer, scorer
        self._asked = self._shown = 0
        self._described = set[str]()

    def post(self, events: Sequence[Mapping[str, Any]]) -> None:
        written = 'stream_reco_served_slates_total{outcome="written"}'
        # A slate that comes after its impressions is of no use.
        until(lambda: self._scorer.metric(written) >= self._asked, _SECONDS)
        status, answer = self._scorer.ask("POST", "/v1/events", events)
        assert status == 200, answer
        assert isinstance(answer, dict)
        assert answer["accepted"] == len(events), answer
        self._shown += sum(event["type"] == "impression" for event in events)
        self._described |= {event["item_id"] for event in events if event["type"] == "item"}

    def slate(self, user: str, count: int) -> Mapping[str, Any]:
        answer = self._scorer.slate(user, count)
        self._asked += bool(answer["items"])
        return answer

    def forget(self, user: str) -> None:
        status, answer = self._scorer.ask("DELETE", f"/v1/users/{user}")
        assert status == 200, answer

    def settle(self) -> None:
        trained = 'stream_reco_trained_examples_total{origin="labelled"}'
        until(lambda: self._trainer.metric(trained) >= self._shown, _SECONDS)
        until(lambda: len(self.slate("nobody", 1000)["items"]) >= len(self._described), _SECONDS)
        version = self.slate("nobody", 1)["version"]
        # The next one may have been made before.
        until(lambda: self.slate("nobody", 1)["version"] > version + 1, _SECONDS)

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition, _SECONDS)


@pytest.fixture
def wiring(
    start_worker: StartWorker, kafka_settings: KafkaSettings, redis_server: RedisServer, tmp_path: Path
) -> Iterator[OverKafka]:
    with one_of_each(start_worker, kafka_settings, redis_server.url, tmp_path, two_tastes.SETTINGS) as (
        workers,
        scorer,
    ):
        yield OverKafka(workers["training"], scorer)


def test_a_shop_of_two_tastes(wiring: OverKafka, kafka_settings: KafkaSettings) -> None:
    two_tastes.play(wiring)
    examples = kafka_log.examples(asyncio.run(kafka_log.read(kafka_settings, "examples")))
    read = [Inputs.from_bytes(example.features) for example in examples if example.features is not None]
    assert len(read) > len(examples) / 2, "features travel with impressions"
    for inputs in read:
        assert (inputs.counts.tolist(), len(inputs.said.codes)) == ([1], 1), "the kind of the item"
    assert sum(len(inputs.profile.codes) == 3 for inputs in read) > len(read) / 2, "a word, and two values of a number"
