"""What `stream-reco work labelling` and `work interests` run: workers that share the partitions of the events."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import ExitStack, closing
from functools import partial

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.config.servers import given
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.sync.redis.channel import RedisChannel
from topologies.client.cancellation import is_done_before
from topologies.client.outage_log import log_outages
from topologies.partitions.assigned import AssignedPartitions
from topologies.partitions.processor import WorkerSpec
from topologies.partitions.state_folder import state_folder
from topologies.partitions.task import PartitionClients
from topologies.process.heartbeat import Heartbeat
from topologies.process.host import host
from topologies.process.metrics_server import metrics_server
from topologies.processors.labelling import Labelling
from topologies.topics.declaration import Topics, declared_topics, events_key
from topologies.topics.ensure import check_topics

_VECTORS_SECONDS = 5.0
"""How long interests wait at their start for the vectors of items: without them no item has a neighbour."""


def labelling(settings: Settings, topics: Topics, _: ExitStack) -> WorkerSpec:
    """Impressions and actions become examples."""
    destinations = topics.examples.name, topics.dead_letters.name
    future_ms = round(settings.serve.future_seconds * 1000)
    # Where events are keyed by group, the slates of a user lie in another partition: examples get late features.
    served = topics.served.name if events_key(settings.labels) == "user_id" else None
    return WorkerSpec(
        "labelling",
        topics.events.name,
        topics.labelling_state.name,
        lambda _, store: Labelling(settings.labels, future_ms, destinations, store, served),
        side_topics=(served,) if served is not None else (),
    )


def interests(settings: Settings, topics: Topics, stack: ExitStack) -> WorkerSpec:
    """Actions become users' histories and interests; what it opens is closed with `stack`."""
    # These bring PyTorch with them: three seconds and half a gigabyte that labelling can do without.
    from topologies.processors.interests import InterestsProcessor
    from topologies.processors.item_vectors import ItemVectors

    redis = settings.redis
    given(redis.url, "redis.url", "interests writes users there and reads publications; say where Redis is")
    link = stack.enter_context(RedisLink.of(redis))
    reader = f"interests-{socket.gethostname()}-{os.getpid()}"
    channel = RedisChannel(link, redis.prefix, reader=reader)
    vectors = stack.enter_context(closing(ItemVectors(settings.model, channel)))
    vectors.wait(_VECTORS_SECONDS)
    users = RedisUsers(link, redis.prefix, redis.user_days)
    future_ms = round(settings.serve.future_seconds * 1000)
    rooms = settings.labels, settings.signals, settings.interests
    arguments = rooms, future_ms, vectors, users, settings.kafka.session_seconds
    return WorkerSpec(
        "interests", topics.events.name, topics.interests_state.name, partial(InterestsProcessor, *arguments)
    )


SPECS = {"labelling": labelling, "interests": interests}


def run(name: str, settings: Settings) -> None:
    """Work until SIGINT or SIGTERM; waits for a Kafka that is unavailable.

    Raises TopicsError where the topics are not as declared, StateFolderError where the state folder cannot be used,
    MetricsAddressError where the metrics cannot be served.
    """
    with ExitStack() as stack:
        spec = SPECS[name](settings, declared_topics(settings.kafka, events_key(settings.labels)), stack)
        heartbeat = Heartbeat()
        stack.enter_context(metrics_server(settings.work, heartbeat))
        work = partial(_work, spec, settings)
        host(f"{settings.kafka.prefix}-{name}", settings.kafka.bootstrap, work, heartbeat)


async def _work(spec: WorkerSpec, settings: Settings, ending: asyncio.Event) -> None:
    with state_folder(settings.state, spec.name) as folder:
        if not await is_done_before(ending, check_topics(settings)):
            return
        clients = PartitionClients(settings.kafka, spec.name)
        async with log_outages(settings.kafka):
            await AssignedPartitions(spec, folder, clients, SystemClock(), settings.kafka.session_seconds).run(ending)
