"""The embedding table beside torch, dict and pandas, in one run; every ratio is ours over theirs, above 1 is better.

Times are medians, taken in turns (`timing`). Where batch is compared with batch of one table it is CPU time of the
thread. On one thread, but for the two of `table_pauses`.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from stream_reco.embedding import PRECISIONS, Adagrad, Delta, EmbeddingTable, ReplicaTable
from tests.bench.table_keys import DIM, WARM_BYTES_A_ROW, assign, fill, scattered, zipf_positions
from tests.bench.table_pauses import measure_budget, measure_eviction, measure_growth, measure_threads
from tests.bench.table_sizes import measure_sizes
from tests.bench.timing import in_turns, seconds

ROWS = 5_000_000
LOOKUPS = 1_000_000
NEW_KEYS = 2_000_000
STEP_BATCH = 5_000
STEP_ROWS = 200_000
REPLICA_ROWS, REPLICA_DIM, CANDIDATES, REQUESTS = 500_000, 96, 200, 200


def measure_lookup(rows: int, lookups: int) -> dict[str, object]:
    """Zipf lookups in a table of so many rows and in torch's static array of as many."""
    keys = scattered(rows)
    table = EmbeddingTable(DIM)
    fill(table, keys)
    positions = zipf_positions(rows, lookups)
    asked, indices = keys[positions], torch.from_numpy(positions)
    static = torch.rand(rows, DIM)
    taken = in_turns(
        {
            "ours": lambda: table.lookup(asked),
            "theirs": lambda: torch.nn.functional.embedding(indices, static),
            "known": lambda: table.train_rows(asked, 1),
        },
        9,
    )
    return {
        "lookups_per_second": lookups / taken["ours"],
        "lookup_over_torch_embedding": taken["theirs"] / taken["ours"],
        "train_known_rows_per_second": lookups / taken["known"],
    }


def measure_insert(many: int) -> dict[str, object]:
    """New keys, which come as an array, into an empty table in one batch, and assigned to a dict one by one.

    A row that starts at zero shows the index with what belongs to every row: key, time and count. A dict takes ints: to
    make them of the array is part of it, and what it takes without that is told too.
    """
    keys = scattered(many)
    ready = keys.tolist()
    taken = in_turns(
        {
            "dict": lambda: assign(keys.tolist()),
            "dict_of_ready_ints": lambda: assign(ready),
            "index": lambda: EmbeddingTable(1, "sgd", init_scale=0.0).train_rows(keys, 0),
            "narrow": lambda: EmbeddingTable(1, "sgd").train_rows(keys, 0),
            "adagrad": lambda: EmbeddingTable(DIM).train_rows(keys, 0),
        },
        9,
        warmed=many * WARM_BYTES_A_ROW,
    )
    ours = ("index", "narrow", "adagrad")
    return {
        **{f"{name}_inserts_per_second": many / one for name, one in taken.items()},
        **{f"{name}_insert_over_dict": taken["dict"] / taken[name] for name in ours},
        **{f"{name}_insert_over_dict_of_ready_ints": taken["dict_of_ready_ints"] / taken[name] for name in ours},
    }


def measure_step() -> dict[str, object]:
    """One step of lookup, forward, backward and Adagrad on a small dense layer over Zipf keys."""
    keys = scattered(STEP_ROWS)
    positions = zipf_positions(STEP_ROWS, STEP_BATCH)
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

    gradients = np.random.default_rng(2).normal(size=(STEP_BATCH, DIM)).astype(np.float32)
    taken = in_turns({"ours": ours, "theirs": theirs}, 101)
    return {
        "step_seconds": taken["ours"],
        "step_over_torch_sparse": taken["theirs"] / taken["ours"],
        "step_train_rows_seconds": seconds(lambda: table.train_rows(asked, 1), 31),
        "step_lookup_seconds": seconds(lambda: table.lookup(asked), 31),
        "step_apply_gradients_seconds": seconds(lambda: table.apply_gradients(asked, gradients), 31),
    }


def measure_files(rows: int) -> dict[str, object]:
    """Saving and loading, from the system's cache, copied and mapped."""
    table = EmbeddingTable(DIM)
    fill(table, scattered(rows))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table"
        saved = seconds(lambda: table.save(path), 1)
        size = path.stat().st_size
        loaded = in_turns(
            {
                "copied": lambda: EmbeddingTable.load(path),
                "mapped": lambda: EmbeddingTable.load(path, mapped=True),
            },
            3,
        )
    return {
        "file_rows": rows,
        "file_bytes": size,
        "file_save_seconds": saved,
        "file_load_seconds": loaded["copied"],
        "file_load_mapped_seconds": loaded["mapped"],
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


def run(scale: float = 1.0) -> dict[str, object]:
    """All measurements; four to ten minutes and 16 GB. A smaller `scale` takes fewer rows, for a trial."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return {
            **measure_lookup(int(scale * ROWS), int(scale * LOOKUPS)),
            **measure_insert(int(scale * NEW_KEYS)),
            **measure_step(),
            **measure_growth(int(2 * scale * ROWS)),
            **measure_eviction(int(scale * ROWS)),
            **measure_budget(int(scale * ROWS / 5)),
            **measure_threads(int(scale * ROWS / 5)),
            **measure_replicas(),
            **measure_files(int(scale * ROWS / 5)),
            "sizes": measure_sizes(scale),
        }
    finally:
        torch.set_num_threads(threads)
