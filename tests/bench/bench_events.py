"""Events over HTTP: a second, and the processor's time of each, for one client and four, in batches and one by one.

`python -m tests.bench.bench_events FILE [CHECKOUT]` measures the server of another checkout in turns with this one. The
learning thread works all the time, as in a server that is behind. What it uses is left out of the processor's time: it
learns as much as the measurement gives it time for, and waits while batches come. About a minute a turn.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple

import psutil

from tests.bench.bench_bodies import events, server_process
from tests.bench.running_server import ROOT, Client, server

TURNS = 5
_WARM_UP = 3_000
"""Events before anything is measured, so that the learning thread has work."""
_LOOK_SECONDS = 0.3
"""While nobody sends, and the one thread that works is the one that learns."""


class Case(NamedTuple):
    """So many clients send, each so many bodies of so many events."""

    clients: int
    events: int
    bodies: int


CASES = (Case(1, 1000, 80), Case(4, 1000, 25), Case(1, 1, 500), Case(4, 1, 250))


class Measured(NamedTuple):
    """One case, once."""

    per_second: float
    body_ms: float
    """Median of a client's wait for its answer."""
    cpu_us: float
    """The processor's time of an event, microseconds, of all threads but the one that learns."""


def run(
    roots: Mapping[str, Path] | None = None, turns: int = TURNS, cases: Sequence[Case] = CASES
) -> dict[str, dict[str, object]]:
    """Figures by case and checkout: the first of `roots` is this one, the second what it is compared with."""
    roots = roots or {"this": ROOT}
    found: dict[Case, dict[str, list[Measured]]] = {case: {name: [] for name in roots} for case in cases}
    for turn in range(turns):
        for name in list(roots)[:: 1 if turn % 2 else -1]:
            for case, measured in _measured(roots[name], cases).items():
                found[case][name].append(measured)
    return {f"{case.clients}_clients_of_{case.events}": _figures(each) for case, each in found.items()}


def _measured(root: Path, cases: Sequence[Case]) -> dict[Case, Measured]:
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), root) as port:
        process = server_process(port)
        first = _WARM_UP
        _send(port, [events(1000, at) for at in range(0, first, 1000)])
        learning = _learning(process)
        found: dict[Case, Measured] = {}
        for case in cases:
            size = case.clients * case.bodies * case.events
            starts = range(first, first + size, case.events)
            found[case] = _measure(
                port,
                process,
                learning,
                [[events(case.events, at) for at in starts[c :: case.clients]] for c in range(case.clients)],
            )
            first += size
    return found


def _learning(process: psutil.Process) -> int:
    before = _by_thread(process)
    sleep(_LOOK_SECONDS)
    now = _by_thread(process)
    return max(now, key=lambda thread: now[thread] - before.get(thread, 0.0))


def _measure(port: int, process: psutil.Process, learning: int, shares: Sequence[Sequence[bytes]]) -> Measured:
    waits: list[float] = []
    senders = [threading.Thread(target=lambda share=share: waits.extend(_send(port, share))) for share in shares]
    before, start = _by_thread(process), perf_counter()
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    seconds = perf_counter() - start
    used = sum(now - before.get(thread, 0.0) for thread, now in _by_thread(process).items() if thread != learning)
    bodies = sum(map(len, shares))
    assert len(waits) == bodies, "a sender failed: what it said is above"
    count = sum(body.count(b'"event_id"') for share in shares for body in share)
    return Measured(count / seconds, statistics.median(waits) * 1e3, used / count * 1e6)


def _send(port: int, bodies: Sequence[bytes]) -> list[float]:
    """Seconds until each was answered."""
    client = Client(port)
    waits: list[float] = []
    for body in bodies:
        start = perf_counter()
        status, answer = client.ask("POST", "/v1/events", body)
        waits.append(perf_counter() - start)
        assert (status, json.loads(answer)["accepted"]) == (200, body.count(b'"event_id"')), answer
    return waits


def _by_thread(process: psutil.Process) -> dict[int, float]:
    """Seconds of the processor by thread."""
    return {one.id: one.user_time + one.system_time for one in process.threads()}


def _figures(by_name: Mapping[str, Sequence[Measured]]) -> dict[str, object]:
    figures: dict[str, object] = {
        name: {
            "per_second": statistics.median(one.per_second for one in each),
            "per_second_at_best": max(one.per_second for one in each),
            "body_ms": statistics.median(one.body_ms for one in each),
            "body_ms_at_best": min(one.body_ms for one in each),
            "cpu_us": statistics.median(one.cpu_us for one in each),
        }
        for name, each in by_name.items()
    }
    if len(by_name) == 2:
        this, base = by_name.values()
        pairs = list(zip(this, base, strict=True))
        figures["times_as_many"] = statistics.median(ours.per_second / theirs.per_second for ours, theirs in pairs)
        figures["cpu_over_base"] = statistics.median(
            ours.cpu_us / theirs.cpu_us if theirs.cpu_us else math.nan for ours, theirs in pairs
        )
    return figures


def main(file: str, root: str | None = None) -> None:
    roots = {"this": ROOT} | ({} if root is None else {"base": Path(root).resolve()})
    Path(file).write_text(json.dumps(run(roots), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
