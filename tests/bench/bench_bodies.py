"""What bodies of events cost: events a second, and the longest silence towards a client that asks for nothing much.

That client, `python -m tests.bench.bench_bodies PORT`, is a process of its own: it asks /health/live every 5 ms.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter, sleep

import psutil

from tests.bench.busy_shop import quantiles
from tests.bench.running_server import ROOT, Client, server

BATCH = 1_000
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


# --- events a second


def bench_rate(roots: Mapping[str, Path], batches: int, turns: int) -> dict[str, object]:
    """Events a second of batches of 1,000, and ms a batch: of servers that run these trees, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in roots}
    for turn in range(turns):
        for name, root in roots.items():
            with tempfile.TemporaryDirectory() as folder, server(Path(folder), root) as port:
                client = Client(port)
                for number in range(batches + 2):
                    body = events(BATCH, (turn * batches + number) * BATCH)
                    start = perf_counter()
                    status, answer = client.ask("POST", "/v1/events", body)
                    assert (status, json.loads(answer)["accepted"]) == (200, BATCH)
                    taken[name] += [perf_counter() - start] if number >= 2 else []
    return {
        name: {"events_per_second": BATCH / statistics.median(seconds), "batch": quantiles(seconds)}
        for name, seconds in taken.items()
    }


# --- silence


def bench_silence(root: Path, kinds: Mapping[str, list[bytes]]) -> dict[str, object]:
    """For each kind of body: the longest answer of /health/live in ms while they come, and the server's memory, MB."""
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), root) as port:
        process = _server_process(port)
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


def _server_process(port: int) -> psutil.Process:
    for process in psutil.Process().children(recursive=True):
        if any(one.laddr.port == port for one in process.net_connections("tcp") if one.status == "LISTEN"):
            return process
    raise LookupError(f"no child listens on port {port}")


def _note(peak: list[int], process: psutil.Process) -> None:
    peak.append(process.memory_info().rss)


def run(base: str | None = None, batches: int = 50, turns: int = 3, rounds: int = 6) -> dict[str, object]:
    """Everything; `base` is the folder of another build, measured in turns with this one. About three minutes."""
    roots = {"this": ROOT} | ({} if base is None else {"base": Path(base)})
    return {"rate": bench_rate(roots, batches, turns), "silence": bench_silence(ROOT, bodies(rounds))}


if __name__ == "__main__":
    poll(int(sys.argv[1]))
