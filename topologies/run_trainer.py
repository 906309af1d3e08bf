"""What `stream-reco work training` runs: a trainer that leads, or stands by for the one that does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.config.servers import given
from stream_reco.redis.connection import RedisLink
from stream_reco.sync import InProcessChannel
from stream_reco.sync.redis.channel import RedisChannel
from stream_reco.train.threads import bind_threads
from topologies.client.cancellation import is_done_before
from topologies.client.outage_log import log_outages
from topologies.process.heartbeat import Heartbeat
from topologies.process.host import host
from topologies.process.metrics_server import metrics_server
from topologies.topics.declaration import declared_topics, events_key
from topologies.topics.ensure import check_topics
from topologies.trainer.checkpoints import Checkpoints
from topologies.trainer.dependencies import NAME, TrainerDependencies
from topologies.trainer.election import LeaderElection
from topologies.trainer.standby import WarmStandby


def run(settings: Settings, sync_seconds: float) -> None:
    """Lead or stand by until SIGINT or SIGTERM; it waits for servers that are unavailable.

    Raises ValueError where a setting is missing or cannot be used, or where the checkpoints are of another model;
    TopicsError where topics are not as declared.
    """
    folder = Path(given(settings.training.checkpoint_dir, "training.checkpoint_dir", "all trainers share it"))
    redis = settings.redis
    given(redis.url, "redis.url", "training publishes there")
    number, count = settings.training.trainer, settings.training.trainers
    if count > settings.kafka.partitions:
        raise ValueError(
            f"training.trainers is {count}, and kafka.partitions {settings.kafka.partitions}: each trainer learns from"
            " partitions of its own, so there can be no more of them"
        )
    folder.mkdir(parents=True, exist_ok=True)
    first = Checkpoints(folder)
    checkpoints = Checkpoints(folder / f"trainer-{number}") if number else first
    standby, heartbeat = WarmStandby(settings, checkpoints, first if number else None), Heartbeat()
    threads = partial(bind_threads, settings.training.threads)
    with (
        metrics_server(settings.work, heartbeat),
        RedisLink.of(redis) as link,
        _learning_thread(standby, threads) as thread,
    ):
        dependencies = TrainerDependencies(
            settings,
            declared_topics(settings.kafka, events_key(settings.labels)),
            # What another trainer than the first one collects for scorers is taken by nobody.
            InProcessChannel(capacity=1) if number else RedisChannel(link, redis.prefix),
            checkpoints,
            standby,
            SystemClock(),
            thread,
            sync_seconds,
        )
        host(f"{settings.kafka.prefix}-{NAME}", settings.kafka.bootstrap, partial(_work, dependencies), heartbeat)


@contextmanager
def _learning_thread(standby: WarmStandby, initializer: Callable[[], None]) -> Iterator[Executor]:
    """One thread, joined at the end; while it still compiles it is left behind, as that may take a minute."""
    thread = ThreadPoolExecutor(1, "learning", initializer)
    try:
        yield thread
    finally:
        thread.shutdown(wait=standby.is_rehearsed, cancel_futures=not standby.is_rehearsed)


async def _work(dependencies: TrainerDependencies, ending: asyncio.Event) -> None:
    if await is_done_before(ending, check_topics(dependencies.settings)):
        async with log_outages(dependencies.settings.kafka):
            await LeaderElection(dependencies).run(ending)
