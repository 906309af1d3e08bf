"""Tables with everything in them, and what they do next: for tests that save and load."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import Admission, EmbeddingTable, after

Trace = list[bytes]
TWICE = after(2)


def trained(seed: int = 0, *, name: str = "item", admission: Admission | None = TWICE) -> EmbeddingTable:
    """With a sketch, evicted rows, tombstones that wait and rows that are touched."""
    table = EmbeddingTable(4, "adam", admission, 100, name=name, seed=seed)
    for now in range(0, 400, 20):
        live_on(table, np.random.default_rng(now), now, 300, 100)
        table.evict(now, limit=7)
    return table


def live_on(table: EmbeddingTable, rng: np.random.Generator, now: int, keys: int, many: int) -> Trace:
    """Some of everything that changes a table, by numbers from `rng`; returns all that it answered."""
    some = rng.integers(0, keys, many)
    trace: list[NDArray[np.generic]] = [table.train_rows(some, now)]
    table.apply_gradients(some, rng.normal(size=(many, table.dim)).astype(np.float32))
    trace += [table.lookup(rng.integers(0, keys, many)), table.evict(now, limit=int(rng.integers(0, many)))]
    if rng.random() < 0.3:
        delta = table.drain_touched()
        trace += [delta.keys, delta.vectors, delta.tombstones]
        if rng.random() < 0.3:
            table.restore_touched(delta)
    return [part.tobytes() for part in trace]


def bytes_of(table: EmbeddingTable, folder: Path) -> bytes:
    """The table's file."""
    table.save(folder / "bytes of it")
    return (folder / "bytes of it").read_bytes()
