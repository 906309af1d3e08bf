"""A service behind its HTTP API, from the open port to the shutdown."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.auth import UnprotectedBindError
from stream_reco.serve.http.server import CannotListenError, HttpServer
from stream_reco.serve.service import Service
from stream_reco.serve.status import Status
from stream_reco.storage.checkpoint import CheckpointError
from stream_reco.storage.event_log_errors import LogError
from stream_reco.terminal.errors import Failure, Misuse

_POLL_SECONDS = 0.2


class Running(Protocol):
    """A server that listens, in one process or several."""

    @property
    def url(self) -> str:
        """Where it listens."""

    def wait_until_ready(self, stop: threading.Event) -> bool:
        """Wait until it is ready; False if `stop` is set before that. Raises `Failure` where it cannot start."""

    def status(self) -> Status:
        """The loop in figures."""

    def wait(self, stop: threading.Event) -> None:
        """Go on until `stop` is set."""


class Opening(Service, Protocol):
    """A service that starts on a thread of its own."""

    @property
    def opened(self) -> Future[Any]:
        """Done once it can answer; fails with the error that kept it from starting."""

    def start(self) -> None:
        """Begin to start, and return."""

    def close(self) -> None:
        """Stop, and release what it holds."""


@dataclass(frozen=True)
class RunningServer:
    """A server that listens; `service` may still be starting."""

    url: str
    service: Opening

    def wait_until_ready(self, stop: threading.Event) -> bool:
        """Wait until it is ready; False if `stop` is set before that. Raises `Failure` where it cannot start."""
        opened = self.service.opened
        while not opened.done() and not stop.wait(_POLL_SECONDS):
            pass
        if not opened.done():
            return False
        error = opened.exception()
        if isinstance(error, LogError | CheckpointError | ValueError | OSError):
            raise Failure(str(error)) from error
        if error is not None:
            raise error
        return True

    def status(self) -> Status:
        """The loop in figures."""
        return self.service.status()

    def wait(self, stop: threading.Event) -> None:
        """Go on until `stop` is set."""
        stop.wait()


@contextmanager
def wrong_addresses() -> Iterator[None]:
    """Say in the terms of commands that an address needs a token, or cannot be listened on."""
    try:
        yield
    except UnprotectedBindError as error:
        raise Misuse(str(error)) from error
    except CannotListenError as error:
        raise Failure(str(error)) from error


@contextmanager
def answering(settings: Settings, service: Opening) -> Iterator[RunningServer]:
    """Start a service and its HTTP server; stop both at the end."""
    with wrong_addresses():
        api = Api(service, SystemClock(), settings.serve)
        server = HttpServer(settings.serve.host, settings.serve.port)
    with server:
        service.start()
        server.start(api)
        try:
            yield RunningServer(server.url, service)
        finally:
            server.stop()
            service.close()
