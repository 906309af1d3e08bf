"""The metrics of a worker over HTTP, and what happens where they cannot be served."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from stream_reco import metrics
from stream_reco.config.servers import WorkSettings
from topologies.process.heartbeat import Heartbeat
from topologies.process.host import host
from topologies.process.metrics_server import MetricsAddressError, metrics_server


def test_metrics_are_answered_until_the_end() -> None:
    metrics.WORK_PARTITIONS.labels("testing").set(3)
    with metrics_server(WorkSettings(), Heartbeat()) as port:
        told = urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    assert 'stream_reco_work_partitions{work="testing"} 3.0' in told
    with pytest.raises(OSError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5)


def test_a_port_can_be_taken_again_at_once() -> None:
    with metrics_server(WorkSettings(), Heartbeat()) as port:
        urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()
    with metrics_server(WorkSettings(metrics_port=port), Heartbeat()) as again:
        assert again == port


def test_an_address_that_cannot_be_had_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MetricsAddressError, match=rf"127\.0\.0\.1:{port}.*work\.metrics_port"):
            metrics_server(WorkSettings(metrics_port=port), Heartbeat()).__enter__()
    with pytest.raises(MetricsAddressError, match=r"nowhere\.invalid.*work\.metrics_host"):
        metrics_server(WorkSettings(metrics_host="nowhere.invalid"), Heartbeat()).__enter__()


def asked(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@pytest.fixture
def _own_signals() -> Iterator[None]:
    """What hosts something goes on hearing signals until the end of its process."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_signals")
def test_a_loop_that_hangs_is_not_alive_until_it_turns_again() -> None:
    heartbeat = Heartbeat(silent_seconds=1.0)
    answers: list[tuple[int, str]] = []

    async def work(_: asyncio.Event) -> None:
        for hung in (0.0, 2.5, 0.0):
            await asyncio.sleep(0.6)
            asking = threading.Timer(hung * 0.8, lambda: answers.append(asked(port, "/health/live")))
            asking.start()
            time.sleep(hung)
            await asyncio.to_thread(asking.join)

    with metrics_server(WorkSettings(), heartbeat) as port:
        assert asked(port, "/health/live") == (200, "alive\n"), "nothing has begun that could hang"
        host("hanging", "127.0.0.1:1", work, heartbeat)
        time.sleep(1.1)
        assert asked(port, "/health/live") == (200, "alive\n"), "it has ended, as it should"
    assert [status for status, _ in answers] == [200, 503, 200]
    assert "hung for 2 s" in answers[1][1]


def test_metrics_are_there_while_the_loop_hangs_and_nothing_else_ever() -> None:
    heartbeat = Heartbeat(silent_seconds=0.05)

    async def one_beat() -> None:
        beating = asyncio.create_task(heartbeat.beat())
        await asyncio.sleep(0)
        beating.cancel()

    asyncio.run(one_beat())
    time.sleep(0.1)
    with metrics_server(WorkSettings(), heartbeat) as port:
        assert asked(port, "/health/live")[0] == 503
        assert asked(port, "/metrics")[0] == 200
        assert asked(port, "/health") == (404, "here are /metrics and /health/live\n")


def test_it_answers_where_there_is_no_old_internet() -> None:
    with metrics_server(WorkSettings(metrics_host="::1"), Heartbeat()) as port:
        assert b"stream_reco_" in urlopen(f"http://[::1]:{port}/metrics", timeout=5).read()
