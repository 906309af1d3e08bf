"""What bodies of events do to others: the longest silence towards a client that asks for nothing much.

That client, `python -m tests.bench.bench_bodies PORT`, is a process of its own: it asks /health/live every 5 ms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import psutil

from tests.bench.running_server import ROOT, Client, server

_EVERY_SECONDS = 0.005
_NOW = 1_700_000_000_000
_WIDE = {f"k{number}": "x" * 90 for number in range(14)}
"""A context that makes 10,000 events 15 MB."""


def events(count: int, first: int = 0, **more: object) -> bytes:
    """A body of `count` clicks whose ids begin at `first`."""
    return json.dumps(
        [
            {
                "type": "action",
                "event_id": f"e{number}",
                "user_id": number % 500,
                "item_id": number % 200,
                "action": "click",
                "timestamp": _NOW + number,
                **more,
            }
            for number in range(first, first + count)
        ]
    ).encode()


def bodies(rounds: int, size: int = 10_000) -> Mapping[str, list[bytes]]:
    """Bodies of each kind, each `rounds` times with ids of its own."""
    first = range(1_000_000, 1_000_000 + rounds * size, size)
    return {
        "nothing": [],
        "10000_events": [events(size, at) for at in first],
        "10000_bad_events": [events(size, at, value="x") for at in first],
        "300000_empty_objects": [b"[" + b"{}," * (30 * size - 1) + b"{}]"] * rounds,
        "15_megabytes": [events(size, at + 10**8, context=_WIDE) for at in first],
    }


def bench_silence(root: Path, kinds: Mapping[str, list[bytes]]) -> dict[str, object]:
    """For each kind of body: the longest answer of /health/live in ms while they come, and the server's memory, MB."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), root) as port:
        process = server_process(port)
        for kind, each in kinds.items():
            before = process.memory_info().rss
            peak = [before]
            seconds, silence = _beside(port, partial(_post, port, each), partial(_note, peak, process))
            figures[kind] = {
                "longest_silence_ms": silence * 1e3,
                "seconds": seconds,
                "peak_megabytes": max(peak) / 1e6,
                "grown_megabytes": (max(peak) - before) / 1e6,
            }
    return figures


def _post(port: int, each: list[bytes]) -> None:
    """Two clients at once."""

    def send(share: list[bytes]) -> None:
        client = Client(port)
        for body in share:
            assert client.ask("POST", "/v1/events", body)[0] in (200, 400, 429)

    threads = [threading.Thread(target=send, args=(each[at::2],)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sleep(0.5)


def _beside(port: int, work: Callable[[], None], look: Callable[[], None]) -> tuple[float, float]:
    """Seconds of the work, and the longest silence during it; `look` is called ten times a second."""
    poller = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.bench_bodies", str(port)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert poller.stdout is not None
    poller.stdout.readline()
    worker = threading.Thread(target=work)
    start = perf_counter()
    worker.start()
    while worker.is_alive():
        look()
        worker.join(0.1)
    seconds = perf_counter() - start
    said, _ = poller.communicate("stop")
    return seconds, float(said)


def poll(port: int) -> None:
    """Ask every 5 ms until the input ends; prints that it began, and the longest answer in seconds."""
    client, stop = Client(port), threading.Event()

    def end() -> None:
        sys.stdin.read()
        stop.set()

    threading.Thread(target=end, daemon=True).start()
    longest = 0.0
    client.ask("GET", "/health/live")
    sys.stdout.write("asking\n")
    sys.stdout.flush()
    while not stop.wait(_EVERY_SECONDS):
        start = perf_counter()
        assert client.ask("GET", "/health/live")[0] == 200
        longest = max(longest, perf_counter() - start)
    sys.stdout.write(f"{longest}\n")


def server_process(port: int) -> psutil.Process:
    """The child of this process that listens on a port. Raises LookupError."""
    for process in psutil.Process().children(recursive=True):
        if any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == "LISTEN"):
            return process
    raise LookupError(f"no child listens on port {port}")


def _note(peak: list[int], process: psutil.Process) -> None:
    peak.append(process.memory_info().rss)


def run(rounds: int = 6) -> dict[str, object]:
    """Everything; about a minute."""
    return bench_silence(ROOT, bodies(rounds))


if __name__ == "__main__":
    poll(int(sys.argv[1]))
