"""The embedding table beside torch's static array and Python's dict, in one run; every ratio is ours over theirs.

Times are medians of several runs on one core (CPU time of the thread where a growing table is timed batch by batch,
so that a busy machine does not look like a pause). First runs are thrown away: they pay for fresh pages.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from stream_reco.embedding import PRECISIONS, Adagrad, Delta, EmbeddingTable, ReplicaTable

DIM = 32
ROWS = 5_000_000
LOOKUPS = 1_000_000
NEW_KEYS = 2_000_000
BATCH = 5_000
STEP_ROWS = 200_000
REPLICA_ROWS = 500_000
REPLICA_DIM = 96
CANDIDATES = 200
REQUESTS = 500
BYTES_OF_ROW = 4 * 2 * DIM


def seconds(action: Callable[[], object], runs: int = 5) -> float:
    """Median wall seconds of `runs` calls after one that does not count."""
    action()
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return sorted(taken)[runs // 2]


def scattered(n: int) -> NDArray[np.int64]:
    """int64[n] distinct keys in random order."""
    return np.random.default_rng(0).permutation(n).astype(np.int64) * 7919


def zipf_positions(n: int, size: int) -> NDArray[np.int64]:
    """int64[size] positions below n, Zipf with exponent 1.1, the hot ones scattered over the whole range."""
    rng = np.random.default_rng(1)
    drawn = rng.zipf(1.1, 6 * size)
    kept = drawn[drawn <= n][:size] - 1
    chosen: NDArray[np.int64] = rng.permutation(n)[kept]
    return chosen


def fill(table: EmbeddingTable, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64[batches]: CPU seconds of each batch of 10,000 new keys."""
    taken = []
    for part in np.array_split(keys, len(keys) // 10_000):
        start = time.thread_time()
        table.train_rows(part, 0)
        taken.append(time.thread_time() - start)
    return np.array(taken)


def measure_growth() -> tuple[EmbeddingTable, NDArray[np.int64], dict[str, object]]:
    keys = scattered(ROWS)
    table = EmbeddingTable(DIM)
    taken = fill(table, keys)
    return table, keys, {
        "rows": len(table),
        "growth_slowest_over_median_batch": float(taken.max() / np.median(taken)),
        "overhead_bytes_per_row": table.nbytes / len(table) - BYTES_OF_ROW,
    }  # fmt: skip


def measure_lookup(table: EmbeddingTable, keys: NDArray[np.int64]) -> dict[str, object]:
    positions = zipf_positions(ROWS, LOOKUPS)
    asked, indices = keys[positions], torch.from_numpy(positions)
    static = torch.rand(ROWS, DIM)
    ours = seconds(lambda: table.lookup(asked))
    theirs = seconds(lambda: torch.nn.functional.embedding(indices, static))
    found = seconds(lambda: table.train_rows(asked, 1))
    return {
        "lookups_per_second": LOOKUPS / ours,
        "lookup_over_torch_embedding": theirs / ours,
        "train_known_rows_per_second": LOOKUPS / found,
    }


def measure_insert() -> dict[str, object]:
    keys = scattered(NEW_KEYS)
    as_list = keys.tolist()

    def assign() -> None:
        known: dict[int, int] = {}
        for row, key in enumerate(as_list):
            known[key] = row  # noqa: PERF403 - assignment one by one is what is measured

    plain = seconds(assign, 3)
    narrow = seconds(lambda: EmbeddingTable(1, "sgd").train_rows(keys, 0), 3)
    wide = seconds(lambda: EmbeddingTable(DIM).train_rows(keys, 0), 3)
    return {
        "dict_inserts_per_second": NEW_KEYS / plain,
        "narrow_inserts_per_second": NEW_KEYS / narrow,
        "narrow_insert_over_dict": plain / narrow,
        "adagrad_inserts_per_second": NEW_KEYS / wide,
        "adagrad_insert_over_dict": plain / wide,
    }


def measure_step() -> dict[str, object]:
    """One step of lookup, forward, backward and Adagrad on a small dense layer over BATCH Zipf keys."""
    keys = scattered(STEP_ROWS)
    positions = zipf_positions(STEP_ROWS, BATCH)
    asked, indices = keys[positions], torch.from_numpy(positions)
    table = EmbeddingTable(DIM, Adagrad(lr=0.01))
    table.train_rows(keys, 0)
    static = torch.nn.Embedding(STEP_ROWS, DIM, sparse=True)
    optimizer = torch.optim.Adagrad(static.parameters(), lr=0.01)
    dense = torch.nn.Sequential(torch.nn.Linear(DIM, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))

    def ours() -> None:
        table.train_rows(asked, 1)
        vectors = torch.from_numpy(table.lookup(asked)).requires_grad_()
        dense(vectors).square().mean().backward()
        assert vectors.grad is not None
        table.apply_gradients(asked, vectors.grad.numpy())

    def theirs() -> None:
        static.zero_grad()
        dense(static(indices)).square().mean().backward()
        optimizer.step()

    gradients = np.random.default_rng(2).normal(size=(BATCH, DIM)).astype(np.float32)
    mine, other = seconds(ours, 31), seconds(theirs, 31)
    return {
        "step_seconds": mine,
        "step_over_torch_sparse": other / mine,
        "step_train_rows_seconds": seconds(lambda: table.train_rows(asked, 1), 31),
        "step_lookup_seconds": seconds(lambda: table.lookup(asked), 31),
        "step_apply_gradients_seconds": seconds(lambda: table.apply_gradients(asked, gradients), 31),
    }


def measure_replicas() -> dict[str, object]:
    """Each precision of a replica's rows: bytes of a row, all that is allocated, and the lookup of one request."""
    keys = scattered(REPLICA_ROWS)
    vectors = np.random.default_rng(3).normal(0, 0.3, (REPLICA_ROWS, REPLICA_DIM)).astype(np.float32)
    delta = Delta("item", REPLICA_DIM, keys, vectors, keys[:0])
    asked = keys[zipf_positions(REPLICA_ROWS, CANDIDATES * REQUESTS)].reshape(REQUESTS, CANDIDATES)
    tables = {kind: ReplicaTable(REPLICA_DIM, name="item", precision=kind) for kind in PRECISIONS}
    taken: dict[str, list[float]] = {kind: [] for kind in PRECISIONS}
    for table in tables.values():
        table.apply_delta(delta)
    # In turns, so that a busy moment is of all of them.
    for kind, table in [*tables.items()] * 21:
        start = time.thread_time()
        for request in asked:
            table.lookup(request)
        taken[kind].append((time.thread_time() - start) / REQUESTS)
    return {
        **{f"replica_{kind}_bytes_per_row": table.nbytes / len(table) for kind, table in tables.items()},
        **{f"replica_{kind}_lookup_microseconds": 1e6 * float(np.median(taken[kind])) for kind in tables},
    }


def run() -> dict[str, object]:
    """All measurements, on one thread; at most a minute and 3 GB."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        table, keys, growth = measure_growth()
        lookup = measure_lookup(table, keys)
        del table
        return {**growth, **lookup, **measure_insert(), **measure_step(), **measure_replicas()}
    finally:
        torch.set_num_threads(threads)
