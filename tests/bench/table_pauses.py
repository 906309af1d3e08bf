"""What must not pause or hold others up: growth, eviction, a table that is full, two tables in two threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from stream_reco.embedding import EmbeddingTable
from tests.bench.table_keys import BATCH, BYTES_OF_ROW, DIM, fill, scattered, zipf_positions

EVICTED_A_CALL = 1_000
THREAD_SECONDS = 3.0


def measure_growth(rows: int) -> dict[str, object]:
    """Batches of new keys from nothing to `rows`, and the memory at half and at all of them.

    A batch counts as the median of what it took in three tables that grew: where the table pauses they all do, and
    where the machine gives memory slowly one of them does.
    """
    keys = scattered(rows)
    runs = []
    for _ in range(3):
        table = EmbeddingTable(DIM)
        first = fill(table, keys[: rows // 2])
        half = table.nbytes / len(table) - BYTES_OF_ROW
        second = fill(table, keys[rows // 2 :])
        runs.append(np.concatenate([first, second]))
    taken = np.median(runs, axis=0)
    return {
        "growth_rows": len(table),
        "growth_slowest_over_median_batch": float(taken.max() / np.median(taken)),
        "growth_median_batch_seconds": float(np.median(taken)),
        "overhead_bytes_per_row_at_half": half,
        "overhead_bytes_per_row": table.nbytes / len(table) - BYTES_OF_ROW,
    }


def measure_eviction(rows: int) -> dict[str, object]:
    """The longest call of evict among so many rows: while none is due, and while all are, some at a time."""
    table = EmbeddingTable(DIM, "sgd", ttl_ms=1_000)
    keys = scattered(rows)
    fill(table, keys)
    table.train_rows(keys[::2], 600)
    idle = [_cpu(lambda: table.evict(900, EVICTED_A_CALL)) for _ in range(200)]
    due = [_cpu(lambda: table.evict(1_500, EVICTED_A_CALL)) for _ in range(200)]
    return {
        "evict_none_due_slowest_seconds": max(idle),
        f"evict_{EVICTED_A_CALL}_due_median_seconds": float(np.median(due)),
        f"evict_{EVICTED_A_CALL}_due_slowest_seconds": max(due),
    }


def measure_budget(rows: int) -> dict[str, object]:
    """Batches of which a tenth are new keys, in a table at its budget and in one without, of about so many rows."""
    budget = rows * (BYTES_OF_ROW + 32)
    bounded, free = EmbeddingTable(DIM, budget_bytes=budget), EmbeddingTable(DIM)
    keys = scattered(2 * rows)
    at = 0
    while bounded.crowded_out == 0:
        for table in (bounded, free):
            table.train_rows(keys[at : at + BATCH], at)
        at += BATCH
    taken: list[tuple[float, float]] = []
    for number in range(200):
        fresh = keys[at + number * BATCH // 10 :][: BATCH // 10]
        batch = np.concatenate([bounded.keys()[zipf_positions(len(bounded), BATCH * 9 // 10)], fresh])
        taken.append((_cpu(partial(bounded.train_rows, batch, at)), _cpu(partial(free.train_rows, batch, at))))
    of_bounded, of_free = np.array(taken).T
    # What waits for the next drain is beside the budget.
    bounded.drain_touched()
    return {
        "budget_rows": len(bounded),
        "budget_nbytes_over_budget": bounded.nbytes / budget,
        "budget_median_batch_over_free": float(np.median(of_bounded) / np.median(of_free)),
        "budget_slowest_over_median_batch": float(of_bounded.max() / np.median(of_bounded)),
    }


def _cpu(action: Callable[[], object]) -> float:
    start = time.thread_time()
    action()
    return time.thread_time() - start


def measure_threads(rows: int) -> dict[str, object]:
    """A reader of one table and a writer of another: what each does in a time, alone and beside the other."""
    read, written = EmbeddingTable(DIM), EmbeddingTable(DIM)
    keys = scattered(rows)
    fill(read, keys)
    fill(written, keys)
    parts = np.split(keys[zipf_positions(rows, 20 * BATCH)], 20)
    gradients = np.random.default_rng(2).normal(size=(BATCH, DIM)).astype(np.float32)

    def reading() -> None:
        for part in parts:
            read.lookup(part)

    def writing() -> None:
        for part in parts:
            written.train_rows(part, 1)
            written.apply_gradients(part, gradients)

    alone = [_rates([reading]), _rates([writing])]
    together = _rates([reading, writing])
    shares = [beside / before[0] for beside, before in zip(together, alone, strict=True)]
    return {
        "threads_reader_beside_writer_over_alone": shares[0],
        "threads_writer_beside_reader_over_alone": shares[1],
        "threads_scaling_of_two": sum(shares),
    }


def _rates(actions: list[Callable[[], None]]) -> list[float]:
    """Rounds a second of each, all at once."""
    rounds = [0] * len(actions)
    end = time.perf_counter() + THREAD_SECONDS

    def go_on(place: int) -> None:
        while time.perf_counter() < end:
            actions[place]()
            rounds[place] += 1

    threads = [threading.Thread(target=go_on, args=(place,)) for place in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [count / THREAD_SECONDS for count in rounds]
