"""The metrics of a worker, over HTTP: what Prometheus reads, and what tells that the process is alive."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import start_http_server

from stream_reco.config.servers import WorkSettings
from stream_reco.metrics import REGISTRY

_LOGGER = logging.getLogger(__name__)


class MetricsAddressError(ValueError):
    """The address that the settings name cannot be listened on; the text says why and what to do."""


@contextmanager
def metrics_server(work: WorkSettings) -> Iterator[int]:
    """Answer `/metrics` on a thread of its own; gives the port. Raises MetricsAddressError.

    It is up before anything else is: a worker that waits for Kafka has metrics too.
    """
    try:
        server, thread = start_http_server(work.metrics_port, work.metrics_host, REGISTRY)
    except OSError as error:
        raise MetricsAddressError(
            f"no metrics can be served at {work.metrics_host}:{work.metrics_port}: {error.strerror}; set"
            " work.metrics_host (STREAM_RECO_WORK_METRICS_HOST) to an address of this machine and work.metrics_port"
            " (STREAM_RECO_WORK_METRICS_PORT) to a free port, or to 0, which takes one"
        ) from error
    host = f"[{work.metrics_host}]" if ":" in work.metrics_host else work.metrics_host
    _LOGGER.info("metrics are at http://%s:%d/metrics", host, server.server_port)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
