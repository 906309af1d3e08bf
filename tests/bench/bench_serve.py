"""The serving half: slates and scores of an engine in this process, and through the real server over HTTP.

The clients run in this process, beside the server's, and take their share of the cores: what is told is what a machine
does that holds both.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.warm_up import warm_up
from stream_reco.events import Event
from stream_reco.serve.slate.request import Request
from tests.bench.busy_shop import ITEMS, RETRIEVE, USERS, batches, catalogue, clicks, quantiles
from tests.bench.running_server import CONTEXT, Client, events_of, has_learned, server, wait_until

LOADED = 15_000
K = 10
SCORED = 200
_REQUESTS = 600


# --- in this process


def bench_engine(loaded: int) -> dict[str, object]:
    """Slates one at a time and many at once, and the scores of given items beside the bare model."""
    with Engine(settings=Settings(retrieve=RETRIEVE)) as engine:
        engine.ingest(catalogue())
        for batch in batches(clicks(loaded), 1000):
            engine.ingest(batch)
        engine.sync()
        users = np.random.default_rng(1).integers(USERS, size=_REQUESTS).tolist()
        _timed(lambda user: engine.recommend(user, K, context=CONTEXT), users[:50])
        ranked = engine.candidates_ranked
        single = _timed(lambda user: engine.recommend(user, K, context=CONTEXT), users)
        candidates = (engine.candidates_ranked - ranked) / len(users)
        start = perf_counter()
        engine.recommend_many([Request(user, K, context=CONTEXT) for user in users])
        many = perf_counter() - start
        return {
            "items": engine.status()["items"],
            "candidates_per_request": candidates,
            "recommend": quantiles(single) | {"per_second": len(single) / sum(single)},
            "recommend_many_per_second": len(users) / many,
            f"score_{SCORED}": bench_score(engine),
        }


def bench_score(engine: Engine, repeats: int = 300) -> dict[str, float]:
    """CPU seconds of `score`, over those of the same model's bare forward pass on the same batch, both as served."""
    items = np.random.default_rng(2).choice(ITEMS, SCORED, replace=False).tolist()
    served: Any = engine.publishing.served
    passed: list[tuple[Any, ...]] = []
    score = served.scoring.score

    def watched(*given: Any, **more: Any) -> Any:
        passed.append(given)
        return score(*given, **more)

    served.scoring.score = watched
    engine.score(1, items, context=CONTEXT)
    del served.scoring.score
    batch, tables = passed[-1][1:]

    def forward() -> None:
        score(served.scoring.requests(batch, tables), batch, tables)

    ours, bare = 0.0, 0.0
    for _ in range(repeats):
        start = process_time()
        engine.score(1, items, context=CONTEXT)
        between = process_time()
        forward()
        ours, bare = ours + between - start, bare + process_time() - between
    return {"cpu_ms": ours / repeats * 1e3, "forward_cpu_ms": bare / repeats * 1e3, "over_forward": ours / bare}


def _timed(ask: Callable[[Any], object], what: Sequence[Any]) -> list[float]:
    taken = []
    for one in what:
        start = perf_counter()
        ask(one)
        taken.append(perf_counter() - start)
    return taken


# --- through the server


def bench_http(loaded: int, seconds: float = 5.0) -> dict[str, object]:
    """Slates and events over HTTP: alone, by eight clients at once, and while events come in and are learned from."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as port:
        client = Client(port)
        client.send(catalogue())
        events = clicks(loaded + 5_000)
        start = perf_counter()
        for batch in batches(events[:loaded], 1_000):
            client.send(batch)
        sending = perf_counter() - start
        singles = _timed(lambda event: client.send([event]), events[loaded : loaded + 300])
        wait_until(lambda: events_of(client) == ITEMS + loaded + 300 and has_learned(client))
        loaded_seconds = perf_counter() - start
        asking(port, 1, 1.0)
        figures: dict[str, object] = {
            "events_by_1000_per_second": loaded / sending,
            "events_one_at_a_time_per_second": len(singles) / sum(singles),
            "events_until_learned_per_second": loaded / loaded_seconds,
            "recommend_1_client": asking(port, 1, seconds),
            "recommend_8_clients": asking(port, 8, seconds),
        }
        with _arriving(port, events[loaded + 300 :], 200):
            figures["recommend_1_client_while_200_events_arrive_a_second"] = asking(port, 1, seconds)
            figures["recommend_8_clients_while_200_events_arrive_a_second"] = asking(port, 8, seconds)
        return figures


def asking(port: int, clients: int, seconds: float) -> dict[str, float]:
    """Slates for clients that each wait for their answer before they ask again."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    until = perf_counter() + seconds

    def ask(number: int) -> None:
        client, rng = Client(port), np.random.default_rng(number)
        while (start := perf_counter()) < until:
            client.recommend(int(rng.integers(USERS)))
            taken[number].append(perf_counter() - start)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    start = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [one for each in taken for one in each]
    return quantiles(every) | {"per_second": len(every) / (perf_counter() - start)}


@contextmanager
def _arriving(port: int, events: Sequence[Event], per_second: int) -> Iterator[None]:
    """Send events at a steady rate beside what is done within, ten times a second."""
    stop = threading.Event()
    size = per_second // 10

    def send() -> None:
        client, started = Client(port), perf_counter()
        for number, batch in zip(count(1), batches(events, size), strict=False):
            client.send(batch)
            if stop.wait(max(0.0, started + number / 10 - perf_counter())):
                return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        stop.set()
        sender.join()


def run(loaded: int = LOADED) -> dict[str, object]:
    """Everything; about two minutes."""
    warm_up(Settings())
    return {"engine": bench_engine(loaded), "http": bench_http(loaded)}
