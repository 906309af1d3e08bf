"""What `stream-reco work NAME` runs: workers that share the partitions of the events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from functools import partial

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from topologies.connecting import administration
from topologies.hosting import host
from topologies.labelling import Labelling
from topologies.metrics_server import metrics_server
from topologies.partition_clients import PartitionClients
from topologies.partitions import Partitions
from topologies.role import Role
from topologies.state_folder import state_folder
from topologies.topic_checks import create_absent, require
from topologies.topics import Topics, declared_topics, events_key

_LOGGER = logging.getLogger(__name__)


def labelling(settings: Settings, topics: Topics) -> Role:
    """Impressions and actions become examples."""
    destinations = topics.examples.name, topics.dead_letters.name
    future_ms = round(settings.serve.future_seconds * 1000)
    return Role("labelling", topics.events.name, topics.labelling_state.name,
                lambda store: Labelling(settings.labels, future_ms, destinations, store))


ROLES = {"labelling": labelling}


def run(name: str, settings: Settings) -> None:
    """Work until SIGINT or SIGTERM; a Kafka that is away is waited for.

    Raises TopicsError where the topics are not as they must be, StateFolderError where the state folder cannot be had,
    MetricsAddressError where the metrics cannot be served.
    """
    role = ROLES[name](settings, declared_topics(settings.kafka, events_key(settings.labels)))
    with metrics_server(settings.work):
        host(f"{settings.kafka.prefix}-{name}", settings.kafka.bootstrap, partial(_work_on, role, settings))


async def _work_on(role: Role, settings: Settings, ending: asyncio.Event) -> None:
    with state_folder(settings.state, role.name) as folder:
        if not await _until(ending, _check_topics(settings)):
            return
        clients = PartitionClients(settings.kafka, role.name)
        await Partitions(role, folder, clients, SystemClock(), settings.kafka.session_seconds).run(ending)


async def _check_topics(settings: Settings) -> None:
    """Make the topics that are absent; raises TopicsError where others are not as they must be."""
    key = events_key(settings.labels)
    async with administration(settings.kafka) as admin:
        for topic in await create_absent(admin, settings.kafka, key):
            _LOGGER.info("made the topic %s", topic.name)
        await require(admin, settings.kafka, key)


async def _until(ending: asyncio.Event, work: Coroutine[object, object, None]) -> bool:
    """Whether the work was done before `ending` was set; raises what it raises."""
    tasks = [asyncio.create_task(work), asyncio.create_task(ending.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    done = tasks[0].done()
    for task in tasks:
        task.cancel()
    if done:
        tasks[0].result()
    return done
