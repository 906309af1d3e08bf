"""What must not pause or hold others up: growth, eviction, a table that is full, two tables in two threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from tests.bench.table_keys import BATCH, BYTES_OF_ROW, DIM, WARM_BYTES_A_ROW, fill, scattered, zipf_positions
from tests.bench.timing import recurring, warm

EVICTED_A_CALL = 1_000
CALLS = 200
THREAD_SECONDS = 3.0


def measure_growth(rows: int) -> dict[str, object]:
    """Batches of new keys from nothing to `rows`, and the memory at half and at all of them."""
    keys = scattered(rows)
    beside: list[float] = []

    def grow() -> NDArray[np.float64]:
        warm(rows * WARM_BYTES_A_ROW)
        table = EmbeddingTable(DIM)
        taken = []
        for part in (keys[: rows // 2], keys[rows // 2 :]):
            taken.append(fill(table, part))
            beside.append(table.nbytes / len(table) - BYTES_OF_ROW)
        return np.concatenate(taken)

    taken = recurring(grow)
    return {
        "growth_rows": rows,
        "growth_slowest_over_median_batch": float(taken.max() / np.median(taken)),
        "growth_median_batch_seconds": float(np.median(taken)),
        "overhead_bytes_per_row_at_half": beside[0],
        "overhead_bytes_per_row": beside[1],
    }


def measure_eviction(rows: int) -> dict[str, object]:
    """The longest call of evict among so many rows: while none is due, and while all are, some at a time."""
    keys = scattered(rows)

    def evict() -> NDArray[np.float64]:
        table = EmbeddingTable(DIM, "sgd", ttl_ms=1_000)
        fill(table, keys)
        table.train_rows(keys[::2], 600)
        times = [900] * CALLS + [1_500] * CALLS
        return np.array([_cpu(partial(table.evict, now, EVICTED_A_CALL)) for now in times])

    idle, due = np.split(recurring(evict), 2)
    return {
        "evict_none_due_slowest_seconds": float(idle.max()),
        f"evict_{EVICTED_A_CALL}_due_median_seconds": float(np.median(due)),
        f"evict_{EVICTED_A_CALL}_due_slowest_seconds": float(due.max()),
    }


def measure_budget(rows: int) -> dict[str, object]:
    """Batches of which a tenth are new keys, in a table at its budget and in one without, of about so many rows."""
    budget = rows * (BYTES_OF_ROW + 32)
    keys = scattered(2 * rows)
    seen: dict[str, object] = {}

    def crowd() -> NDArray[np.float64]:
        bounded, free = EmbeddingTable(DIM, budget_bytes=budget), EmbeddingTable(DIM)
        at = 0
        while bounded.evicted_for_budget == 0:
            for table in (bounded, free):
                table.train_rows(keys[at : at + BATCH], at)
            at += BATCH
        taken = []
        for number in range(CALLS):
            fresh = keys[at + number * BATCH // 10 :][: BATCH // 10]
            batch = np.concatenate([bounded.keys()[zipf_positions(len(bounded), BATCH * 9 // 10)], fresh])
            taken += [_cpu(partial(table.train_rows, batch, at)) for table in (bounded, free)]
        # What waits for the next drain is beside the budget.
        bounded.drain_touched()
        seen.update({"budget_rows": len(bounded), "budget_nbytes_over_budget": bounded.nbytes / budget})
        return np.array(taken)

    of_bounded, of_free = recurring(crowd).reshape(-1, 2).T
    return {
        **seen,
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
