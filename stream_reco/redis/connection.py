"""The one way to Redis: a client made from an address, with timeouts everywhere, whose failures are of two kinds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
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
from stream_reco.redis.address import RedisAddress, parse_address

_LOGGER = logging.getLogger(__name__)
Argument = bytes | memoryview | str | int
_Answer = TypeVar("_Answer")
_FAILURES = (RedisError, RedisClusterException, OSError)
_NOT_DONE = (ResponseError, AuthenticationError, BusyLoadingError, DataError)
_SHOWN = 300


class RedisFailure(RuntimeError):  # noqa: N818 - named for what is the case
    """Redis did not answer with what was asked for."""


class RedisUnreachable(RedisFailure):
    """Redis cannot be reached or did not answer in time; whether it did what was asked is unknown."""


class RedisRefused(RedisFailure):
    """Redis did certainly not do what was asked, and says why."""


class RedisGiven(Protocol):
    """What settings say of Redis."""

    @property
    def url(self) -> str: ...
    @property
    def password(self) -> str | None: ...
    @property
    def sentinel_username(self) -> str | None: ...
    @property
    def sentinel_password(self) -> str | None: ...


class _Pipeline(Protocol):
    def execute_command(self, *args: Argument) -> object: ...
    def execute(self) -> list[Any]: ...


class _Client(Protocol):
    def execute_command(self, *args: Argument) -> Any: ...
    def pipeline(self, transaction: bool) -> _Pipeline: ...
    def close(self) -> None: ...


class RedisLink:
    """Sends commands to the Redis of an address; safe to use from several threads.

    It connects when it is first used and again by itself. Each network operation waits at most `timeout_seconds`; what
    failed is not tried again here, since whoever asked knows better what has become of it.
    """

    def __init__(
        self, address: str | RedisAddress, *, password: str | None = None, timeout_seconds: float = 1.0
    ) -> None:
        """Raises ValueError for an address that is none (see `redis_address.parse_address`)."""
        self.address = address if isinstance(address, RedisAddress) else parse_address(address, password)
        self._timeout = timeout_seconds
        self._client: _Client | None = None
        self._fails = False
        self._lock = threading.Lock()

    @classmethod
    def of(cls, given: RedisGiven, timeout_seconds: float = 1.0) -> Self:
        """A link to the Redis of the settings. Raises ValueError where their address is none."""
        address = replace(
            parse_address(given.url, given.password),
            sentinel_username=given.sentinel_username,
            sentinel_password=given.sentinel_password,
        )
        return cls(address, timeout_seconds=timeout_seconds)

    def call(self, *command: Argument) -> Any:
        """What Redis answers to one command. Raises RedisUnreachable or RedisRefused."""
        try:
            return self._worked(self._connected().execute_command(*command))
        except _FAILURES as error:
            self._fail(error)

    def call_many(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """What Redis answers to many commands sent at once; where it fails, some of them may have been done."""
        try:
            pipeline = self._connected().pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            return self._worked(pipeline.execute())
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

    def _worked(self, answer: _Answer) -> _Answer:
        if self._fails:
            self._fails = False
            _LOGGER.info("Redis at %s answers again", self.address)
        return answer

    def _fail(self, error: Exception) -> NoReturn:
        kind, what = (RedisRefused, "refused") if isinstance(error, _NOT_DONE) else (RedisUnreachable, "unreachable")
        metrics.REDIS_FAILURES.labels(what).inc()
        text = str(error)[:_SHOWN]
        for secret in (self.address.password, self.address.sentinel_password):
            if secret:
                text = text.replace(secret, "***")
        fix = "" if kind is RedisUnreachable else "; see to it there, or set another redis.url"
        told = f"Redis at {self.address} {what}: {type(error).__name__}: {text}{fix}"
        if not self._fails:
            # Said once: whoever polls would fill the log.
            self._fails = True
            _LOGGER.warning("%s", told)
        raise kind(told) from None


def _client_of(address: RedisAddress, timeout: float) -> _Client:
    waits: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    tls: dict[str, Any] = {"ssl": True, **dict(address.options)} if address.tls else {}
    if tls and "ssl_check_hostname" in tls:
        tls["ssl_check_hostname"] = tls["ssl_check_hostname"].lower() not in ("0", "false", "no")
    let_in = waits | tls | {"username": address.username, "password": address.password}
    untyped: Any = redis
    client: object
    if address.kind == "cluster":
        # It asks the nodes for their slots at once, and raises where none answers.
        nodes = [untyped.cluster.ClusterNode(host, port) for host, port in address.hosts]
        client = untyped.cluster.RedisCluster(startup_nodes=nodes, require_full_coverage=False, **let_in)
    elif address.kind == "sentinel":
        asked = {"username": address.sentinel_username, "password": address.sentinel_password}
        sentinels = untyped.sentinel.Sentinel(address.hosts, sentinel_kwargs=waits | tls | asked)
        client = sentinels.master_for(address.service, db=address.db, **let_in)
    elif address.kind == "unix":
        client = redis.Redis(unix_socket_path=address.path, db=address.db, **let_in)
    else:
        host, port = address.hosts[0]
        client = redis.Redis(host, port, address.db, **let_in)
    return cast(_Client, client)
