"""Overload: answers in time against requests offered, from half of what the server takes to four times that.

`python -m tests.bench.bench_load FILE [CHECKOUT]` measures the server of another checkout, for comparison. The crowd
runs in this process, on the cores that the server has too.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.bench.bench_serve import asking
from tests.bench.busy_shop import ITEMS, batches, catalogue, clicks
from tests.bench.open_loop import BROKEN, GAVE_UP, Outcome, offer
from tests.bench.running_server import ROOT, Client, events_of, has_learned, server, wait_until

LOADED = 15_000
TIMEOUTS = (1.0, 5.0)
"""Seconds after which clients leave."""
TIMES = (0.5, 1.0, 1.5, 2.0, 4.0)
"""Of saturation; three times it is offered last, and half of it at once after that."""
OVERLOAD, CALM = 3.0, 0.5
SECONDS = 15.0
"""For which each rate is offered; in 5 s the goodput of one rate and the next differ by 6 % by chance alone."""
IN_TIME = 1.0
"""Seconds within which an answer counts."""
WINDOW = 0.25
"""Seconds of the windows by which recovery is told."""
SATURATION_SECONDS = 4.0
_CONNECTIONS = 16_384
_CALM_MS, _CALM_SECONDS = 100.0, 60


def run(
    loaded: int = LOADED, seconds: float = SECONDS, timeouts: Sequence[float] = TIMEOUTS, root: Path = ROOT
) -> dict[str, object]:
    """Everything; four minutes, or more where a server takes long to recover."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (_CONNECTIONS if hard < 0 else min(_CONNECTIONS, hard), hard))
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), root) as port:
        client = Client(port)
        for batch in batches([*catalogue(), *clicks(loaded)], 1_000):
            client.send(batch)
        wait_until(lambda: events_of(client) == ITEMS + loaded and has_learned(client))
        asking(port, 8, 1.0)
        alone = asking(port, 1, SATURATION_SECONDS)
        saturation = asking(port, 8, SATURATION_SECONDS)["per_second"]
        curves = {f"{timeout:g}": _curve(port, saturation, timeout, seconds) for timeout in timeouts}
    return {"saturation_per_second": saturation, "one_client": alone, "timeout_seconds": curves}


def _curve(port: int, saturation: float, timeout: float, seconds: float) -> dict[str, object]:
    points: dict[str, dict[str, float]] = {}
    for times in TIMES:
        points[f"{times:g}"] = _figures(offer(port, [(saturation * times, seconds)], timeout), seconds)
        _wait_until_calm(port)
    over, calm = saturation * OVERLOAD, saturation * CALM
    outcomes = offer(port, [(over, seconds), (calm, seconds)], timeout)
    points[f"{OVERLOAD:g}"] = _figures([one for one in outcomes if one.due < seconds], seconds)
    _wait_until_calm(port)
    peak = max(one["goodput"] for one in points.values())
    return {
        "offered": dict(sorted(points.items())),
        "peak_goodput": peak,
        "goodput_over_peak_at_3": points[f"{OVERLOAD:g}"]["goodput"] / peak,
        "recovery_seconds": _recovery([one for one in outcomes if one.due >= seconds], seconds),
    }


def _recovery(outcomes: Sequence[Outcome], since: float) -> float:
    """Seconds after `since` from which on nine of ten requests of every window were answered in time."""
    windows: dict[int, list[bool]] = {}
    for one in outcomes:
        windows.setdefault(int((one.due - since) / WINDOW), []).append(_good(one))
    return max(((place + 1) * WINDOW for place, good in windows.items() if np.mean(good) < 0.9), default=0.0)


def _good(one: Outcome) -> bool:
    return one.status == 200 and one.seconds <= IN_TIME


def _figures(outcomes: Sequence[Outcome], seconds: float) -> dict[str, float]:
    """What became of requests, a second of the time in which they were due; times of the answers that are slates."""
    answered = [one.seconds for one in outcomes if one.status == 200] or [np.inf]
    refused = [one.seconds for one in outcomes if one.status in (429, 503)]
    return {
        "per_second": len(outcomes) / seconds,
        "goodput": sum(map(_good, outcomes)) / seconds,
        "refused": len(refused) / seconds,
        "gave_up": sum(one.status == GAVE_UP for one in outcomes) / seconds,
        "broken": sum(one.status == BROKEN for one in outcomes) / seconds,
        "p50_ms": float(np.quantile(answered, 0.5)) * 1e3,
        "p99_ms": float(np.quantile(answered, 0.99)) * 1e3,
        "refused_p99_ms": float(np.quantile(refused, 0.99)) * 1e3 if refused else 0.0,
    }


def _wait_until_calm(port: int) -> None:
    """Until a slate takes no longer than usual, or a minute."""
    until = time.monotonic() + _CALM_SECONDS
    while time.monotonic() < until and asking(port, 1, 0.3)["p50_ms"] > _CALM_MS:
        time.sleep(0.2)


def main(file: str, root: str = str(ROOT)) -> None:
    Path(file).write_text(json.dumps(run(root=Path(root).resolve()), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
