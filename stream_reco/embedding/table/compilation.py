"""Compiles every kernel of a table when the first one is made, so that no later batch waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from stream_reco.embedding.table.eviction import compile_kernels
from stream_reco.embedding.table.row_store import RowStore

_compiled = False


class _WithStore(Protocol):
    _store: RowStore


def compile_once(make: Callable[..., Any]) -> None:
    """Compile every kernel, growth's included, at the first call; `make` makes an `EmbeddingTable`."""
    global _compiled
    if _compiled:
        return
    _compiled = True
    table = make(1, "sgd", ttl_ms=0)
    keys = np.zeros(1, np.int64)
    table.train_rows(keys, 0)
    table.apply_gradients(keys, np.zeros((1, 1), np.float32))
    table.drain_touched()
    table.forget(keys)
    table.evict(1)
    inside: _WithStore = table
    compile_kernels(inside._store)
