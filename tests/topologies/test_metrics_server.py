"""The metrics of a worker over HTTP, and what happens where they cannot be served."""

from __future__ import annotations

import socket
from urllib.request import urlopen

import pytest

from stream_reco import metrics
from stream_reco.config.servers import WorkSettings
from topologies.metrics_server import MetricsAddressError, metrics_server


def test_metrics_are_answered_until_the_end() -> None:
    metrics.WORK_PARTITIONS.labels("testing").set(3)
    with metrics_server(WorkSettings()) as port:
        told = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    assert 'stream_reco_work_partitions{work="testing"} 3.0' in told
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_a_port_can_be_taken_again_at_once() -> None:
    with metrics_server(WorkSettings()) as port:
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
    with metrics_server(WorkSettings(metrics_port=port)) as again:
        assert again == port


def test_an_address_that_cannot_be_had_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricsAddressError, match=rf"127\.0\.0\.1:{port}.*work\.metrics_port"):
            metrics_server(WorkSettings(metrics_port=port)).__enter__()
    with pytest.raises(MetricsAddressError, match=r"nowhere\.invalid.*work\.metrics_host"):
        metrics_server(WorkSettings(metrics_host="nowhere.invalid")).__enter__()
