"""The HTTP server of a worker: metrics for Prometheus, and whether the worker is alive."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from stream_reco.config.servers import WorkSettings
from stream_reco.metrics import REGISTRY
from topologies.process.heartbeat import Heartbeat

METRICS, LIVE = "/metrics", "/health/live"
_LOGGER = logging.getLogger(__name__)
_Answer = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class MetricsAddressError(ValueError):
    """The metrics address of the settings cannot be used; the text says why and what to do."""


@contextmanager
def metrics_server(work: WorkSettings, heartbeat: Heartbeat) -> Iterator[int]:
    """Serve `/metrics` and `/health/live` on a thread of its own; yields the port. Raises MetricsAddressError.

    To be started first, so that a worker that waits for Kafka has metrics and is alive. Where the event loop hangs,
    `/health/live` is 503.
    """
    try:
        server = _listen(work.metrics_host, work.metrics_port, _application(heartbeat))
    except OSError as error:
        raise MetricsAddressError(
            f"no metrics can be served at {work.metrics_host}:{work.metrics_port}: {error.strerror}; set"
            " work.metrics_host (STREAM_RECO_WORK_METRICS_HOST) to an address of this machine and work.metrics_port"
            " (STREAM_RECO_WORK_METRICS_PORT) to a free port, or to 0, which takes one"
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    host = f"[{work.metrics_host}]" if ":" in work.metrics_host else work.metrics_host
    _LOGGER.info("metrics are at http://%s:%d/metrics", host, server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - it is called so
        """Requests are not logged."""


def _listen(host: str, port: int, application: _Answer) -> ThreadingWSGIServer:
    class Server(ThreadingWSGIServer):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    return make_server(host, port, application, Server, _Silent)


def _application(heartbeat: Heartbeat) -> _Answer:
    answer_metrics: _Answer = make_wsgi_app(REGISTRY)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == METRICS:
            return answer_metrics(environ, start)
        if path != LIVE:
            status, text = "404 Not Found", f"here are {METRICS} and {LIVE}"
        elif heartbeat.is_alive:
            status, text = "200 OK", "alive"
        else:
            status, text = "503 Service Unavailable", f"the event loop has hung for {heartbeat.silence:.0f} s"
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{text}\n".encode()]

    return answer
