"""What a large catalogue of described items takes: memory by part, seconds until a restarted server is ready.

`python -m tests.bench.bench_million FILE [--items N] [--base CHECKOUT]` sends items and clicks on some of them to the
service that `serve` runs, ends it as Ctrl-C does, opens the folder again in a fresh process, and writes the figures of
both as JSON; with another checkout, its figures as well. A million items take a quarter of an hour.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.threads.service import EngineService
from stream_reco.events import Action, Event, ItemEvent
from stream_reco.serve.slate.request import Request

ROOT = Path(__file__).parents[2]
ITEMS, CLICKS, USERS = 100_000, 20_000, 2_000
_BATCH = 1_000
"""Events in one call, as many as a body of an import has."""
_BACKLOG = 50_000
"""Events that may wait to be learned from: more would be memory of the sender's hurry, not of the catalogue."""
_START = 1_750_000_000_000
_VOCABULARY, _TITLE = 50_000, 8
_REQUESTS = 50
_BYTES = 2**20


def item(number: int) -> ItemEvent:
    """A category, three tags, a brand, a price, a title of eight words, a time, and whether it is in stock."""
    rng = np.random.default_rng(number)
    words = (_VOCABULARY * rng.random(_TITLE) ** 2).astype(int)
    features: dict[str, Any] = {
        "category": f"category {number * 7 % 200}",
        "tags": [f"tag {number * one % 997}" for one in (11, 17, 23)],
        "brand": f"brand {number * 13 % 3001}",
        "price": round(number % 4999 * 0.37 + 1, 2),
        "title": " ".join(f"word{place:x}" for place in words),
        "since": f"2025-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:{number // 24 % 60:02d}:00Z",
        "in_stock": number % 10 > 0,
    }
    return ItemEvent(item_id=f"item-{number:07d}", timestamp=_START + number, features=features)


def click(number: int, items: int) -> Action:
    """Few items get most of the clicks."""
    rng = np.random.default_rng((1, number))
    return Action(
        user_id=f"user-{rng.integers(USERS)}",
        item_id=f"item-{int(items * rng.random() ** 4):07d}",
        action="click",
        timestamp=_START + items + number * 100,
        event_id=f"click-{number}",
        context={"device": ("phone", "desktop")[number % 2]},
    )


def events(items: int, clicks: int) -> Iterator[list[Event]]:
    """All events, a batch at a time."""
    for first in range(0, items, _BATCH):
        yield [item(number) for number in range(first, min(first + _BATCH, items))]
    for first in range(0, clicks, _BATCH):
        yield [click(number, items) for number in range(first, min(first + _BATCH, clicks))]


def fill(folder: Path, items: int, clicks: int) -> dict[str, float]:
    """Send everything to a new folder and end as a server does."""
    service, _ = _opened(folder)
    start = time.perf_counter()
    for batch in events(items, clicks):
        service.submit(batch).result()
        while service.backlog > _BACKLOG:
            time.sleep(0.05)
    while service.backlog:
        time.sleep(0.05)
    learned = time.perf_counter() - start
    figures = {"events_per_second": (items + clicks) / learned, **_memory()}
    start = time.perf_counter()
    service.close()
    return figures | {"seconds_to_end": time.perf_counter() - start}


def restart(folder: Path, items: int) -> dict[str, Any]:
    """Open a folder, and ask for slates."""
    before, start, own = _resident(), time.perf_counter(), time.process_time()
    service, engine = _opened(folder)
    ready, busy, memory = time.perf_counter() - start, time.process_time() - own, _memory()
    seconds = [_ask(service, number) for number in range(_REQUESTS)]
    parts = parts_of(engine)
    figures = {
        "ready_seconds": ready,
        "ready_processor_seconds": busy,
        "first_request_seconds": seconds[0],
        "median_request_ms": float(np.median(seconds[1:])) * 1000,
        "resident_before_mb": before,
        **memory,
        "resident_after_requests_mb": _resident(),
        "parts_mb": parts,
        "bytes_per_item": sum(parts.values()) * _BYTES / items,
        "checkpoint_mb": sum(one.stat().st_size for one in folder.glob("checkpoints/*/*") if one.is_file()) / _BYTES,
    }
    service.close()
    return figures


def _opened(folder: Path) -> tuple[EngineService, Engine]:
    service = EngineService(lambda: Engine(folder, Settings()))
    service.start()
    return service, service.opened.result()


def _ask(service: EngineService, number: int) -> float:
    start = time.perf_counter()
    assert service.slates([Request(f"user-{number}", 10)])[0].items
    return time.perf_counter() - start


def _resident() -> float:
    gc.collect()
    taken: int = psutil.Process().memory_info().rss
    return taken / _BYTES


def _memory() -> dict[str, float]:
    """Resident now, less what is of files (libraries above all), and at most so far, in MB."""
    resident, status = _resident(), dict[str, float]()
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        name, _, rest = line.partition(":")
        if name in ("VmHWM", "RssAnon"):
            status[name] = int(rest.split()[0]) / 1024
    return {"resident_mb": resident, "anonymous_mb": status["RssAnon"], "most_resident_mb": status["VmHWM"]}


def parts_of(engine: Engine) -> dict[str, float]:
    """MB by part, of what the learner and the replica keep: what arrays have allocated and what objects take."""
    state, served = engine.learner.state, engine.publishing.served
    roots: dict[str, object] = {"histories": state.histories, "index": served.index}
    for side, signals in (("learner", state.signals), ("replica", served.signals)):
        catalogue = signals.catalogue
        # What was counted under one name is not counted again under a later one.
        roots |= {
            f"{side}.ids": catalogue.ids,
            f"{side}.features": catalogue.features,
            f"{side}.content": catalogue.content,
            f"{side}.columns": catalogue.columns,
            f"{side}.catalogue, rest": catalogue,
            f"{side}.counters": signals.counts.items,
            f"{side}.lists": signals.counts,
            f"{side}.rest": signals,
        }
    roots |= {"learner.tables": engine.learner.queue.trainer.tables, "replica.tables": served.replica.tables}
    known = {id(engine)}
    return {name: _size(root, known) / _BYTES for name, root in roots.items()}


def _size(root: object, known: set[int]) -> int:
    """Bytes of an object and all that only it, and what is not `known` yet, refers to."""
    total, left = 0, [root]
    while left:
        one = left.pop()
        if id(one) in known or isinstance(one, type) or callable(one):
            continue
        known.add(id(one))
        if isinstance(one, np.ndarray):
            if one.base is None:
                total += one.nbytes
            else:  # a view
                left.append(one.base)
            continue
        total += sys.getsizeof(one)
        if isinstance(one, Mapping):
            left += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple | set):
            left += one
        elif hasattr(one, "__dict__"):
            left += vars(one).values()
    return total


def run(items: int, clicks: int, roots: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """The figures of each checkout, each step in a process of its own."""
    found: dict[str, Any] = {"items": items, "clicks": clicks}
    for name, root in (roots or {"this": ROOT}).items():
        folder = Path(tempfile.mkdtemp(prefix="million"))
        try:
            found[name] = {step: _step(root, step, folder, items, clicks) for step in ("fill", "restart")}
        finally:
            shutil.rmtree(folder)
    return found


def _step(root: Path, step: str, folder: Path, items: int, clicks: int) -> Any:
    """This file, with the package of a checkout."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, "--folder", folder, "--items", str(items), "--clicks", str(clicks)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--clicks", type=int, default=CLICKS)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", choices=["fill", "restart"], help="print the figures of this process alone")
    given = parser.parse_args()
    if given.step == "fill":
        sys.stdout.write(json.dumps(fill(given.folder, given.items, given.clicks)))
        return
    if given.step == "restart":
        sys.stdout.write(json.dumps(restart(given.folder, given.items)))
        return
    roots = {"this": ROOT} | ({} if given.base is None else {"base": given.base.resolve()})
    figures = json.dumps(run(given.items, given.clicks, roots), indent=1)
    given.file.write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
