"""Keys that the benchmarks of the table are run on, and tables filled with them."""

import time

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable

DIM = 32
BATCH = 10_000
BYTES_OF_ROW = 4 * 2 * DIM
"""Of a vector and its Adagrad state."""
WARM_BYTES_A_ROW = BYTES_OF_ROW + 64
"""What the system is to have ready where rows are made: for them, what is beside them, and what the caller holds."""


def scattered(n: int) -> NDArray[np.int64]:
    """int64[n] distinct keys in random order."""
    return np.random.default_rng(0).permutation(n).astype(np.int64) * 7919


def zipf_positions(n: int, size: int) -> NDArray[np.int64]:
    """int64[size] positions below n, Zipf with exponent 1.1, the hot ones scattered over the whole range."""
    rng = np.random.default_rng(1)
    kept = np.empty(0, np.int64)
    while len(kept) < size:
        drawn = rng.zipf(1.1, 2 * size)
        kept = np.concatenate([kept, drawn[drawn <= n] - 1])
    chosen: NDArray[np.int64] = rng.permutation(n)[kept[:size]]
    return chosen


def assign(keys: list[int]) -> dict[int, int]:
    """A dict of the place of each key."""
    known: dict[int, int] = {}
    for place, key in enumerate(keys):
        known[key] = place  # noqa: PERF403 - assignment one by one is what is measured
    return known


def fill(table: EmbeddingTable, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[batches]: CPU seconds of each batch of new keys, of this thread: a busy machine is no pause."""
    taken = []
    for part in np.array_split(keys, max(1, len(keys) // BATCH)):
        start = time.thread_time()
        table.train_rows(part, 0)
        taken.append(time.thread_time() - start)
    return np.array(taken)
