"""Connections to a Kafka that may be unavailable: retry until it answers, log that once, and close cleanly."""

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
_DISCONNECTING: set[asyncio.Future[None]] = set()
"""Keeps the tasks of `close` alive: the event loop holds weak references alone."""

AWAY = (KafkaError, OSError, asyncio.TimeoutError)
"""What clients raise when brokers do not answer, or answer with an error."""


class KafkaUnavailableError(RuntimeError):
    """No broker answers; the text names the address and the reason."""


class Startable(Protocol):
    """All clients of aiokafka."""

    def start(self) -> Awaitable[None]: ...


C = TypeVar("C", bound=Startable)
T = TypeVar("T")


async def connect(kafka: KafkaSettings, make: Callable[[], C], timeout: float = math.inf) -> C:
    """A client from `make`, started; retries while no broker answers, which is logged once.

    Raises `KafkaUnavailableError` after `timeout` seconds. There is none by default: no process ends because a server
    is unavailable.
    """
    bound = None if math.isinf(timeout) else max(timeout, _PROBE_SECONDS)
    return await retry_while_unavailable(kafka, partial(_started, kafka, make, bound), timeout)


async def retry_while_unavailable(
    kafka: KafkaSettings,
    attempt: Callable[[], Awaitable[T]],
    timeout: float = math.inf,
    meanwhile: str = "trying again",
) -> T:
    """What `attempt` returns, retried while it raises `KafkaUnavailableError`; the outage and its end are logged once.

    Raises the error after `timeout` seconds. `meanwhile` completes the log line of the outage.
    """
    began, wait, logged = time.monotonic(), _FIRST_WAIT, False
    while True:
        try:
            outcome = await attempt()
        except KafkaUnavailableError as away:
            if time.monotonic() - began + wait > timeout:
                raise
            if not logged:
                _LOGGER.warning("%s; %s", away, meanwhile)
                logged = True
        else:
            if logged:
                _LOGGER.warning("Kafka at %s answers again", kafka.bootstrap)
            return outcome
        await asyncio.sleep(wait)
        wait = min(2 * wait, _LONGEST_WAIT)


async def _started(kafka: KafkaSettings, make: Callable[[], C], bound: float | None) -> C:
    # A client logs an error for each address at each attempt, and hides the reason from its caller: so probe first.
    await probe(kafka)
    client = make()
    try:
        # A producer that has found a broker waits for its answer for ever, without a log line.
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
    """What `work` returns, given a connected admin client.

    Retried with a new client where brokers become unavailable before it is done, for as long as `connect` retries.
    """

    async def attempt() -> T:
        async with administration(kafka, timeout=0.0) as admin:
            try:
                return await work(admin)
            except AWAY as error:
                if not may_pass(error):
                    raise
                raise KafkaUnavailableError(
                    f"Kafka at {kafka.bootstrap} did not answer all requests: {reason_of(error)}"
                ) from error

    return await retry_while_unavailable(kafka, attempt, timeout)


@asynccontextmanager
async def administration(kafka: KafkaSettings, timeout: float = math.inf) -> AsyncIterator[AIOKafkaAdminClient]:
    """A connected admin client; `with_admin` also retries where brokers become unavailable."""
    admin = await connect(kafka, lambda: AIOKafkaAdminClient(**client_arguments(kafka)), timeout)
    try:
        yield admin
    finally:
        await close(admin)


async def probe(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    """Try the addresses in turn until one answers; returns the oldest and newest version of each request by API key.

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
        versions: dict[int, tuple[int, int]] = dict(connection._versions)  # aiokafka has no public accessor
        connection.close()
        return versions
    raise KafkaUnavailableError(f"Kafka at {kafka.bootstrap} does not answer: {reasons[0]}")


async def close(client: Any, timeout: float = 5.0) -> None:
    """Close a producer, consumer or admin client, within little more than `timeout` seconds.

    A producer sends its buffered messages before it closes, and would wait for ever without brokers; they are dropped.
    """
    closing = asyncio.ensure_future(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    try:
        await asyncio.wait([closing], timeout=timeout)
        if not closing.done() and (sending := getattr(client, "_sender", None)) and sending.sender_task:
            # aiokafka never gives up here: with its sender cancelled, `stop` goes on and closes the connections.
            sending.sender_task.cancel()
            await asyncio.wait([closing], timeout=timeout)
    finally:
        if not closing.done():
            closing.cancel()
        with contextlib.suppress(asyncio.CancelledError, *AWAY):
            await closing
        # Shielded: cancelled again while it cleans up, this leaves no connections behind either.
        disconnecting = asyncio.ensure_future(_disconnect(client))
        _DISCONNECTING.add(disconnecting)
        disconnecting.add_done_callback(_DISCONNECTING.discard)
        await asyncio.shield(disconnecting)


async def _disconnect(client: Any) -> None:
    """End the tasks of a client whose `stop` was interrupted: they would reconnect again and again."""
    await end([future for future in _futures(client) if isinstance(future, asyncio.Task)])
    if isinstance(client, AIOKafkaProducer):
        client._message_accumulator.fail_all(ProducerClosed())
    inner = client.client if isinstance(client, AIOKafkaProducer) else client._client
    await asyncio.wait([asyncio.ensure_future(inner.close())], timeout=_DISCONNECT_SECONDS)
    for future in _futures(client):
        # Otherwise asyncio logs that the exception was never retrieved.
        if future.done() and not future.cancelled():
            future.exception()


def _futures(client: Any) -> list[asyncio.Future[Any]]:
    """The futures that the parts of a client hold; aiokafka has no public accessor."""
    names = ("_coordinator", "_fetcher", "_sender", "_txn_manager")
    parts = [getattr(client, name) for name in names if getattr(client, name, None) is not None]
    found = [value for part in parts for value in vars(part).values()]
    if isinstance(client, AIOKafkaProducer):
        held = client._message_accumulator
        for batch in [*held._pending_batches, *(batch for part in held._batches.values() for batch in part)]:
            found += [batch.future, batch._drain_waiter, *(future for future, _ in batch._msg_futures)]
    return [value for value in found if isinstance(value, asyncio.Future)]


def may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed after this error."""
    if isinstance(error, KafkaError):
        # A client raises the bare class where no broker gave it metadata.
        return error.retriable or isinstance(error, KafkaTimeoutError) or type(error) is KafkaError
    return isinstance(error, AWAY)


def reason_of(error: BaseException) -> str:
    """Why a broker does not answer, as a readable text."""
    if isinstance(error, asyncio.TimeoutError):
        return "timed out"
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    name = type(error).__name__  # aiokafka repeats it in some of its texts
    return f"{name}: {str(error).removeprefix(name).lstrip(': ')}".rstrip(": ")
