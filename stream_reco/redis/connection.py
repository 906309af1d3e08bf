"""The one way to Redis: a client made from an address, with timeouts on every operation and two kinds of failure."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn, Protocol, Self, TypeVar, cast

import redis
import redis.cluster
import redis.sentinel
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    DataError,
    RedisClusterException,
    RedisError,
    ResponseError,
)
from redis.retry import Retry

from stream_reco import metrics
from stream_reco.redis.address import RedisAddress, RedisSource, address_of, parse_address

_LOGGER = logging.getLogger(__name__)
Argument = bytes | memoryview | str | int
_Reply = TypeVar("_Reply")
_FAILURES = (RedisError, RedisClusterException, OSError)
_NOT_EXECUTED = (ResponseError, AuthenticationError, BusyLoadingError, DataError)
_SHOWN_CHARACTERS = 300


class RedisFailure(RuntimeError):  # noqa: N818 - named for the condition
    """A command to Redis failed."""


class RedisUnreachable(RedisFailure):
    """Redis cannot be reached or timed out; whether the command was executed is unknown."""


class RedisRefused(RedisFailure):
    """Redis certainly did not execute the command; the text has its reason."""


class _Pipeline(Protocol):
    def execute_command(self, *args: Argument) -> object: ...
    def execute(self) -> list[Any]: ...


class _Client(Protocol):
    def execute_command(self, *args: Argument) -> Any: ...
    def pipeline(self, transaction: bool) -> _Pipeline: ...
    def close(self) -> None: ...


class RedisLink:
    """Sends commands to the Redis of an address; safe to use from several threads.

    It connects on first use and reconnects by itself. Each network operation waits at most `timeout_seconds`. Failed
    commands are not retried here: only the caller knows whether that is safe.
    """

    def __init__(
        self, address: str | RedisAddress, *, password: str | None = None, timeout_seconds: float = 1.0
    ) -> None:
        """Raises ValueError for a bad address (see `address.parse_address`)."""
        self.address = address if isinstance(address, RedisAddress) else parse_address(address, password)
        self._timeout = timeout_seconds
        self._client: _Client | None = None
        self._is_failing = False
        self._lock = threading.Lock()

    @classmethod
    def of(cls, source: RedisSource, timeout_seconds: float = 1.0) -> Self:
        """A link to the Redis that the settings name. Raises ValueError for a bad address (see `address_of`)."""
        return cls(address_of(source), timeout_seconds=timeout_seconds)

    def call(self, *command: Argument) -> Any:
        """Send one command and return the reply. Raises RedisUnreachable or RedisRefused."""
        try:
            return self._succeeded(self._connected().execute_command(*command))
        except _FAILURES as error:
            self._fail(error)

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands in one pipeline and return the replies; where it fails, some may have been executed."""
        try:
            pipeline = self._connected().pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return self._succeeded(pipeline.execute())
        except _FAILURES as error:
            self._fail(error)

    def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            with suppress(*_FAILURES):
                client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> _Client:
        with self._lock:
            if self._client is None:
                self._client = _client_of(self.address, self._timeout)
            return self._client

    def _succeeded(self, reply: _Reply) -> _Reply:
        if self._is_failing:
            self._is_failing = False
            _LOGGER.info("Redis at %s answers again", self.address)
        return reply

    def _fail(self, error: Exception) -> NoReturn:
        kind, what = (
            (RedisRefused, "refused") if isinstance(error, _NOT_EXECUTED) else (RedisUnreachable, "unreachable")
        )
        metrics.REDIS_FAILURES.labels(what).inc()
        text = str(error)[:_SHOWN_CHARACTERS]
        for secret in (self.address.password, self.address.sentinel_password):
            if secret:
                text = text.replace(secret, "***")
        fix = "" if kind is RedisUnreachable else "; correct that in Redis, or set another redis.url"
        message = f"Redis at {self.address} {what}: {type(error).__name__}: {text}{fix}"
        if not self._is_failing:
            # Logged once: a caller that polls would fill the log.
            self._is_failing = True
            _LOGGER.warning("%s", message)
        raise kind(message) from None


def _client_of(address: RedisAddress, timeout: float) -> _Client:
    timeouts: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    tls: dict[str, Any] = {"ssl": True, **dict(address.options)} if address.tls else {}
    if tls and "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() not in ("0", "false", "no")
    options = timeouts | tls | {"username": address.username, "password": address.password}
    untyped: Any = redis
    client: object
    if address.kind == "cluster":
        # The constructor asks the nodes for their slots, and raises where none answers.
        nodes = [untyped.cluster.ClusterNode(host, port) for host, port in address.hosts]
        client = untyped.cluster.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    elif address.kind == "sentinel":
        sentinel_login = {"username": address.sentinel_username, "password": address.sentinel_password}
        sentinels = untyped.sentinel.Sentinel(address.hosts, sentinel_kwargs=timeouts | tls | sentinel_login)
        client = sentinels.master_for(address.service, db=address.db, **options)
    elif address.kind == "unix":
        client = redis.Redis(unix_socket_path=address.path, db=address.db, **options)
    else:
        host, port = address.hosts[0]
        client = redis.Redis(host, port, address.db, **options)
    return cast(_Client, client)
