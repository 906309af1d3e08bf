"""`stream-reco work` is stopped at any time: it ends quietly, with status 0 unless a second signal comes."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stream_reco.config.servers import KafkaSettings
from tests.integration.workers import Worker
from tests.programs import ROOT

pytestmark = pytest.mark.timeout(180)

NOWHERE = KafkaSettings(bootstrap="127.0.0.1:1")
STUBBORN = """
import asyncio, sys
from topologies.process.heartbeat import Heartbeat
from topologies.process.host import host

async def work(ending):
    print("works", flush=True)
    await ending.wait()
    print("ends", flush=True)
    await asyncio.sleep(60)

host("stubborn", "127.0.0.1:1", work, Heartbeat())
"""
BRIEF = """
import gc
from topologies.process.heartbeat import Heartbeat
from topologies.process.host import host

async def work(ending):
    pass

host("brief", "127.0.0.1:1", work, Heartbeat())
gc.collect()
print("ended", flush=True)
"""
Start = Callable[..., Worker]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def begin(name: str, kafka: KafkaSettings = NOWHERE) -> Worker:
        given = {"REDIS_URL": "redis://127.0.0.1:1", "TRAINING_CHECKPOINT_DIR": str(tmp_path / "checkpoints")}
        workers.append(Worker(name, kafka, tmp_path / "worker", given))
        return workers[-1]

    yield begin
    for worker in workers:
        worker.kill()


def hears(worker: Worker) -> bool:
    """Whether SIGTERM would be caught by it."""
    text = Path(f"/proc/{worker.process.pid}/status").read_text(encoding="ascii")
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", text, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) & 1 << signal.SIGTERM - 1)


def until(condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("name", "number", "seconds"),
    [
        ("labelling", signal.SIGTERM, 0.0),
        ("training", signal.SIGINT, 0.0),
        ("training", signal.SIGTERM, 0.7),
        ("interests", signal.SIGINT, 1.5),
        ("training", signal.SIGTERM, 3.0),
        ("interests", signal.SIGTERM, 5.0),
        ("labelling", signal.SIGINT, 8.0),
    ],
)
def test_it_ends_quietly_at_any_moment(start: Start, name: str, number: signal.Signals, seconds: float) -> None:
    worker = start(name)
    until(lambda: hears(worker))
    time.sleep(seconds)
    worker.process.send_signal(number)
    assert worker.process.wait(30) == 0, worker.said()
    assert "Traceback" not in worker.said()


def test_while_kafka_is_away_it_is_alive(start: Start) -> None:
    worker = start("labelling")
    worker.wait_for("trying again")
    until(worker.is_alive, 5.0)
    time.sleep(2.0)
    assert worker.is_alive()
    assert worker.stop() == 0, worker.said()


@pytest.mark.kafka
def test_what_is_being_compiled_is_not_waited_for(
    start: Start, kafka_settings: KafkaSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "kernels"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    worker = start("training", kafka_settings)
    until(lambda: "metrics are at" in worker.said() and any(cache.rglob("*.nbc")))
    began = time.monotonic()
    assert worker.stop() == 0, worker.said()
    assert time.monotonic() - began < 15
    assert "Traceback" not in worker.said()


def test_a_second_signal_ends_it_at_once_and_says_so() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "works\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "ends\n"
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=10)
    assert process.returncode == 130
    assert complaint.splitlines()[-1].startswith("second signal: exiting now")
    assert "Traceback" not in complaint


def test_no_event_loop_is_left_open() -> None:
    # A loop that is collected unclosed writes a traceback where its sockets happen to be collected before it.
    ended = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", BRIEF], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.stdout == "ended\n", ended.stderr
    assert "unclosed event loop" not in ended.stderr


@pytest.mark.parametrize("seconds", [0.0, 1.0, 4.0])
def test_two_signals_at_once_leave_no_traceback(start: Start, seconds: float) -> None:
    worker = start("training")
    until(lambda: hears(worker))
    time.sleep(seconds)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        if worker.process.poll() is None:
            worker.process.send_signal(number)
        time.sleep(0.02)
    assert worker.process.wait(30) in (0, 130), worker.said()
    assert "Traceback" not in worker.said()
