"""What the search among a million item vectors takes: alone, while vectors change, and in a server.

`python -m tests.bench.bench_vectors FILE [--items N] [--base CHECKOUT] [--folder DATA]` writes the figures as JSON;
with another checkout its figures as well, in turns. DATA is a data folder such as `bench_million` fills: it is copied,
opened by the service that `serve` runs, and each item gets a vector near to one of those that were learned, since a
folder in which a million items have been acted on takes an hour to fill. Requests go over HTTP.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.threads.service import EngineService
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.serve.http.app import Api
from stream_reco.serve.http.server import HttpServer

ROOT = Path(__file__).parents[2]
ITEMS, DIM = 1_000_000, 32
_TOPICS, _NOISE, _LENGTHS = 2_000, 0.8, 0.3
"""Vectors lie around so many points of length 1, at such a distance, and are longer or shorter by such a logarithm."""
_CHANGED_SHARE, _SECONDS = 0.01, 60
_REQUESTS, _FIRST_REQUESTS, _K = 300, 50, 20
_BYTES = 2**20

Vectors = npt.NDArray[np.float32]


class Points:
    """Vectors as learned ones are: in groups, of several lengths."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)
        points = self.rng.normal(size=(_TOPICS, DIM))
        self._points = points / np.linalg.norm(points, axis=1, keepdims=True)

    def some(self, count: int) -> Vectors:
        """float32[count, DIM]"""
        found: Vectors = self._points[self.rng.integers(0, _TOPICS, count)].astype(np.float32)
        found += np.float32(_NOISE / DIM**0.5) * self.rng.standard_normal((count, DIM), np.float32)
        found *= np.exp(np.float32(_LENGTHS) * self.rng.standard_normal((count, 1), np.float32))
        return found


def search_alone(items: int) -> dict[str, Any]:
    """The four queries of a request, and the nearest 400 while one vector in a hundred changes a second."""
    torch.set_num_threads(1)
    points = Points()
    vectors, index = points.some(items), VectorIndex(DIM)
    before = _resident()
    for first in range(0, items, 100_000):
        index.upsert(np.arange(first, min(first + 100_000, items)), vectors[first : first + 100_000])
    figures = {"index_mb": _resident() - before, "exact": _four_queries(index, points)}
    if hasattr(index, "build"):
        figures |= _lists(index, points, vectors)
    return figures


def _four_queries(index: VectorIndex, points: Points) -> dict[str, float]:
    spent, own = [], []
    for _ in range(60):
        queries = points.some(4)
        start, before = time.perf_counter(), time.thread_time()
        index.search(queries[:1], 100)
        index.search(queries[1:], 60)
        spent.append(time.perf_counter() - start)
        own.append(time.thread_time() - before)
    return {**_quantiles(spent[10:]), "processor_ms": float(np.median(own[10:])) * 1000}


def _lists(index: VectorIndex, points: Points, vectors: Vectors) -> dict[str, Any]:
    from stream_reco import metrics
    from stream_reco.retrieve.index_upkeep import IndexUpkeep
    from stream_reco.retrieve.settings import RetrieveSettings

    start, own, before = time.perf_counter(), time.process_time(), _resident()
    index.build()
    figures: dict[str, Any] = {
        "build_seconds": time.perf_counter() - start,
        "build_processor_seconds": time.process_time() - own,
        "lists_mb": index.lists_nbytes / _BYTES,
        "lists_resident_mb": _resident() - before,
    }
    index.drop_lists()
    upkeep = IndexUpkeep(lambda: index, RetrieveSettings())
    own = time.process_time()
    upkeep.turn()
    figures["turn_with_build_processor_seconds"] = time.process_time() - own
    figures |= {"still": {**_four_queries(index, points), "share": index.share}}
    upkeep.start()
    recalls, changing, seconds = [], [], 0
    started = time.perf_counter()
    while (seconds := seconds + 1) <= _SECONDS:
        changed = points.rng.choice(len(index), int(_CHANGED_SHARE * len(index)), replace=False)
        vectors[changed] = points.some(len(changed))
        own = time.thread_time()
        index.upsert(changed, vectors[changed])
        changing.append(time.thread_time() - own)
        queries = points.some(4)
        truth = np.argpartition(-(queries @ vectors.T), 400, axis=1)[:, :400]
        found = index.search(queries, 400)[0]
        recalls += [float(np.isin(true, mine).mean()) for true, mine in zip(truth, found, strict=True)]
        time.sleep(max(started + seconds - time.perf_counter(), 0.0))
    upkeep.close()
    return figures | {
        "changing": {
            **_four_queries(index, points),
            "share": index.share,
            "recall_at_400": float(np.mean(recalls)),
            "least_recall_of_a_second": float(np.mean(np.reshape(recalls, (-1, 4)), axis=1).min()),
            "watched_recall": metrics.VECTOR_RECALL._value.get(),
            "by_lists": index.searches_lists,
            "seconds": time.perf_counter() - started,
            "change_processor_ms": float(np.median(changing)) * 1000,
        }
    }


def in_server(folder: Path) -> dict[str, Any]:
    """Requests over HTTP of one client, by the service that `serve` runs."""
    service = EngineService(lambda: Engine(folder, Settings()))
    service.start()
    engine = service.opened.result()
    served = engine.publishing.served
    figures: dict[str, Any] = {"ready_mb": _resident(), "items": len(engine.learner.state.signals.catalogue)}
    figures["vectors_learned"] = len(served.index)
    _fill(served.index, served.signals.catalogue.size)
    figures |= {"vectors": len(served.index), "with_vectors_mb": _resident()}
    while served.encoded._waiting.any():  # each publication after a restart encodes some of the items, on this core too
        time.sleep(0.5)
    figures["encoded_mb"] = _resident()
    with HttpServer("127.0.0.1", 0) as server:
        server.start(Api(service, SystemClock(), Settings().serve))
        if hasattr(served.index, "build"):
            start = time.perf_counter()
            while not served.index.searches_lists and time.perf_counter() - start < 120:
                time.sleep(0.1)
            figures |= {"until_lists_seconds": time.perf_counter() - start, "with_lists_mb": _resident()}
        host, _, port = server.url.removeprefix("http://").partition(":")
        connection = http.client.HTTPConnection(host, int(port))
        ask = _asker(connection)
        for name, filters in (
            ("all", None),
            ("in_stock", {"in_stock": True}),
            ("category", {"category": "category 7"}),
        ):
            for number in range(_FIRST_REQUESTS):
                ask(number, filters)
            figures.setdefault("after_requests_mb", _resident())
            own = time.process_time()
            seconds = [ask(number, filters) for number in range(_FIRST_REQUESTS, _FIRST_REQUESTS + _REQUESTS)]
            # Of the server, of the client and of all that runs in the background.
            figures[name] = _quantiles(seconds) | {"processor_ms": (time.process_time() - own) / _REQUESTS * 1000}
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        figures["metrics"] = [one for one in lines if one.startswith("stream_reco_vector")]
    figures["most_resident_mb"] = _most_resident()
    return figures


def _fill(index: VectorIndex, size: int) -> None:
    rng = np.random.default_rng(1)
    learned = index.vectors_of(np.arange(size))
    learned = learned[learned.any(axis=1)]
    spread = np.float32(_NOISE / DIM**0.5 * np.median(np.linalg.norm(learned, axis=1)))
    for first in range(0, size, 50_000):
        keys = np.array([key for key in range(first, min(first + 50_000, size)) if key not in index], np.int64)
        near = learned[rng.integers(0, len(learned), len(keys))]
        index.upsert(keys, near + spread * rng.standard_normal(near.shape, np.float32))


def _asker(connection: http.client.HTTPConnection) -> Callable[[int, object], float]:
    def ask(number: int, filters: object) -> float:
        body = {"user_id": f"user-{number}", "k": _K} | ({} if filters is None else {"filters": filters})
        start = time.perf_counter()
        connection.request("POST", "/v1/recommend", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        taken = answer.read()
        seconds = time.perf_counter() - start
        assert answer.status == 200, taken
        assert len(json.loads(taken)["items"]) == _K
        return seconds

    return ask


def _quantiles(seconds: list[float]) -> dict[str, float]:
    p50, p99 = np.quantile(seconds, [0.5, 0.99]) * 1000
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name + ":"))


def _resident() -> float:
    gc.collect()
    return _status("VmRSS")


def _most_resident() -> float:
    return _status("VmHWM")


def _step(root: Path, items: int, folder: Path | None) -> Any:
    """This file, with the package of a checkout, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="vectors") as copy:
        more = []
        if folder is not None:
            shutil.copytree(folder, copy, dirs_exist_ok=True)
            more = ["--folder", copy]
        done = subprocess.run(
            [sys.executable, __file__, "--step", "--items", str(items), *more],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", action="store_true", help="print the figures of this process alone")
    given = parser.parse_args()
    if given.step:
        figures = search_alone(given.items) if given.folder is None else in_server(given.folder)
        sys.stdout.write(json.dumps(figures))
        sys.stdout.flush()
        os._exit(0)  # the copy of the folder goes away: no checkpoint
    roots = {"this": ROOT} | ({} if given.base is None else {"base": given.base.resolve()})
    found = {name: {"alone": _step(root, given.items, None)} for name, root in roots.items()}
    if given.folder is not None:
        for name, root in roots.items():
            found[name]["server"] = _step(root, given.items, given.folder)
    given.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
