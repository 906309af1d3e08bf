"""A scorer replica behind its HTTP API: it follows a trainer over Redis and stores nothing on disk."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol
from uuid import uuid4

from stream_reco.cli.server.running import RunningServer, answering
from stream_reco.cli.server.warm_up import warm_up
from stream_reco.cli.server.warm_up_content import warm_up_content_in_background
from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.redis_states import RedisStates
from stream_reco.serve.replica.service import EventSink, ReplicaService
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate_features import SlateListener
from stream_reco.sync.redis.channel import RedisChannel
from stream_reco.terminal.errors import Misuse
from stream_reco.terminal.logs import log_to_stderr
from stream_reco.train.threads import bind_threads

_USER_SECONDS = 0.04
"""How long a request may wait for what Redis knows of its user."""
SWITCH_SECONDS = 5e-5
"""Longest turn in the interpreter of the thread that applies publications, while a request waits."""


class _Sink(EventSink, Protocol):
    """A sink that may take served slates too."""

    @property
    def watch(self) -> SlateListener | None: ...


@contextmanager
def serve_replica(settings: Settings) -> Iterator[RunningServer]:
    """Serve what the trainer publishes over `redis.url`; raises Misuse for wrong settings before anything slow begins.

    Redis and the trainer may come later: the scorer is ready once it has a first version.
    """
    log_to_stderr()
    with ExitStack() as stack:
        service = _replica_service(settings, stack)
        sys.setswitchinterval(SWITCH_SECONDS)
        with answering(settings, service) as running:
            yield running


def _replica_service(settings: Settings, stack: ExitStack) -> ReplicaService:
    """The service and everything that it uses, which `stack` closes."""
    publications, users_link = _links(settings, stack)
    served = ServingState(settings.model, settings.signals, settings.serve.row_precision)
    users = _users(settings, served, users_link)
    sink = _sink(settings, stack)
    scorer = _scorer(settings, served, users, None if sink is None else sink.watch, stack)
    channel = RedisChannel(publications, settings.redis.prefix, reader=f"{socket.gethostname()}-{os.getpid()}")
    stack.callback(channel.leave)
    return ReplicaService(
        served,
        scorer,
        users,
        channel,
        lateness_ms=settings.labels.lateness_ms,
        now_ms=SystemClock().now_ms,
        prepare=lambda: prepare(settings),
        sink=sink,
        limits=settings.serve,
        retrieve=settings.retrieve,
    )


def _links(settings: Settings, stack: ExitStack) -> tuple[RedisLink, RedisLink]:
    """A link for publications, and one for users with a timeout that a request can wait for."""
    try:
        publications = stack.enter_context(RedisLink.of(settings.redis))
        users = stack.enter_context(RedisLink.of(settings.redis, timeout_seconds=_USER_SECONDS))
    except ValueError as error:
        raise Misuse(str(error)) from error
    return publications, users


def _users(settings: Settings, served: ServingState, link: RedisLink) -> RemoteUserContexts:
    return RemoteUserContexts(
        served,
        RedisStates(RedisUsers(link, settings.redis.prefix, settings.redis.user_days)),
        settings.interests,
        history_days=settings.signals.history_days,
        seed=settings.training.seed,
    )


def _scorer(
    settings: Settings,
    served: ServingState,
    users: RemoteUserContexts,
    watch: SlateListener | None,
    stack: ExitStack,
) -> Scorer:
    scorer = Scorer(
        served,
        users,
        settings.retrieve,
        settings.slate,
        settings.training.seed,
        name=f"{uuid4().hex[:8]}-",
        watch=watch,
    )
    return stack.enter_context(closing(scorer))


def _sink(settings: Settings, stack: ExitStack) -> _Sink | None:
    """The sink of posted events: Kafka, where the settings name its brokers."""
    if not settings.kafka.bootstrap:
        return None
    from topologies.gateway.sink_thread import SinkThread

    return stack.enter_context(closing(SinkThread(settings, SystemClock())))


def prepare(settings: Settings) -> None:
    """Load the kernels of a scorer."""
    bind_threads(settings.training.threads)
    warm_up(settings.model, settings.signals, settings.serve.row_precision)
    warm_up_content_in_background()
