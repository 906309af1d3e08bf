"""The collisionless embedding table: one row a key, trained, admitted, evicted, drained, saved."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import files
from stream_reco.embedding import index as scalars
from stream_reco.embedding.admission import (
    ADMIT_AFTER,
    ADMIT_EVERY,
    ADMIT_PROBABILITY,
    NO_SKETCH,
    Admission,
    After,
    admission_of,
)
from stream_reco.embedding.arguments import Keys, check_delta, check_dim, checked_keys
from stream_reco.embedding.delta import Delta
from stream_reco.embedding.invariants import check_store
from stream_reco.embedding.optimizer import OPTIMIZERS, Optimizer, optimizer_of
from stream_reco.embedding.store import RowStore, plain, salt_of

FARTHEST_TIME = 1 << 46
_EMPTY = np.empty(0, np.int64)


class EmbeddingTable:
    """A growing table of float32 vectors by 64-bit key; every key has its own row, or none.

    dim: numbers in a vector. optimizer: a name or its settings. admission: None (a row at first sighting),
    `after(k)` or `probability(p)`. ttl_ms: rows idle for longer leave at `evict`; None keeps them for ever.
    name, seed: with the key they decide a new row's vector, uniform in ±init_scale (FTRL rows start at zero).
    Reads may run in threads beside each other; a write must be alone.
    """

    def __init__(
        self,
        dim: int,
        optimizer: str | Optimizer = "adagrad",
        admission: Admission | None = None,
        ttl_ms: int | None = None,
        *,
        name: str = "",
        init_scale: float = 0.05,
        seed: int = 0,
    ) -> None:
        check_dim(name, dim)
        if ttl_ms is not None and not 0 <= ttl_ms < FARTHEST_TIME:
            raise ValueError(f"table {name!r}: ttl_ms is {ttl_ms}, must be 0 or more milliseconds, or None for ever")
        if not 0 <= init_scale < 1e6:
            raise ValueError(f"table {name!r}: init_scale is {init_scale}, must be 0 to 1e6")
        self.name, self.dim, self.ttl_ms, self.admission = name, dim, ttl_ms, admission
        self.optimizer = optimizer_of(optimizer)
        self.init_scale, self.seed = float(init_scale), seed
        salt = salt_of(f"{seed} {name}")
        size = self.optimizer.state_size(dim)
        self._store = RowStore(dim, size, salt, salt ^ 0x5DEECE66D, FARTHEST_TIME if ttl_ms is None else ttl_ms)
        self._hyper = self.optimizer.hyper()
        scale = 0.0 if self.optimizer.name == "ftrl" else self.init_scale
        self._starts = np.array([scale, self.optimizer.initial_state()])
        self._default = np.zeros(dim + size, np.float32)
        self._default[dim:] = self.optimizer.initial_state()
        self._default_touched = False
        self._tombstones: list[NDArray[np.int64]] = []
        self._admission, self._sketch = _policy(admission)
        _compile_kernels()

    def __len__(self) -> int:
        return self._store.live

    @property
    def nbytes(self) -> int:
        """All bytes allocated: rows, optimizer state, index, last seen and count, sketch, slack."""
        tombstones = sum(part.nbytes for part in self._tombstones)
        return self._store.nbytes + self._sketch.nbytes + self._default.nbytes + tombstones

    @property
    def touched(self) -> int:
        """Rows that the next drain will carry."""
        return int(self._store.head[scalars.TOUCHED])

    @property
    def refused(self) -> int:
        """Gradients (summed over duplicates) refused so far as not finite or above 1e15."""
        return int(self._store.head[scalars.REFUSED])

    @property
    def ignored(self) -> int:
        """Gradients for keys without a row, so far, in a table without admission."""
        return int(self._store.head[scalars.IGNORED])

    @property
    def default(self) -> NDArray[np.float32]:
        """float32[dim], a copy: what `lookup` answers for a key without a row."""
        return self._default[: self.dim].copy()

    def lookup(self, keys: Keys) -> NDArray[np.float32]:
        """float32[n, dim] of int64[n] (or uint64, same bits). Keys without a row get zeros, or the trained default row
        where admission is set. Never writes.
        """
        return self._store.gather(self._store.find(checked_keys(self.name, keys)), self._default)

    def train_rows(self, keys: Keys, now: int) -> NDArray[np.int64]:
        """int64[n], the rows of the keys at event time `now` (ms), new ones where admission allows, else -1.

        It alone sets last seen. Each occurrence of a key is a sighting. MemoryError leaves the table whole.
        """
        self._check_time(now)
        return self._store.claim(checked_keys(self.name, keys), now, self._admission, self._sketch, self._starts)

    def apply_gradients(self, keys: Keys, grads: NDArray[np.float32]) -> None:
        """One optimizer step by float32[n, dim]; gradients of equal keys are summed first.

        A sum with a NaN, an infinity or a magnitude above 1e15 is refused and counted, its row untouched. Keys without
        a row train the shared default row together where admission is set; otherwise they are ignored and counted.
        """
        checked = checked_keys(self.name, keys)
        if not isinstance(grads, np.ndarray) or grads.dtype != np.float32:
            kind = grads.dtype if isinstance(grads, np.ndarray) else type(grads).__name__
            raise TypeError(f"table {self.name!r}: gradients are {kind}, must be a float32 array; use astype(float32)")
        if grads.shape != (len(checked), self.dim):
            text = f"table {self.name!r}: gradients have shape {grads.shape}, must be ({len(checked)}, {self.dim})"
            raise ValueError(text + ": one row of dim numbers a key")
        shared = None if self.admission is None else self._default
        rows, contiguous = self._store.find(checked), plain(grads)
        if self._store.update(rows, contiguous, shared, self.optimizer.kind, self._hyper):
            self._default_touched = True

    def evict(self, now: int, limit: int | None = None) -> NDArray[np.int64]:
        """Remove rows with now − last seen > ttl_ms, at most `limit`, and return their keys, int64[m].

        They are tombstones of the next drain; their slots are used again; keys that come back start afresh. With a
        limit the next call goes on where this one stopped.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"table {self.name!r}: limit is {limit}, must be 0 or more, or None for all")
        if self.ttl_ms is None:
            return _EMPTY.copy()
        rows = self._store.idle(now, len(self) if limit is None else min(limit, len(self)))
        keys = self._store.keys_of(rows)
        self._store.release(rows)
        if len(keys):
            self._tombstones.append(keys)
        return keys.copy()

    def keys(self) -> NDArray[np.int64]:
        """int64[len], the keys that have a row, in the order of their rows."""
        return self._store.keys_of(self._store.live_rows())

    def drain_touched(self) -> Delta:
        """What changed since the last drain, in the order of the rows; afterwards nothing is touched.

        If the publication is refused, give the delta back to `restore_touched`.
        """
        delta = self._delta(self._store.touched_rows(), self._take_tombstones(), self._default_touched)
        self._store.clear_touched()
        self._default_touched = False
        return delta

    def restore_touched(self, delta: Delta) -> None:
        """Touch what a drain carried, as if it had not happened; the next drain carries present values."""
        check_delta(self.name, self.dim, delta)
        rows = self._store.find(plain(delta.keys))
        self._store.touch(rows[rows >= 0])
        self._default_touched |= delta.default is not None
        if len(delta.tombstones):
            self._tombstones.insert(0, delta.tombstones)

    def snapshot(self) -> Delta:
        """All rows as a delta from nothing; changes nothing."""
        return self._delta(self._store.live_rows(), _EMPTY, self.admission is not None)

    def _delta(self, rows: NDArray[np.int64], tombstones: NDArray[np.int64], with_default: bool) -> Delta:
        vectors = self._store.gather(rows, self._default)
        default = self.default if with_default else None
        return Delta(self.name, self.dim, self._store.keys_of(rows), vectors, tombstones, default)

    def _take_tombstones(self) -> NDArray[np.int64]:
        gone = np.unique(np.concatenate([_EMPTY, *self._tombstones]))
        self._tombstones = []
        return gone[self._store.find(gone) < 0]

    def _check_time(self, now: int) -> None:
        if not -FARTHEST_TIME < now < FARTHEST_TIME:
            raise ValueError(f"table {self.name!r}: now is {now}, must be milliseconds since the epoch")

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything as named arrays, copies; `from_state` gives a table that behaves bit-identically from there on."""
        settings = {
            "dim": self.dim,
            "optimizer": self.optimizer.name,
            "optimizer_settings": asdict(self.optimizer),
            "admission": None if self.admission is None else self.admission.as_dict(),
            "ttl_ms": self.ttl_ms,
            "name": self.name,
            "init_scale": self.init_scale,
            "seed": self.seed,
            "default_touched": self._default_touched,
        }
        return {
            **self._store.state(),
            "settings": np.frombuffer(json.dumps(settings, sort_keys=True).encode(), np.uint8).copy(),
            "default": self._default.copy(),
            "sketch": self._sketch.copy(),
            "tombstones": np.concatenate([_EMPTY, *self._tombstones]),
        }

    @classmethod
    def from_state(cls, parts: dict[str, NDArray[np.generic]]) -> Self:
        """The table that `state` was taken of."""
        settings = json.loads(np.asarray(parts["settings"], np.uint8).tobytes())
        table = cls(
            settings["dim"],
            OPTIMIZERS[settings["optimizer"]](**settings["optimizer_settings"]),
            admission_of(settings["admission"] or {}),
            settings["ttl_ms"],
            name=settings["name"],
            init_scale=settings["init_scale"],
            seed=settings["seed"],
        )
        table._store = RowStore.restored(parts)
        table._default[:] = parts["default"]
        table._default_touched = settings["default_touched"]
        table._sketch = np.ascontiguousarray(parts["sketch"], np.uint8).copy()
        table._tombstones = [np.asarray(parts["tombstones"], np.int64).copy()]
        return table

    def save(self, path: str | Path) -> None:
        """Write the whole table to a file, versioned and checksummed, atomically and synced to disk. Raises OSError."""
        files.write(Path(path), self.state())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The table in a file. Raises FileNotFoundError, or TableFileError for one that is torn or not of this kind."""
        return cls.from_state(files.read(Path(path)))

    def check_invariants(self) -> None:
        """Raise AssertionError, naming what is wrong, unless index, rows and counts agree. Slow: for tests."""
        check_store(self._store)


def _policy(admission: Admission | None) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    if admission is None:
        return ADMIT_EVERY, NO_SKETCH
    if isinstance(admission, After):
        return np.array([ADMIT_AFTER, admission.k, admission.window], np.float64), admission.sketch()
    return np.array([ADMIT_PROBABILITY, admission.p, 0], np.float64), admission.sketch()


_compiled = False


def _compile_kernels() -> None:
    """Compile every kernel, growth's included, when the first table is made, so that no later batch waits for it."""
    global _compiled
    if _compiled:
        return
    _compiled = True
    table = EmbeddingTable(1, "sgd", ttl_ms=0)
    keys = np.zeros(1, np.int64)
    table.train_rows(keys, 0)
    table.apply_gradients(keys, np.zeros((1, 1), np.float32))
    table.drain_touched()
    table.evict(1)
