"""Slates over HTTP while a server learns: clicks of a news portal, default settings, one client and eight.

`python -m tests.bench.bench_answering FILE LOG [CHECKOUT] [--clicks N] [--turns N]` measures the server of another
checkout in turns with this one; LOG is globo_clicks.parquet. The clicks are sent as fast as they are taken, then the
server learns them, then slates are asked for, first of a server that has nothing to do and then while clicks go on to
arrive. Clients run beside the server and take their share of the cores. About two minutes a turn of one checkout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from stream_reco.clock import SystemClock
from stream_reco.datasets import load
from stream_reco.events import Action, encode
from tests.bench.busy_shop import quantiles
from tests.bench.running_server import ROOT, Client, has_learned, server, wait_until

CLICKS, TURNS, K = 15_000, 3, 10
ARRIVING_PER_SECOND = 170
"""Clicks that come while slates are asked for: a site of fifteen million clicks a day."""
_BODIES_PER_SECOND = 10
_AHEAD = 60 * ARRIVING_PER_SECOND
"""Clicks that are kept to arrive later."""
_AGE_MS = 3_600_000
"""How old the last click is that was learned before: trends are of now."""
CLIENTS = (8, 1)


def clicks_of(log: Path, count: int) -> list[Action]:
    """The first clicks of the log, and those that are to arrive later, as if they were of today."""
    events = [event for event in load(log, "globo")[: count + _AHEAD] if isinstance(event, Action)]
    later = SystemClock().now_ms() - _AGE_MS - events[count - 1].timestamp
    return [
        replace(event, timestamp=event.timestamp + later, event_id=f"click-{number}")
        for number, event in enumerate(events)
    ]


def measured(root: Path, clicks: Sequence[Action], count: int, seconds: float) -> dict[str, float]:
    """The figures of one server: events learned a second, slates a second and their p50 and p99."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), root, config="") as port:
        client, start = Client(port), time.perf_counter()
        for first in range(0, count, 1000):
            client.send(clicks[first : min(first + 1000, count)])
        wait_until(lambda: has_learned(client))
        figures = {"learned_per_second": count / (time.perf_counter() - start)}
        users = [click.user_id for click in clicks[max(0, count - 5000) : count]]
        _ask(port, users, CLIENTS[0], seconds / 2)
        for clients in CLIENTS:
            figures |= _named(f"{clients}_idle", _ask(port, users, clients, seconds), seconds)
        arriving = iter(range(count, len(clicks)))
        for clients in CLIENTS:
            waits = _ask_while(port, clicks, arriving, users, clients, seconds)
            figures |= _named(f"{clients}_learning", waits, seconds)
        return figures


def slates_while_learning(
    port: int, clicks: Sequence[Action], count: int, users: Sequence[int | str], seconds: float
) -> float:
    """Slates a second that most clients get while clicks from `count` on arrive."""
    waits = _ask_while(port, clicks, iter(range(count, len(clicks))), users, CLIENTS[0], seconds)
    return len(waits) / seconds


def _ask_while(
    port: int,
    clicks: Sequence[Action],
    arriving: Iterator[int],
    users: Sequence[int | str],
    clients: int,
    seconds: float,
) -> list[float]:
    stop = threading.Event()
    feeder = threading.Thread(target=_arrive, args=(port, clicks, arriving, stop))
    feeder.start()
    try:
        return _ask(port, users, clients, seconds)
    finally:
        stop.set()
        feeder.join()


def _named(name: str, waits: Sequence[float], seconds: float) -> dict[str, float]:
    found = {"per_second": len(waits) / seconds, **quantiles(waits)}
    return {f"{name}_{one}": value for one, value in found.items()}


def _ask(port: int, users: Sequence[int | str], clients: int, seconds: float) -> list[float]:
    """How long each slate took that so many clients got one after the other, seconds."""
    waits: list[float] = []
    stop = time.perf_counter() + seconds

    def ask(at: int) -> None:
        client = Client(port)
        while (start := time.perf_counter()) < stop:
            body = json.dumps({"user_id": users[at % len(users)], "k": K}).encode()
            status, answer = client.ask("POST", "/v1/recommend", body)
            assert status == 200, answer
            waits.append(time.perf_counter() - start)
            at += clients

    threads = [threading.Thread(target=ask, args=(one,)) for one in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return waits


def _arrive(port: int, clicks: Sequence[Action], left: Iterator[int], stop: threading.Event) -> None:
    """Send clicks in small bodies until told to stop."""
    client, size = Client(port), ARRIVING_PER_SECOND // _BODIES_PER_SECOND
    due = time.perf_counter()
    while not stop.wait(max(0.0, due - time.perf_counter())):
        body = [clicks[at] for _, at in zip(range(size), left, strict=False)]
        status, answer = client.ask("POST", "/v1/events", b"[" + b",".join(map(encode, body)) + b"]")
        assert status == 200, answer
        due += 1.0 / _BODIES_PER_SECOND


def run(
    log: Path, roots: Mapping[str, Path], turns: int = TURNS, count: int = CLICKS, seconds: float = 8.0
) -> dict[str, dict[str, float]]:
    """Medians over the turns by checkout; of two the ratios of the first to the second as well, each of one turn."""
    clicks = clicks_of(log, count)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    for turn in range(turns):
        for name in list(roots)[:: 1 if turn % 2 else -1]:
            found[name].append(measured(roots[name], clicks, count, seconds))
    figures = {
        name: {key: statistics.median(one[key] for one in each) for key in each[0]} for name, each in found.items()
    }
    if len(roots) == 2:
        ours, theirs = found.values()
        figures["ratio"] = {
            key: statistics.median(one[key] / other[key] for one, other in zip(ours, theirs, strict=True))
            for key in ours[0]
        }
    return figures


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("checkout", type=Path, nargs="?")
    parser.add_argument("--clicks", type=int, default=CLICKS)
    parser.add_argument("--turns", type=int, default=TURNS)
    given = parser.parse_args()
    roots = {"this": ROOT} | ({} if given.checkout is None else {"base": given.checkout.resolve()})
    figures = run(given.log, roots, given.turns, given.clicks)
    given.file.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
