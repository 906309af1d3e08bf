"""What `serve` and `demo` share: a service behind the HTTP API, from the first word to the last."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import TimeoutError as NotYet
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from stream_reco.cli.failure import Failure, Misuse

if TYPE_CHECKING:
    from stream_reco.config import Settings
    from stream_reco.embedded import Engine, Observer
    from stream_reco.embedded.service import EngineService

LEAST_SYNC_SECONDS = 0.1


class Stop:
    """Set by Ctrl-C and SIGTERM; a second one ends the process at once."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __enter__(self) -> Stop:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)

    def _ask(self, number: int, _: FrameType | None) -> None:
        if self.asked.is_set():
            sys.exit(128 + number)
        self.asked.set()


def say(text: str) -> None:
    """A line for people."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def check_sync_interval(seconds: float) -> float:
    """The interval in seconds; raises Misuse where it makes no sense."""
    if not LEAST_SYNC_SECONDS <= seconds <= 86_400:
        raise Misuse(f"--sync-interval is {seconds:g}: give seconds of wall time, from {LEAST_SYNC_SECONDS} to 86400")
    return seconds


@contextmanager
def running(
    settings: Settings, data: Path | None, sync_seconds: float, observer: Observer | None = None
) -> Iterator[tuple[EngineService, str]]:
    """The service, still getting ready, and the URL of its API; at the end both are closed cleanly."""
    from stream_reco.clock import SystemClock
    from stream_reco.embedded.service import EngineService
    from stream_reco.serve.api import Api
    from stream_reco.serve.api_server import CannotListenError, HttpServer
    from stream_reco.serve.auth import UnprotectedBindError

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    service = EngineService(_opening(settings, data, observer), sync_seconds=sync_seconds)
    try:
        api = Api(service, SystemClock(), settings.serve)
        server = HttpServer(settings.serve.host, settings.serve.port)
    except (CannotListenError, UnprotectedBindError) as error:
        raise Failure(str(error)) from error
    service.start()
    try:
        with server:
            server.start(api)
            yield service, server.url
    finally:
        service.close()


def _opening(settings: Settings, data: Path | None, observer: Observer | None) -> Callable[[], Engine]:
    def open_engine() -> Engine:
        from stream_reco.embedded import Engine
        from stream_reco.embedded.warm_up import warm_up

        # A folder that cannot be used is told at once, not after the kernels were compiled.
        engine = Engine(data, settings, observer=observer)
        try:
            warm_up(settings)
        except BaseException:
            engine.close()
            raise
        return engine

    return open_engine


def wait_until_ready(service: EngineService, stop: Stop) -> float | None:
    """Seconds until the service could answer, None if it was stopped before; raises Failure where it never will."""
    from stream_reco.embedded.log_errors import LogError
    from stream_reco.train.checkpoint import CheckpointError

    started = time.monotonic()
    while not stop.asked.is_set():
        try:
            service.opened.result(0.1)
        except NotYet:
            continue
        except (CheckpointError, LogError, ValueError, OSError) as error:
            raise Failure(" ".join(str(error).split())) from error
        return time.monotonic() - started
    return None

