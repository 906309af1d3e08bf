"""What filters cost: to find the items that pass, a slate of these, and the memory and time that a feature takes.

`python -m tests.bench.bench_filters FILE [--items N] [--slates N] [--base CHECKOUT]` asks for items in a catalogue of N
and for slates in an engine of N described items, and writes the figures as JSON; with another checkout, its figures as
well, each in a process of its own, and fails where the two find other items. Seconds are the processor's, of all
threads. A million items take some minutes.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, ItemEvent
from stream_reco.retrieve.filters import parse_filters, passing
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.feature_columns import FeatureColumns
from stream_reco.signals.item_updates import Statement

ROOT = Path(__file__).parents[2]
ITEMS, SLATES = 1_000_000, 200_000
_CLICKS, _USERS, _BATCH = 20_000, 500, 1_000
_ROUNDS = 30
_CHANGES = 5_000
_START = 1_750_000_000_000
FILTERS: Mapping[str, dict[str, Any]] = {
    "a brand": {"brand": "brand 77"},
    "three categories": {"category": ["category 3", "category 50", "category 120"]},
    "a tag": {"tags": "tag 5"},
    "a narrow range": {"price": {"gte": 100, "lt": 101}},
    "a wide range": {"price": {"gte": 100, "lt": 1500}},
    "an hour": {"since": {"gte": "2025-01-01T00:00:00Z", "lt": "2025-01-01T01:00:00Z"}},
    "not a category": {"category": {"not": "category 3"}},
    "not in stock": {"in_stock": {"not": True}},
    "some have it": {"sale": {"exists": True}},
    "a brand in stock": {"brand": "brand 77", "in_stock": True},
    "a category in a range": {"category": "category 3", "price": {"gte": 100, "lt": 1500}},
    "one item": {"sku": "sku 4711"},
    "no item": {"brand": "brand of nobody"},
}
COLUMNS = ("brand", "category", "tags", "price", "since", "in_stock", "sale", "sku")


def features_of(number: int) -> dict[str, object]:
    """A category of 200, a brand of 3001, three tags, a price, a minute, in stock or not, seldom a sale, a sku."""
    features = {
        "category": f"category {number * 7 % 200}",
        "brand": f"brand {number * 13 % 3001}",
        "tags": [f"tag {number * one % 997}" for one in (11, 17, 23)],
        "price": round(number % 4999 * 0.37 + 1, 2),
        "since": f"2025-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:{number // 24 % 60:02d}:00Z",
        "in_stock": number % 10 > 0,
        "sku": f"sku {number}",
    }
    return features | ({"sale": True} if number % 1000 == 1 else {})


def find(items: int) -> dict[str, Any]:
    """What it takes to find the items that pass, and to know how."""
    catalogue = Catalogue(lists_items=False)
    for number in range(items):
        catalogue.describe(catalogue.admit(number), Statement(_START, features_of(number)))
    # Kernels are compiled before anything is timed.
    small = Catalogue(lists_items=False)
    for number in range(3000):
        small.describe(small.admit(number), Statement(_START, features_of(number)))
    for filters in FILTERS.values():
        passing(small, parse_filters(filters))
    make = {name: _making(catalogue, name) for name in COLUMNS}
    figures = {"passing_us": _asked(catalogue), "make": make, "found": _found(catalogue)}
    start = process_time()
    for number in range(_CHANGES):
        said = features_of(number) | {"price": float(number % 7), "brand": f"brand {number % 9}"}
        catalogue.columns.set(number, said)
    figures["set_us"] = (process_time() - start) / _CHANGES * 1e6
    return figures | {"passing_after_changes_us": _asked(catalogue)}


def _making(catalogue: Catalogue, name: str) -> dict[str, float]:
    """Seconds to make a column, and bytes an item that it takes."""
    gc.collect()
    start = process_time()
    catalogue.columns.column(name)
    seconds = process_time() - start
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    columns = FeatureColumns(catalogue.features)
    columns.column(name)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return {"seconds": seconds, "bytes_per_item": taken / catalogue.size}


def _asked(catalogue: Catalogue) -> dict[str, float]:
    conditions = {name: parse_filters(filters) for name, filters in FILTERS.items()}
    return {name: _median_us(lambda one=one: passing(catalogue, one)) for name, one in conditions.items()}  # type: ignore[misc]


def _found(catalogue: Catalogue) -> dict[str, Any]:
    """How many items pass, and a digest of which."""
    found = {}
    for name, filters in FILTERS.items():
        items: Any = passing(catalogue, parse_filters(filters))
        if not isinstance(items, np.ndarray):
            items = items.mask if items.slots is None else items.slots
        slots = np.flatnonzero(items) if items.dtype == np.bool_ else items
        found[name] = [len(slots), hashlib.sha256(slots.astype(np.int32).tobytes()).hexdigest()[:16]]
    return found


def ask(items: int) -> dict[str, Any]:
    """What slates take, one request at a time, of an engine whose items have vectors."""
    with Engine(None, Settings()) as engine:
        for first in range(0, items, _BATCH):
            engine.ingest([_item(number) for number in range(first, min(first + _BATCH, items))])
        for first in range(0, _CLICKS, _BATCH):
            engine.ingest([_click(number, items) for number in range(first, first + _BATCH)])
        engine.sync()
        asked: dict[str, dict[str, Any] | None] = {"no filters": None, **FILTERS}
        figures: dict[str, Any] = {"first_request_seconds": {}, "slate_us": {}, "slates": {}}
        for name, filters in asked.items():
            start, users = process_time(), iter(range(10 * _ROUNDS))
            slate = engine.recommend("user-0", 10, filters=filters)
            figures["first_request_seconds"][name] = process_time() - start
            figures["slates"][name] = [one.item_id for one in slate.items]
            figures["slate_us"][name] = _median_us(
                lambda filters=filters, users=users: engine.recommend(f"user-{next(users)}", 10, filters=filters)  # type: ignore[misc]
            )
    return figures


def _item(number: int) -> Event:
    return ItemEvent(item_id=number, timestamp=_START + number, features=features_of(number))  # type: ignore[arg-type]


def _click(number: int, items: int) -> Event:
    rng = np.random.default_rng((1, number))
    return Action(
        user_id=f"user-{rng.integers(_USERS)}",
        item_id=int(items * rng.random() ** 4),
        action="click",
        timestamp=_START + items + number * 100,
        event_id=f"click-{number}",
    )


def _median_us(act: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS + 1):
        start = process_time()
        act()
        taken.append(process_time() - start)
    return float(np.median(taken[1:])) * 1e6


def run(items: int, slates: int, roots: Mapping[str, Path] | None = None) -> dict[str, Any]:
    """The figures of each checkout, each step in a process of its own.

    Raises ValueError where they find other items.
    """
    roots = {"this": ROOT} if roots is None else roots
    figures: dict[str, Any] = {"items": items, "slates": slates}
    for name, root in roots.items():
        figures[name] = _step(root, "find", items)
    for name, root in roots.items():
        figures[name] |= _step(root, "ask", slates)
    for what in ("found", "slates"):
        found = [json.dumps(figures[name].pop(what)) for name in roots]
        if len(set(found)) > 1:
            raise ValueError(f"other {what}: {found}")
        figures[what] = json.loads(found[0])
    return figures


def _step(root: Path, step: str, items: int) -> Any:
    """This file, with the package of a checkout."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", step, "--items", str(items)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--slates", type=int, default=SLATES)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--step", choices=["find", "ask"], help="print the figures of this process alone")
    given = parser.parse_args()
    if given.step is not None:
        sys.stdout.write(json.dumps((find if given.step == "find" else ask)(given.items)))
        return
    roots = {"this": ROOT} | ({} if given.base is None else {"base": given.base.resolve()})
    figures = json.dumps(run(given.items, given.slates, roots), indent=1)
    given.file.write_text(figures + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
