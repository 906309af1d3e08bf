"""Connections to a Kafka that may be away: waiting for it, saying so once, and letting go of it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError, KafkaTimeoutError, ProducerClosed

from stream_reco.config.servers import KafkaSettings
from topologies.client.cancellation import end
from topologies.client.configuration import client_arguments, connection_arguments

_LOGGER = logging.getLogger(__name__)
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 5.0
_PROBE_SECONDS = 5.0
_DISCONNECT_SECONDS = 1.0
_LEAVING: set[asyncio.Future[None]] = set()

AWAY = (KafkaError, OSError, asyncio.TimeoutError)
"""What clients raise when brokers do not answer, or answer that they cannot."""


class KafkaUnavailableError(RuntimeError):
    """No broker answers; the text names the address and the reason."""


class Startable(Protocol):
    """What all clients of aiokafka have."""

    def start(self) -> Awaitable[None]: ...


C = TypeVar("C", bound=Startable)
T = TypeVar("T")


async def connect(kafka: KafkaSettings, make: Callable[[], C], timeout: float = math.inf) -> C:
    """The client that `make` makes, started; tried again and again while no broker answers, which is logged once.

    Raises `KafkaUnavailableError` after `timeout` seconds, which by default never pass: no process ends because a
    server is away.
    """
    bound = None if math.isinf(timeout) else max(timeout, _PROBE_SECONDS)
    return await retry_while_unavailable(kafka, partial(_started, kafka, make, bound), timeout)


async def retry_while_unavailable(
    kafka: KafkaSettings,
    attempt: Callable[[], Awaitable[T]],
    timeout: float = math.inf,
    meanwhile: str = "trying again",
) -> T:
    """What `attempt` returns, made again and again while it raises `KafkaUnavailableError`; that, and its end, is
    logged once.

    Raises it after `timeout` seconds. `meanwhile` is what the log says is done.
    """
    began, wait, told = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            outcome = await attempt()
        except KafkaUnavailableError as away:
            if time.monotonic() - began + wait > timeout:
                raise
            if not told:
                _LOGGER.warning("%s; %s", away, meanwhile)
                told = True
        else:
            if told:
                _LOGGER.warning("Kafka at %s answers again", kafka.bootstrap)
            return outcome
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


async def _started(kafka: KafkaSettings, make: Callable[[], C], bound: float | None) -> C:
    # A client logs an error for each address at each try, and does not tell the reason to its caller: so ask first.
    await probe(kafka)
    client = make()
    try:
        # A producer that has found a broker waits for an answer for ever, and says nothing.
        await asyncio.wait_for(client.start(), bound)
    except BaseException as error:
        await close(client)
        if isinstance(error, AWAY):
            raise KafkaUnavailableError(f"Kafka at {kafka.bootstrap} does not answer: {reason_of(error)}") from error
        raise
    return client


async def with_admin(
    kafka: KafkaSettings, work: Callable[[AIOKafkaAdminClient], Awaitable[T]], timeout: float = math.inf
) -> T:
    """What `work` returns, given a client that asks about topics and makes them.

    It is done anew, with another client, where brokers go away before it is through, for as long as `connect` tries.
    """

    async def attempt() -> T:
        async with administration(kafka, timeout=0.0) as admin:
            try:
                return await work(admin)
            except AWAY as error:
                if not may_pass(error):
                    raise
                raise KafkaUnavailableError(
                    f"Kafka at {kafka.bootstrap} has not answered all: {reason_of(error)}"
                ) from error

    return await retry_while_unavailable(kafka, attempt, timeout)


@asynccontextmanager
async def administration(kafka: KafkaSettings, timeout: float = math.inf) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client that asks about topics and makes them, connected; `with_admin` is for whoever outlives brokers."""
    admin = await connect(kafka, lambda: AIOKafkaAdminClient(**client_arguments(kafka)), timeout)
    try:
        yield admin
    finally:
        await close(admin)


async def probe(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """Ask the addresses in turn until one answers: its oldest and newest version of each request, by the API's number.

    Raises `KafkaUnavailableError` with the first reason.
    """
    arguments = connection_arguments(client_arguments(kafka))
    arguments["request_timeout_ms"] = min(arguments["request_timeout_ms"], round(_PROBE_SECONDS * 1000))
    reasons = []
    for host, port, _ in collect_hosts(kafka.bootstrap):
        try:
            connection = await create_conn(host, port, **arguments)
        except AWAY as error:
            reasons.append(reason_of(error))
            continue
        versions: dict[int, tuple[int, int]] = dict(connection._versions)  # a client has no public way to ask
        connection.close()
        return versions
    raise KafkaUnavailableError(f"Kafka at {kafka.bootstrap} does not answer: {reasons[0]}")


async def close(client: Any, timeout: float = 5.0) -> None:
    """Close a producer, consumer or admin client, at the latest soon after `timeout` seconds.

    A producer sends what it holds before it closes, and without brokers would wait for ever; then it is dropped.
    """
    closing = asyncio.ensure_future(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    try:
        await asyncio.wait([closing], timeout=timeout)
        if not closing.done() and (sending := getattr(client, "_sender", None)) and sending.sender_task:
            # aiokafka itself has no way out of this: with its sender gone, `stop` goes on and closes the connections.
            sending.sender_task.cancel()
            await asyncio.wait([closing], timeout=timeout)
    finally:
        if not closing.done():
            closing.cancel()
        with contextlib.suppress(asyncio.CancelledError, *AWAY):
            await closing
        # Whoever is cancelled, and again while it tidies up, leaves nothing behind either.
        leaving = asyncio.ensure_future(_disconnect(client))
        _LEAVING.add(leaving)
        leaving.add_done_callback(_LEAVING.discard)
        await asyncio.shield(leaving)


async def _disconnect(client: Any) -> None:
    """End what a client leaves behind that was interrupted while it closed: it would connect again and again."""
    await end([future for future in _futures(client) if isinstance(future, asyncio.Task)])
    if isinstance(client, AIOKafkaProducer):
        client._message_accumulator.fail_all(ProducerClosed())
    inner = client.client if isinstance(client, AIOKafkaProducer) else client._client
    await asyncio.wait([asyncio.ensure_future(inner.close())], timeout=_DISCONNECT_SECONDS)
    for future in _futures(client):
        # Else asyncio complains that nobody has looked at it.
        if future.done() and not future.cancelled():
            future.exception()


def _futures(client: Any) -> list[asyncio.Future[Any]]:
    """What the parts of a client wait for: there is no public way to it."""
    names = ("_coordinator", "_fetcher", "_sender", "_txn_manager")
    parts = [getattr(client, name) for name in names if getattr(client, name, None) is not None]
    found = [value for part in parts for value in vars(part).values()]
    if isinstance(client, AIOKafkaProducer):
        held = client._message_accumulator
        for batch in [*held._pending_batches, *(batch for part in held._batches.values() for batch in part)]:
            found += [batch.future, batch._drain_waiter, *(future for future, _ in batch._msg_futures)]
    return [value for value in found if isinstance(value, asyncio.Future)]


def may_pass(error: BaseException) -> bool:
    """Whether what a client raised may not be raised at another try."""
    if isinstance(error, KafkaError):
        # The bare class is what a client raises that got no metadata from any broker.
        return error.retriable or isinstance(error, KafkaTimeoutError) or type(error) is KafkaError
    return isinstance(error, AWAY)


def reason_of(error: BaseException) -> str:
    """Why a broker does not answer, for people."""
    if isinstance(error, asyncio.TimeoutError):
        return "it is silent"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    name = type(error).__name__  # which errors of aiokafka say themselves
    return f"{name}: {str(error).removeprefix(name).lstrip(': ')}".rstrip(": ")
