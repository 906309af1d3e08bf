"""Half an hour of half the load that a server takes, with default settings: whether it stays as quick and as small.

`python -m tests.bench.bench_soak FILE LOG [--minutes N]`; LOG is globo_clicks.parquet. The server learns the first
15,000 clicks, then it is found how many slates a second eight clients get while 170 clicks a second arrive. Half of
both is offered from then on, and of each minute the figures are written as JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from msgspec.structs import replace

from stream_reco.clock import SystemClock
from stream_reco.datasets import load
from stream_reco.events import Action
from tests.bench.bench_answering import ARRIVING_PER_SECOND, CLICKS, K, clicks_of, slates_while_learning
from tests.bench.busy_shop import quantiles
from tests.bench.running_server import ROOT, Client, has_learned, server, wait_until

MINUTES, SHARE = 30, 0.5
_CLIENTS = 4
"""Each waits for its answers, and for the moment at which its next request is due."""
_BODIES_PER_SECOND = 10
_SECONDS = 60.0
_BYTES = 2**20


@dataclass
class Traffic:
    """What was asked for and sent since it was last taken."""

    port: int
    per_second: float
    users: Sequence[int | str]
    stop: threading.Event = field(default_factory=threading.Event)
    waits: list[float] = field(default_factory=list)
    failures: list[int] = field(default_factory=list)

    def ask(self, client_number: int) -> None:
        """Ask for slates at this client's share of the rate; latency counts from when a request was due."""
        client, interval = Client(self.port), _CLIENTS / self.per_second
        due, at = time.perf_counter() + interval * client_number / _CLIENTS, client_number
        while not self.stop.wait(max(0.0, due - time.perf_counter())):
            body = json.dumps({"user_id": self.users[at % len(self.users)], "k": K}).encode()
            status = client.ask("POST", "/v1/recommend", body)[0]
            self.waits.append(time.perf_counter() - due)
            if status != 200:
                self.failures.append(status)
            due, at = due + interval, at + _CLIENTS

    def send(self, clicks: Iterator[Action], per_second: float) -> None:
        """Send clicks as of now in small bodies."""
        client, size = Client(self.port), int(per_second / _BODIES_PER_SECOND)
        due, number = time.perf_counter(), 0
        while not self.stop.wait(max(0.0, due - time.perf_counter())):
            now = SystemClock().now_ms()
            body = []
            for _, click in zip(range(size), clicks, strict=False):
                body.append(replace(click, timestamp=now, event_id=f"soak-{number}"))
                number += 1
            client.send(body)
            due += 1.0 / _BODIES_PER_SECOND

    def taken(self) -> tuple[list[float], list[int]]:
        """What came since it was taken last."""
        waits, failures = self.waits, self.failures
        self.waits, self.failures = [], []
        return waits, failures


def run(log: Path, minutes: int = MINUTES, count: int = CLICKS, seconds: float = _SECONDS) -> dict[str, object]:
    """The rates that were offered, and the figures of each minute, or of as many seconds."""
    per_second = SHARE * ARRIVING_PER_SECOND
    first = clicks_of(log, count)
    most = count + int(per_second * minutes * seconds * 1.1) + 1
    later = (event for event in load(log, "globo")[count:most] if isinstance(event, Action))
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), ROOT, config="") as port:
        client = Client(port)
        for begin in range(0, count, 1000):
            client.send(first[begin : min(begin + 1000, count)])
        wait_until(lambda: has_learned(client))
        users = [click.user_id for click in first[max(0, count - 5000) : count]]
        saturation = slates_while_learning(port, first, count, users, min(seconds, 10.0))
        traffic = Traffic(port, SHARE * saturation, users)
        threads = [threading.Thread(target=traffic.ask, args=(number,)) for number in range(_CLIENTS)]
        threads.append(threading.Thread(target=traffic.send, args=(later, per_second)))
        for thread in threads:
            thread.start()
        found = [_window(client, traffic, seconds) for _ in range(minutes)]
        traffic.stop.set()
        for thread in threads:
            thread.join()
    return {"saturation_per_second": saturation, "offered_per_second": traffic.per_second, "minutes": found}


def _window(client: Client, traffic: Traffic, seconds: float) -> dict[str, float]:
    time.sleep(seconds)
    waits, failures = traffic.taken()
    status = json.loads(client.ask("GET", "/v1/status")[1])
    return {
        "per_second": len(waits) / seconds,
        "failures": len(failures),
        **quantiles(waits),
        "memory_mb": _memory_mb(),
        "backlog": status["backlog"],
        "staleness_seconds": status["staleness_seconds"],
        "events": status["events"],
    }


def _memory_mb() -> float:
    """Of the server's processes, what they share counted once."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        total += int(process.memory_full_info().pss)
    return total / _BYTES


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--minutes", type=int, default=MINUTES)
    given = parser.parse_args()
    given.file.write_text(json.dumps(run(given.log, given.minutes), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
