"""Everything goes wrong at once, and in the end nothing is lost or doubled, and nobody was left without an answer.

A hundred thousand events of a simulated shop, and the first clicks of a real log, go through labelling, interests,
training and a scorer while processes are killed, frozen, added and removed, Kafka and Redis restart, and Redis loses
everything it has.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from stream_reco.config import Settings, load
from stream_reco.config.servers import KafkaSettings
from stream_reco.datasets import load as load_log
from stream_reco.events import Action, Event, Id, ItemEvent, encode
from stream_reco.labels import Example
from stream_reco.labels.settings import DAY_MS
from stream_reco.learner.distributed_learner import DistributedLearner
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.simulate import generate
from tests.integration import kafka_log
from tests.integration.arriving import disordered
from tests.integration.learned import auc, learned, pairs_of, undisturbed
from tests.integration.mishaps import KINDS, Installation
from tests.integration.references import histories, labels, until_equal
from tests.integration.scorer import ScorerProcess, Visitor
from tests.kafka_server import KafkaServer
from tests.labels.reference_join import rows
from tests.redis_server import RedisServer
from topologies.trainer.checkpoints import Checkpoints

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(1500)]

MOST = int(os.environ.get("STREAM_RECO_CHAOS_EVENTS", "100000"))
CLICKS = 30_000
"""So many of the real log's, unless fewer are asked for: twelve hours, and 11,000 users."""
USERS, PARTITIONS, WINDOW_DAYS = 2000, 4, 14
SETTINGS = {
    "MODEL_ITEM_DIM": "4",
    "MODEL_TOWER_DIM": "4",
    "MODEL_USER_DIM": "4",
    "MODEL_CONTEXT_DIM": "4",
    "MODEL_CROSS_RANK": "4",
    "MODEL_HIDDEN": "8",
    "LABELS_POLICY": "conclusive",
    "LABELS_NEGATIVE_RATE": "0.1",
    "TRAINING_CHECKPOINT_EVENTS": "20000",
    "TRAINING_CHECKPOINT_SECONDS": "2",
    "TRAINING_BATCH": "64",
    "TRAINING_WAIT_SECONDS": "86400",
    "TRAINING_HARD_NEGATIVES": "4",
    "TRAINING_POPULAR_NEGATIVES": "2",
}
"""A small model, and few steps: it is the way of each example that is looked at here."""
SEEDS_DIFFER_BY = 0.12
"""In AUC, where nothing is disturbed and only the seed of the model is another."""
LOG_CHARACTERS = 8000
"""So many of a scorer's log tell why it could not answer."""


@dataclass(frozen=True)
class Log:
    """What comes, as it comes, and how many rounds of mishaps happen meanwhile."""

    events: list[Event]
    rounds: int
    seed: int

    def users(self) -> list[Id]:
        """Some who do something in it."""
        users = dict.fromkeys(event.user_id for event in self.events if isinstance(event, Action))
        return list(users)[:USERS]


def simulated() -> Log:
    """Purchases come up to 20 days late, one event in twenty comes twice, each up to half of the lateness late."""
    span = MOST / 6 / (16 * DAY_MS / 1000)
    events = generate(
        MOST,
        7,
        users=USERS,
        items=200,
        late_days=20.0,
        disorder_ms=30_000,
        duplicate_rate=0.05,
        requests_per_second=span,
    )
    return Log(list(events), rounds=2, seed=11)


def real(data_dir: Path) -> Log:
    """Clicks of a news portal, each of which is an example at once; one in ten comes twice, and all in disorder."""
    clicks = load_log(data_dir / "globo_clicks.parquet", "globo")[: min(MOST, CLICKS)]
    return Log(disordered(list(clicks), 7), rounds=1, seed=6)


@pytest.fixture(params=["simulated", pytest.param("globo", marks=pytest.mark.data)])
def log(request: pytest.FixtureRequest) -> Log:
    return simulated() if request.param == "simulated" else real(request.getfixturevalue("data_dir"))


def settings() -> Settings:
    return load(environ={f"STREAM_RECO_{name}": value for name, value in SETTINGS.items()}).settings


async def until_learned(checkpoints: Checkpoints, examples: int, seconds: float) -> DistributedLearner:
    """Wait until a checkpoint holds that many examples; returns its learner."""
    deadline = time.monotonic() + seconds
    learner, known = None, ""
    while learner is None or learner.queue.examples < examples:
        learner, known = learned(checkpoints, settings(), known) or (learner, known)
        count = learner.queue.examples if learner else 0
        assert time.monotonic() < deadline, f"learned from {count} of {examples} examples"
        await asyncio.sleep(1)
    return learner


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


async def labelled(installation: Installation, examples: int, seconds: float) -> list[Example]:
    """The examples, once there are so many: deadlines that pass all at once take more than one transaction."""
    deadline = time.monotonic() + seconds
    while True:
        found = kafka_log.examples(await kafka_log.read(installation.kafka, "examples"))
        if len(found) >= examples or time.monotonic() > deadline:
            return found
        await asyncio.sleep(1)


def test_nothing_is_lost_or_doubled_and_nobody_left_without_answer(
    log: Log, own_kafka: KafkaServer, redis_server: RedisServer, topic_prefix: str, tmp_path: Path
) -> None:
    kafka = KafkaSettings(own_kafka.bootstrap, topic_prefix, partitions=PARTITIONS, session_seconds=6.0)
    given = SETTINGS | {
        "REDIS_URL": redis_server.url,
        "REDIS_PREFIX": topic_prefix,
        "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints"),
    }
    installation = Installation(kafka, own_kafka, redis_server, tmp_path, given)

    async def story(visitor: Visitor) -> None:
        rng, events = np.random.default_rng(log.seed), log.events
        mishaps = [str(kind) for _ in range(log.rounds) for kind in rng.permutation(KINDS)]
        for kind, portion in zip(mishaps, np.array_split(np.arange(len(events)), len(mishaps)), strict=True):
            await kafka_log.write(kafka, [kafka_log.message(events[at]) for at in portion])
            await installation.mishap(kind, rng)
            await asyncio.sleep(float(rng.random() * 3))
        await end_of_time(kafka, events)
        reference = asyncio.create_task(asyncio.to_thread(labels, events, WINDOW_DAYS * DAY_MS))
        await until_read(installation, "labelling", 300)
        await until_read(installation, "interests", 300)
        await installation.all_awake()
        wanted = await reference
        found = await labelled(installation, wanted.total(), 120)
        assert rows(found) == wanted
        plain = asyncio.create_task(asyncio.to_thread(undisturbed, events, found, settings()))
        learner = await until_learned(Checkpoints(tmp_path / "checkpoints"), len(found), 600)
        assert learner.queue.examples == len(found)
        pairs = pairs_of(found, rng)
        one, other = auc(learner, pairs), auc(await plain, pairs)
        assert abs(one - other) < SEEDS_DIFFER_BY, (one, other)
        users = RedisUsers(RedisLink(redis_server.url), kafka.prefix)
        await until_equal(users, histories(events), 60)
        visitor.stop()
        assert not visitor.failures, visitor.failures[:5]
        assert visitor.asked > 100
        assert len(visitor.versions) > 3

    with ExitStack() as left:
        left.callback(installation.kill)
        installation.start()
        scorer = ScorerProcess(redis_server.url, tmp_path / "scorer", given)
        left.callback(scorer.stop)
        asyncio.run(_first_events(kafka, installation, log.events))
        scorer.wait_until_it_recommends()
        visitor = Visitor(scorer, log.users())
        visitor.start()
        try:
            asyncio.run(story(visitor))
            installation.stop()
        except AssertionError as error:
            error.add_note(f"what had happened: {', '.join(installation.happened)}")
            error.add_note(f"what the scorer said last:\n{scorer.said()[-LOG_CHARACTERS:]}")
            raise


async def _first_events(kafka: KafkaSettings, installation: Installation, log: Sequence[Event]) -> None:
    """Something to recommend, so that from then on every slate has items."""
    installation.workers["labelling-0"].wait_until_at_work(120)
    await kafka_log.write(kafka, [kafka_log.message(event) for event in log[:2000]])
