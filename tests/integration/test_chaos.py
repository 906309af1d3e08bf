"""Everything goes wrong at once, and in the end nothing is lost or doubled, and nobody was left without an answer.

Two hundred thousand events of a simulated shop, and the first clicks of a real log, go through labelling, interests,
training and a scorer while processes are killed, frozen, added and removed, Kafka and Redis restart, and Redis loses
everything it has.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from stream_reco.config import load
from stream_reco.config.servers import KafkaSettings
from stream_reco.datasets import load as load_log
from stream_reco.events import Action, Event, Id, ItemEvent, encode
from stream_reco.labels.settings import DAY_MS
from stream_reco.learner.example_learner import ExampleLearner
from stream_reco.simulate import generate
from stream_reco.sync.redis_link import RedisLink
from stream_reco.sync.redis_users import RedisUsers
from stream_reco.train.checkpoint import CheckpointError
from tests.integration import kafka_log
from tests.integration.arriving import disordered
from tests.integration.references import copies, histories, labels
from tests.integration.scorer import ScorerProcess, Visitor
from tests.integration.workers import Worker
from tests.kafka_server import KafkaServer
from tests.labels.reference_join import Row, rows
from tests.redis_server import RedisServer
from topologies.training_checkpoints import Checkpoints, Found

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(1500)]

MOST = int(os.environ.get("STREAM_RECO_CHAOS_EVENTS", "200000"))
CLICKS = 40_000
"""So many of the real log's, unless fewer are asked for: half a day, and 15,000 users."""
USERS, PARTITIONS, WINDOW_DAYS = 2000, 4, 14
SETTINGS = {
    "MODEL_ITEM_DIM": "4", "MODEL_TOWER_DIM": "4", "MODEL_USER_DIM": "4", "MODEL_CONTEXT_DIM": "4",
    "MODEL_CROSS_RANK": "4", "MODEL_HIDDEN": "8", "LABELS_NEGATIVE_RATE": "0.1", "TRAINING_CHECKPOINT_EVENTS": "20000",
    "TRAINING_CHECKPOINT_SECONDS": "5",
}  # fmt: skip
"""A small model: it is the way of each example that is looked at here."""


class Installation:
    """All processes of one installation, and what happens to them."""

    def __init__(self, kafka: KafkaSettings, broker: KafkaServer, redis: RedisServer, folder: Path) -> None:
        self.kafka, self._broker, self._redis, self._folder = kafka, broker, redis, folder
        self.given = SETTINGS | {
            "REDIS_URL": redis.url, "REDIS_PREFIX": kafka.prefix,
            "TRAINING_CHECKPOINT_DIR": str(folder / "checkpoints"),
        }  # fmt: skip
        self.workers: dict[str, Worker] = {}
        self.happened: list[str] = []

    def start(self, place: str) -> None:
        """Start the worker of a place, such as `labelling-1`, in its folder of before."""
        name = place.partition("-")[0]
        options = ("--sync-interval", "1") if name == "training" else ()
        self.workers[place] = Worker(name, self.kafka, self._folder / place, self.given, options)

    async def mishap(self, rng: np.random.Generator) -> None:
        """Let one thing happen."""
        kind = str(rng.choice(["kill", "kill", "kill", "freeze", "kafka", "flush", "redis", "leave", "join"]))
        place = str(rng.choice(sorted(self.workers)))
        self.happened.append(f"{kind} {place}" if kind in ("kill", "freeze", "leave") else kind)
        if kind == "kill":
            self.workers[place].kill()
            self.start(place)
        elif kind == "freeze":
            self.workers[place].freeze()
            await asyncio.sleep(2 * self.kafka.session_seconds)
            self.workers[place].wake()
        elif kind == "leave" and place not in ("training-0", "labelling-0", "interests-0"):
            self.workers.pop(place).stop()
        elif kind == "join" and len(self.workers) < 7:
            self.start(f"labelling-{len(self.happened) + 10}")
        elif kind == "kafka":
            self._broker.kill()
            await asyncio.sleep(1)
            self._broker.start()
        elif kind == "flush":
            self._redis.do("FLUSHALL")
        elif kind == "redis":
            self._redis.kill()
            await asyncio.sleep(1)
            self._redis.start()

    def said(self) -> str:
        """The last words of all workers."""
        return "\n\n".join(f"{place}:\n{worker.said()[-3000:]}" for place, worker in self.workers.items())

    def stop(self) -> None:
        """End all workers as an operator would."""
        for worker in self.workers.values():
            worker.process.terminate()
        for worker in self.workers.values():
            assert worker.process.wait(60) == 0, worker.said()

    def kill(self) -> None:
        """Leave nothing behind."""
        for worker in self.workers.values():
            worker.kill()


@dataclass(frozen=True)
class Log:
    """What comes, as it comes, and in how many portions, with a mishap after each."""

    events: list[Event]
    portions: int

    def users(self) -> list[Id]:
        """Some who do something in it."""
        users = dict.fromkeys(event.user_id for event in self.events if isinstance(event, Action))
        return list(users)[:USERS]


def simulated() -> Log:
    """Purchases come up to 20 days late, one event in twenty comes twice, each up to half of the lateness late."""
    span = MOST / 6 / (16 * DAY_MS / 1000)
    events = generate(MOST, 7, users=USERS, items=200, late_days=20.0, disorder_ms=30_000, duplicate_rate=0.05,
                      requests_per_second=span)  # fmt: skip
    return Log(list(events), portions=20)


def real(data_dir: Path) -> Log:
    """Clicks of a news portal, each of which is an example at once; one in ten comes twice, and all in disorder."""
    clicks = load_log(data_dir / "globo_clicks.parquet", "globo")[: min(MOST, CLICKS)]
    return Log(disordered(list(clicks), 7), portions=10)


@pytest.fixture(params=["simulated", pytest.param("globo", marks=pytest.mark.data)])
def log(request: pytest.FixtureRequest) -> Log:
    return simulated() if request.param == "simulated" else real(request.getfixturevalue("data_dir"))


def learned(found: Found) -> int:
    """How many examples a checkpoint has learned from."""
    settings = load(environ={f"STREAM_RECO_{name}": value for name, value in SETTINGS.items()}).settings
    learner = ExampleLearner(settings.labels, settings.signals, settings.model, settings.training)
    learner.restore(found.parts)
    return learner.lessons.examples


async def until_learned(checkpoints: Checkpoints, examples: int, seconds: float) -> int:
    """Wait until a checkpoint holds that many examples; returns how many it has learned from."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = checkpoints.newest()
        except CheckpointError:
            found = None  # what was listed has left meanwhile
        count = learned(found) if found else 0
        if count >= examples:
            return count
        assert time.monotonic() < deadline, f"learned from {count} of {examples} examples"
        await asyncio.sleep(1)


async def end_of_time(kafka: KafkaSettings, log: Sequence[Event]) -> None:
    """Let every deadline pass."""
    last = max(event.timestamp for event in log) + 3 * WINDOW_DAYS * DAY_MS
    for partition in range(kafka.partitions):
        await kafka_log.write(kafka, [(b"last", encode(ItemEvent(item_id="last", timestamp=last)))], partition)


async def until_read(installation: Installation, group: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while await kafka_log.lag(installation.kafka, group):
        assert time.monotonic() < deadline, installation.said()
        await asyncio.sleep(0.5)


async def labelled(installation: Installation, examples: int, seconds: float) -> Counter[Row]:
    """The examples, once there are so many: deadlines that pass all at once take more than one transaction."""
    deadline = time.monotonic() + seconds
    while True:
        found = rows(kafka_log.examples(await kafka_log.read(installation.kafka, "examples")))
        if found.total() >= examples or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1)


def test_nothing_is_lost_or_doubled_and_nobody_left_without_answer(
    log: Log, own_kafka: KafkaServer, redis_server: RedisServer, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(own_kafka.bootstrap, topic_prefix, partitions=PARTITIONS, session_seconds=6.0)
    installation = Installation(kafka, own_kafka, redis_server, tmp_path)

    async def story(visitor: Visitor) -> None:
        rng, events = np.random.default_rng(11), log.events
        for portion in np.array_split(np.arange(len(events)), log.portions):
            await kafka_log.write(kafka, [kafka_log.message(events[at]) for at in portion])
            await installation.mishap(rng)
            await asyncio.sleep(float(rng.random() * 3))
        await end_of_time(kafka, events)
        await until_read(installation, "labelling", 300)
        await until_read(installation, "interests", 300)
        wanted_labels = labels(events, WINDOW_DAYS * DAY_MS)
        found = await labelled(installation, wanted_labels.total(), 120)
        assert found == wanted_labels, installation.happened
        learned = await until_learned(Checkpoints(tmp_path / "checkpoints"), found.total(), 600)
        assert learned == found.total(), installation.happened
        users = RedisUsers(RedisLink(redis_server.url), kafka.prefix)
        wanted, deadline = histories(events), time.monotonic() + 60
        while copies(users, wanted) != wanted:
            assert time.monotonic() < deadline, installation.happened
            await asyncio.sleep(1)
        visitor.stop()
        assert not visitor.failures, (visitor.failures[:5], installation.happened)
        assert visitor.asked > 100
        assert len(visitor.versions) > 3

    with ExitStack() as left:
        left.callback(installation.kill)
        for place in ("labelling-0", "labelling-1", "interests-0", "training-0", "training-1"):
            installation.start(place)
        asyncio.run(_first_events(kafka, installation, log.events))
        scorer = ScorerProcess(redis_server.url, tmp_path / "scorer", installation.given)
        left.callback(scorer.stop)
        scorer.wait_until_ready()
        visitor = Visitor(scorer, log.users())
        visitor.start()
        asyncio.run(story(visitor))
        installation.stop()


async def _first_events(kafka: KafkaSettings, installation: Installation, log: Sequence[Event]) -> None:
    """Something to recommend, so that from then on every slate has items."""
    deadline = time.monotonic() + 120
    while not all("works on partitions" in installation.workers[place].said() for place in ("labelling-0",)):
        assert time.monotonic() < deadline, installation.workers["labelling-0"].said()
        await asyncio.sleep(0.2)
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log[:2000]])
