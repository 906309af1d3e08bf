"""What must hold of a store between any two operations, checked from outside the kernels."""

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels import rows as row_kernels
from stream_reco.embedding.kernels.pointers import LINE_BYTES
from stream_reco.embedding.table.row_store import RowStore

_WORDS = LINE_BYTES // 8
_FULLEST_PERCENT = 90


def check_store(store: RowStore) -> None:
    """Raise AssertionError with the first disagreement of index, rows, free list, touched bits and counters."""
    live = store.live_rows()
    keys = store.keys_of(live)
    _hold(len(live) == store.live, f"{len(live)} rows have a key, the counter says {store.live}")
    _hold(len(np.unique(keys)) == len(keys), "two rows have the same key")
    _hold(bool((store.find(keys) == live).all()), "a key is not found at its row")
    _check_free(store, live)
    _check_index(store, live)
    touched = store.touched_rows()
    _hold(len(touched) == store.head[scalars.TOUCHED], "the touched counter is wrong")
    _hold(bool(np.isin(touched, live).all()), "a row without a key is touched")
    _check_bounds(store, live)
    used = store.head[scalars.LAST_LINE]
    _hold(used < store.head[scalars.LINE_CAPACITY] <= store.index.capacity, "the index is longer than its memory")


def _hold(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(f"embedding table: {text}")


def _check_free(store: RowStore, live: NDArray[np.int64]) -> None:
    words = store.meta.read(store.top).view(np.int64).reshape(-1, 2)
    seen = set()
    row = int(store.head[scalars.FREE_ROW])
    while row >= 0:
        _hold(row not in seen and row < store.top, f"the free list comes back to row {row} or leaves the table")
        _hold(int(words[row, 1]) == row_kernels.FREE, f"row {row} is free and has a key")
        seen.add(row)
        row = int(words[row, 0])
    _hold(len(seen) + len(live) == store.top, f"{store.top} rows: {len(live)} live, {len(seen)} free, others lost")


def _check_bounds(store: RowStore, live: NDArray[np.int64]) -> None:
    last_seen = store.words_of(live) >> 16
    bounds = store.bounds[live >> int(store.layout[row_kernels.SHIFT])]
    _hold(bool((bounds <= last_seen).all()), "a row is older than the bound of its page")


def _check_index(store: RowStore, live: NDArray[np.int64]) -> None:
    lines = store.index.read(int(store.head[scalars.LINE_CAPACITY])).view(np.int64).reshape(-1, _WORDS)
    used = lines[:, scalars.SLOTS] & scalars.USED_MASK
    packed = (lines[:, : scalars.SLOTS] != 0) == (np.arange(scalars.SLOTS) < used[:, None])
    _hold(bool(packed.all()), "a line has a gap or miscounts its slots")
    at, slot = np.nonzero(lines[:, : scalars.SLOTS])
    words = lines[at, slot]
    rows = (words & scalars.ROW_MASK) - 1
    _hold(bool((np.sort(rows) == live).all()) if len(rows) == len(live) else False, "the index holds other rows")
    hashes = words >> 32
    order = np.where(hashes >= store.head[scalars.FRONTIER], *store.head[[scalars.NEW_LINES, scalars.OLD_LINES]])
    homes = (hashes * order) >> scalars.HASH_BITS
    _hold(bool((homes <= at).all()), "an entry lies before its home")
    passed = np.zeros(len(lines) + 1, np.int64)
    np.add.at(passed, homes, 1)
    np.subtract.at(passed, at, 1)
    _hold(
        bool((np.cumsum(passed)[:-1] == lines[:, scalars.SLOTS] // scalars.PASS).all()),
        "a line miscounts who passed it",
    )
    _hold(len(live) * 100 <= _FULLEST_PERCENT * scalars.SLOTS * store.head[scalars.NEW_LINES], "growth lags behind")
    last = int(at.max()) if len(at) else 0
    _hold(last <= store.head[scalars.LAST_LINE], "an entry lies beyond the last line")
