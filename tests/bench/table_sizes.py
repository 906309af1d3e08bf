"""The table at growing sizes, beside a dict, a static array of torch and an index of pandas."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from numpy.typing import NDArray

from stream_reco.embedding import Adagrad, EmbeddingTable
from tests.bench.table_keys import BYTES_OF_ROW, DIM, WARM_BYTES_A_ROW, assign, fill, scattered, zipf_positions
from tests.bench.timing import recurring, seconds, warm

SIZES = (10_000, 100_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000)
LOOKUPS, BATCHES = 200_000, 20
UPDATES = 20_000
PEAK_BYTES_A_ROW = 2 * BYTES_OF_ROW
"""What the largest of them needs for a moment, keys and gradients included."""


def measure_sizes(scale: float) -> dict[str, object]:
    """Nanoseconds a key of each operation at each size, times `scale`; those that do not fit into memory are named."""
    sizes = [int(scale * rows) for rows in SIZES]
    fit = [rows for rows in sizes if rows * PEAK_BYTES_A_ROW < psutil.virtual_memory().available]
    figures: dict[str, object] = {str(rows): _at(rows) for rows in fit}
    left_out = [rows for rows in sizes if rows not in fit]
    return {**figures, **({"left_out_for_memory": left_out} if left_out else {})}


def _at(rows: int) -> dict[str, object]:
    keys = scattered(rows)
    positions = zipf_positions(rows, LOOKUPS)
    asked = keys[positions]
    spread = np.random.default_rng(3).integers(0, rows, LOOKUPS)
    return {
        "table": _table(keys, asked, keys[spread]),
        "dict": _dict(keys, asked, keys[spread]),
        "torch": _torch(rows, positions, spread),
        "pandas": _pandas(keys, asked, keys[spread]),
    }


def _table(keys: NDArray[np.int64], zipf: NDArray[np.int64], uniform: NDArray[np.int64]) -> Mapping[str, float]:
    fill(EmbeddingTable(DIM), keys[:100_000])
    tables: list[EmbeddingTable] = []

    def fill_one() -> NDArray[np.float64]:
        tables.clear()
        warm(len(keys) * WARM_BYTES_A_ROW)
        tables.append(EmbeddingTable(DIM, Adagrad(lr=0.01), ttl_ms=0))
        return fill(tables[0], keys)

    inserted = recurring(fill_one)
    table = tables[0]
    beside = table.nbytes / len(table) - BYTES_OF_ROW

    def refill() -> NDArray[np.float64]:
        table.evict(1)
        return fill(table, keys)

    again = recurring(refill)
    gradients = np.random.default_rng(2).normal(size=(UPDATES, DIM)).astype(np.float32)
    return {
        "insert": 1e9 * float(inserted.sum()) / len(keys),
        "insert_into_used_memory": 1e9 * float(again.sum()) / len(keys),
        "insert_slowest_over_median_batch": float(inserted.max() / np.median(inserted)),
        "lookup_zipf": _asked(table.lookup, zipf),
        "lookup_uniform": _asked(table.lookup, uniform),
        "train_rows_known": _asked(lambda part: table.train_rows(part, 1), zipf),
        "update": 1e9 * seconds(lambda: table.apply_gradients(uniform[:UPDATES], gradients)) / UPDATES,
        "overhead_bytes_per_row": beside,
    }


def _asked(answer: Callable[[Any], object], keys: Any) -> float:
    """Nanoseconds a key, asked for in batches: of all at once the memory for the answer would cost more than it."""
    parts = [keys[start::BATCHES] for start in range(BATCHES)]
    parts = [part.contiguous() if isinstance(part, torch.Tensor) else part.copy() for part in parts]
    return 1e9 * seconds(lambda: [answer(part) for part in parts]) / len(keys)


def _dict(keys: NDArray[np.int64], zipf: NDArray[np.int64], uniform: NDArray[np.int64]) -> Mapping[str, float]:
    warm(len(keys) * WARM_BYTES_A_ROW)
    start = time.perf_counter()
    known = assign(keys.tolist())
    inserted = time.perf_counter() - start
    return {
        "insert": 1e9 * inserted / len(keys),
        "lookup_zipf": _asked(lambda part: [known[key] for key in part.tolist()], zipf),
        "lookup_uniform": _asked(lambda part: [known[key] for key in part.tolist()], uniform),
    }


def _torch(rows: int, zipf: NDArray[np.int64], uniform: NDArray[np.int64]) -> Mapping[str, float]:
    layer = torch.nn.Embedding(rows, DIM, sparse=True)
    optimizer = torch.optim.Adagrad(layer.parameters(), lr=0.01)
    hot, spread = torch.from_numpy(zipf), torch.from_numpy(uniform)
    layer.weight.grad = torch.sparse_coo_tensor(
        spread[None, :UPDATES], torch.randn(UPDATES, DIM), (rows, DIM), check_invariants=False
    )
    read = torch.nn.functional.embedding
    with torch.no_grad():
        return {
            "lookup_zipf": _asked(lambda part: read(part, layer.weight), hot),
            "lookup_uniform": _asked(lambda part: read(part, layer.weight), spread),
            "update": 1e9 * seconds(optimizer.step) / UPDATES,
        }


def _pandas(keys: NDArray[np.int64], zipf: NDArray[np.int64], uniform: NDArray[np.int64]) -> Mapping[str, float]:
    warm(len(keys) * WARM_BYTES_A_ROW)
    start = time.perf_counter()
    index = pd.Index(keys)
    # The hash table behind it is made by the first question.
    index.get_indexer(keys[:1])
    built = time.perf_counter() - start
    return {
        "insert": 1e9 * built / len(keys),
        "lookup_zipf": _asked(index.get_indexer, zipf),
        "lookup_uniform": _asked(index.get_indexer, uniform),
    }
