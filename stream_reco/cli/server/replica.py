"""A scorer replica behind its HTTP API: it follows a trainer over Redis and keeps nothing on disk."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Protocol
from uuid import uuid4

from stream_reco.cli.server.embedded import RunningServer, answering
from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.embedded.warm_up import warm_up
from stream_reco.redis.connection import RedisLink
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.service import EventSink, ReplicaService
from stream_reco.serve.replica.user_context import RemoteUserContexts
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.slate_features import SlateListener
from stream_reco.sync.redis.channel import RedisChannel
from stream_reco.terminal.errors import Misuse

_USER_SECONDS = 0.04
"""How long a request may wait for what Redis knows of its user."""
_SWITCH_SECONDS = 5e-5
"""How long the thread that applies publications may keep the interpreter from a request."""


class _Sink(EventSink, Protocol):
    """A sink of slates too, where that is of use."""

    @property
    def watch(self) -> SlateListener | None: ...


@contextmanager
def serve_replica(settings: Settings) -> Iterator[RunningServer]:
    """Serve what the trainer publishes over `redis.url`; wrong settings are told before anything slow begins.

    Neither Redis nor the trainer need be there yet: the scorer is ready once a first version has come.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO)
    redis = settings.redis
    with ExitStack() as stack:
        try:
            link = stack.enter_context(RedisLink.of(redis))
            soon = stack.enter_context(RedisLink.of(redis, timeout_seconds=_USER_SECONDS))
        except ValueError as error:
            raise Misuse(str(error)) from error
        served = ServingState(settings.model, settings.signals, settings.serve.row_precision)
        seed = settings.training.seed
        users = RemoteUserContexts(
            served,
            RedisUsers(soon, redis.prefix, redis.user_days),
            settings.interests,
            history_days=settings.signals.history_days,
            seed=seed,
        )
        sink = _sink(settings, stack)
        scorer = stack.enter_context(
            closing(
                Scorer(
                    served,
                    users,
                    settings.retrieve,
                    settings.slate,
                    seed,
                    name=f"{uuid4().hex[:8]}-",
                    watch=None if sink is None else sink.watch,
                )
            )
        )
        channel = RedisChannel(link, redis.prefix, reader=f"{socket.gethostname()}-{os.getpid()}")
        stack.callback(channel.leave)
        sys.setswitchinterval(_SWITCH_SECONDS)
        service = ReplicaService(
            served,
            scorer,
            users,
            channel,
            lateness_ms=settings.labels.lateness_ms,
            now_ms=SystemClock().now_ms,
            prepare=lambda: warm_up(settings),
            sink=sink,
        )
        with answering(settings, service) as running:
            yield running


def _sink(settings: Settings, stack: ExitStack) -> _Sink | None:
    """Where posted events go: into Kafka, where the settings say where that is."""
    if not settings.kafka.bootstrap:
        return None
    from topologies.gateway.sink_thread import SinkThread

    return stack.enter_context(closing(SinkThread(settings, SystemClock())))
