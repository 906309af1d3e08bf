"""What it takes to know what items are: seconds and bytes of described items, in a catalogue and in a mirror of it.

`python -m tests.bench.bench_content FILE [--items N] [--turns N] [--base CHECKOUT]` measures another checkout in turns
with this one, each in a process of its own. Seconds are the processor's; a turn of half a million items takes a minute.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import msgspec
import numpy as np
import psutil

from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.item_updates import Statement

ROOT = Path(__file__).parents[2]
ITEMS, TURNS = 500_000, 3
_SLICE = 20_000
"""Items that are made at a time; the rate is the median of these."""
_NOW = 1_700_000_000_000
_TEXTS, _WORDS = 2_000, 60
_PAGE = 200


def features_of(number: int) -> dict[str, object]:
    """Two categories, a list of three tags, a price, a time."""
    return {
        "category": f"category {number * 7 % 40}",
        "brand": f"brand {number * 13 % 3001}",
        "tags": [f"tag {number * one % 499}" for one in (11, 17, 23)],
        "price": round(number % 997 * 1.37, 2),
        "published": f"2024-{number % 12 + 1:02d}-{number % 28 + 1:02d}T{number % 24:02d}:{number // 24 % 60:02d}:00Z",
    }


def described_with_text(number: int) -> dict[str, object]:
    """The same, and sixty words, a few of which are in most texts."""
    places = (20_000 * np.random.default_rng(number).random(_WORDS) ** 3).astype(int)
    return features_of(number) | {"text": " ".join(f"word{place:x}" for place in places)}


def measure(items: int) -> dict[str, float]:
    """Figures of one checkout: that of this process."""
    catalogue = Catalogue(FeatureFields("item"))
    _seconds(catalogue, 0, 2 * _SLICE // 10, features_of)
    catalogue.content.read(np.arange(10, dtype=np.int32), _NOW)
    catalogue, before, rates = Catalogue(FeatureFields("item")), _bytes(), []
    for first in range(0, items, _SLICE):
        count = min(_SLICE, items - first)
        rates.append(count / _seconds(catalogue, first, count, features_of))
    figures = {
        "described_per_second": statistics.median(rates),
        "bytes_per_item": (_bytes() - before) / items,
        f"read_{_PAGE}_us": _read_us(catalogue, items),
    }
    figures |= _mirrored(catalogue, items)
    return figures | {"with_text_per_second": _TEXTS / _seconds(catalogue, items, _TEXTS, described_with_text)}


def _seconds(catalogue: Catalogue, first: int, count: int, features: Callable[[int], dict[str, object]]) -> float:
    """What `Catalogue.describe` takes; each item has strings of its own, as what was decoded has."""
    slots = [catalogue.admit(number) for number in range(first, first + count)]
    said = [
        Statement(_NOW + number, msgspec.json.decode(msgspec.json.encode(features(number))))
        for number in range(first, first + count)
    ]
    gc.collect()
    start = process_time()
    for slot, one in zip(slots, said, strict=True):
        catalogue.describe(slot, one)
    return process_time() - start


def _read_us(catalogue: Catalogue, items: int) -> float:
    """To read so many items as a request does."""
    rng, taken = np.random.default_rng(0), []
    for _ in range(50):
        slots = rng.integers(items, size=_PAGE, dtype=np.int32)
        start = process_time()
        catalogue.content.read(slots, _NOW)
        taken.append(process_time() - start)
    return statistics.median(taken) * 1e6


def _mirrored(catalogue: Catalogue, items: int) -> dict[str, float]:
    """A mirror that takes everything at once, which is what a restart does too."""
    parts: dict[str, Any] = catalogue.rows(np.arange(items, dtype=np.int32))
    fields, before = FeatureFields("item"), _bytes()
    fields.apply(catalogue.content.fields.parts())
    mirror = Catalogue(fields)
    start = process_time()
    mirror.apply(parts)
    seconds = process_time() - start
    # Releases up to 0.2.0 have entries, which `--base` may be.
    wire = sum(len(parts[name]) for name in ("entries", "ids", "packed") if name in parts)
    del parts
    return {
        "mirrored_per_second": items / seconds,
        "mirror_bytes_per_item": (_bytes() - before) / items,
        "wire_bytes_per_item": wire / items,
    }


def _bytes() -> int:
    gc.collect()
    taken: int = psutil.Process().memory_info().rss
    return taken


def run(roots: Mapping[str, Path] | None = None, items: int = ITEMS, turns: int = TURNS) -> dict[str, dict[str, float]]:
    """Median figures by checkout; of two, those of the first over those of the second as well."""
    roots = roots or {"this": ROOT}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in roots}
    for turn in range(turns):
        for name in list(roots)[:: 1 if turn % 2 else -1]:
            found[name].append(_measured(roots[name], items))
    figures = {name: _medians(each) for name, each in found.items()}
    if len(roots) == 2:
        ours, theirs = figures.values()
        figures["ratio"] = {name: ours[name] / theirs[name] for name in ours}
    return figures


def _measured(root: Path, items: int) -> dict[str, float]:
    """This file, with the package of a checkout."""
    done = subprocess.run(
        [sys.executable, __file__, "--measure", "--items", str(items)],
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def _medians(each: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in each) for name in each[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--items", type=int, default=ITEMS)
    parser.add_argument("--turns", type=int, default=TURNS)
    parser.add_argument("--base", type=Path)
    parser.add_argument("--measure", action="store_true", help="print the figures of this process alone")
    given = parser.parse_args()
    if given.measure:
        sys.stdout.write(json.dumps(measure(given.items)))
        return
    roots = {"this": ROOT} | ({} if given.base is None else {"base": given.base.resolve()})
    given.file.write_text(json.dumps(run(roots, given.items, given.turns), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
