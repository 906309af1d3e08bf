"""The collisionless embedding table: one row a key, trained, admitted, evicted, drained, saved."""

from pathlib import Path
from threading import RLock
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.delta import Delta
from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels.admission import ADMIT_EVERY, NO_SKETCH, Admission
from stream_reco.embedding.kernels.insert import NewRowPolicy
from stream_reco.embedding.kernels.optimizer import Optimizer, optimizer_of
from stream_reco.embedding.kernels.plain_numbers import whole
from stream_reco.embedding.kernels.slabs import AtAddresses
from stream_reco.embedding.table import file
from stream_reco.embedding.table.arguments import FARTHEST_TIME, Keys, check_delta, checked_keys, checked_time, whole_ms
from stream_reco.embedding.table.budget import rows_within
from stream_reco.embedding.table.compilation import compile_once
from stream_reco.embedding.table.eviction import idle, least_valuable
from stream_reco.embedding.table.invariants import check_store
from stream_reco.embedding.table.row_store import RowStore, distinct, plain, salt_of
from stream_reco.embedding.table.settings import TableSettings

_NO_TIME = 1 << 62
_EMPTY = np.empty(0, np.int64)
_DAY_MS = 86_400_000
# Where admission declines most strangers, way is made for an eighth of those that wait, and at least for so many, or a
# sixteenth of the rows.
_FEWEST = 256


class ChangeListener(Protocol):
    """Hears of each change of a table's rows, under the table's lock."""

    def change(self, rows: NDArray[np.int64]) -> None:
        """Rows int64[n], -1 among them, are about to change."""

    def leave(self, keys: NDArray[np.int64]) -> None:
        """The rows of keys int64[n] leave."""


class EmbeddingTable(AtAddresses):
    """A growing table of float32 vectors by 64-bit key; every key has its own row, or none.

    dim: numbers in a vector. optimizer: a name or its settings. admission: None (a row at first sighting),
    `after(k)` or `probability(p)`. ttl_ms: rows idle for longer leave at `evict`; None keeps them for ever.
    budget_bytes: a table that has come to so many (`nbytes`, without the tombstones of the next drain) gives up its
    least valuable rows for new ones; see `eviction`, where half_life_ms is that of a row's count. None: no bound.
    name, seed: with the key they decide a new row's vector, uniform in ±init_scale (FTRL rows start at zero).
    Threads may share it: its calls wait for each other. Those of two tables run concurrently.
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
        budget_bytes: int | None = None,
        half_life_ms: int = _DAY_MS,
    ) -> None:
        self.optimizer, self.admission = optimizer_of(optimizer), admission
        settings = TableSettings.checked(
            dim, self.optimizer, admission, ttl_ms, name, init_scale, seed, budget_bytes, half_life_ms
        )
        self._settings = settings
        self.name, self.dim, self.ttl_ms = settings.name, settings.dim, settings.ttl_ms
        self.init_scale, self.seed = settings.init_scale, settings.seed
        self.budget_bytes, self.half_life_ms = settings.budget_bytes, settings.half_life_ms
        self._alone = RLock()
        salt = salt_of(f"{settings.seed} {name}")
        size = self.optimizer.state_size(self.dim)
        ttl = FARTHEST_TIME if self.ttl_ms is None else self.ttl_ms
        self._store = RowStore(self.dim, size, salt, salt ^ 0x5DEECE66D, ttl)
        scale = 0.0 if self.optimizer.name == "ftrl" else self.init_scale
        self._default = np.zeros(self.dim + size, np.float32)
        self._default[self.dim :] = self.optimizer.initial_state()
        self._default_touched = False
        self._tombstones: list[NDArray[np.int64]] = []
        self.changes: ChangeListener | None = None
        """Who keeps account of what changes, where several trainers share a model."""
        self._sketch = NO_SKETCH if admission is None else admission.sketch(self.budget_bytes)
        policy = ADMIT_EVERY if admission is None else admission.policy(self.budget_bytes)
        numbers = np.concatenate([policy, [scale, self.optimizer.initial_state()]])
        self._new_rows = NewRowPolicy(numbers, self._sketch)
        self._hyper = self.optimizer.hyper()
        if self.budget_bytes is not None:
            self._store.row_limit = self._limit(self.budget_bytes)
        compile_once(EmbeddingTable)

    def _limit(self, budget: int) -> int:
        kept = self._sketch.nbytes + self._default.nbytes
        limit = rows_within(self._store, budget - kept)
        if limit == 0:
            raise ValueError(
                f"table {self.name!r}: budget_bytes is {budget}, less than its first {1 << self._store.data.shift} rows"
                f" of dim {self.dim} take with {self.optimizer.name}; give it 1 MB or more, and more for a long sketch"
            )
        return limit

    def __len__(self) -> int:
        return self._store.live

    @property
    def nbytes(self) -> int:
        """All bytes allocated: rows, optimizer state, index, last seen and count, sketch, slack.

        Those of a mapped file count too, though they take memory only where they were changed.
        """
        tombstones = sum(part.nbytes for part in self._tombstones)
        return self._store.nbytes + self._sketch.nbytes + self._default.nbytes + tombstones

    @property
    def touched(self) -> int:
        """Rows that the next drain will carry."""
        return int(self._store.head[scalars.TOUCHED])

    @property
    def rejected_gradients(self) -> int:
        """Gradients (summed over duplicates) refused so far as not finite or above 1e15."""
        return int(self._store.head[scalars.REFUSED])

    @property
    def ignored(self) -> int:
        """Gradients for keys without a row, so far, in a table without admission."""
        return int(self._store.head[scalars.IGNORED])

    @property
    def evicted_for_budget(self) -> int:
        """Rows given up so far to stay within the budget."""
        return int(self._store.head[scalars.CROWDED_OUT])

    @property
    def denied_rows(self) -> int:
        """Sightings of keys that got no row, so far, since all that fit were of keys of the same batch."""
        return int(self._store.head[scalars.DECLINED])

    @property
    def default(self) -> NDArray[np.float32]:
        """float32[dim], a copy: what `lookup` answers for a key without a row."""
        return self._default[: self.dim].copy()

    def lookup(self, keys: Keys) -> NDArray[np.float32]:
        """float32[n, dim] of int64[n] (or uint64, same bits). Keys without a row get zeros, or the trained default row
        where admission is set. Never writes.
        """
        checked = checked_keys(self.name, keys)
        with self._alone:
            return self._store.gather(self._store.find(checked), self._default)

    def train_rows(self, keys: Keys, now: int) -> NDArray[np.int64]:
        """int64[n], the rows of the keys at event time `now` (ms), new ones where admission allows, else -1.

        It alone sets last seen. Each occurrence of a key is a sighting. Where the budget is used up, the least valuable
        rows of other keys make way; a batch of more keys than there may be rows leaves its last strangers without one.
        MemoryError leaves the table whole.
        """
        when, checked = checked_time(self.name, now), checked_keys(self.name, keys)
        with self._alone:
            return self._store.claim(checked, when, self._new_rows, self._make_way)

    def _make_way(self, given: NDArray[np.int64], waiting: NDArray[np.int64]) -> bool:
        known = self._store.find(waiting)
        strangers = len(distinct(waiting[known < 0]))
        if self.admission is not None:
            strangers = max(1, min(_FEWEST, len(self) // 16), strangers // 8)
        pinned = distinct(np.concatenate([given[given >= 0], known[known >= 0]]))
        victims = least_valuable(self._store, strangers, pinned, self.half_life_ms)
        self._give_up(victims)
        self._store.head[scalars.CROWDED_OUT] += len(victims)
        return len(victims) > 0

    def _give_up(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Release rows; returns their keys, which the next drain reports."""
        keys = self._store.keys_of(rows)
        gone = keys.copy()
        if len(keys):
            self._tombstones.append(keys)
            if self.changes is not None:
                self.changes.leave(keys)
        self._store.release(rows)
        return gone

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
        contiguous = plain(grads)
        with self._alone:
            rows = self._store.find(checked)
            if self.changes is not None:
                self.changes.change(rows)
            if self._store.update(rows, contiguous, shared, self.optimizer.kind, self._hyper):
                self._default_touched = True

    def evict(self, now: int, limit: int | None = None) -> NDArray[np.int64]:
        """Remove rows with now − last seen > ttl_ms, at most `limit`, and return their keys, int64[m].

        They are tombstones of the next drain; their slots are used again; keys that come back start afresh. With a
        limit the next call goes on where this one stopped.
        """
        most = len(self) if limit is None else whole(f"table {self.name!r}", "limit", limit, "rows, or None for all")
        if most < 0:
            raise ValueError(f"table {self.name!r}: limit is {limit}, must be 0 or more, or None for all")
        # No row is seen at such times, and differences to them still fit.
        when = max(-_NO_TIME, min(whole_ms(self.name, now), _NO_TIME))
        if self.ttl_ms is None:
            return _EMPTY.copy()
        with self._alone:
            return self._give_up(idle(self._store, when, min(most, len(self))))

    def turn_back(self, now: int) -> int:
        """Take rows last seen after event time `now` (ms) as seen then, for a wrong clock said so; returns how many."""
        when = checked_time(self.name, now)
        with self._alone:
            return self._store.turn_back(when)

    def forget(self, keys: Keys) -> NDArray[np.int64]:
        """Remove the rows of int64[n] keys as `evict` does, with all that is in them; returns their keys, int64[m]."""
        checked = distinct(checked_keys(self.name, keys))
        with self._alone:
            found = self._store.find(checked)
            self._store.blank(rows := found[found >= 0])
            return self._give_up(rows)

    def keys(self) -> NDArray[np.int64]:
        """int64[len], the keys that have a row, in the order of their rows."""
        with self._alone:
            return self._store.keys_of(self._store.live_rows())

    def drain_touched(self) -> Delta:
        """What changed since the last drain, by row; `restore_touched` takes it back where a channel refuses it."""
        with self._alone:
            delta = self._delta(self._store.touched_rows(), self._take_tombstones(), self._default_touched)
            self._store.clear_touched()
            self._default_touched = False
            return delta

    def restore_touched(self, delta: Delta) -> None:
        """Touch what a drain carried, as if it had not happened; the next drain carries present values."""
        check_delta(self.name, self.dim, delta)
        keys = plain(delta.keys)
        with self._alone:
            rows = self._store.find(keys)
            self._store.touch(rows[rows >= 0])
            self._default_touched |= delta.default is not None
            if len(delta.tombstones):
                self._tombstones.insert(0, delta.tombstones.copy())

    def snapshot(self) -> Delta:
        """All rows as a delta from nothing; changes nothing."""
        with self._alone:
            return self._delta(self._store.live_rows(), _EMPTY, self.admission is not None)

    def _delta(self, rows: NDArray[np.int64], tombstones: NDArray[np.int64], with_default: bool) -> Delta:
        vectors = self._store.gather(rows, self._default)
        default = self.default if with_default else None
        return Delta(self.name, self.dim, self._store.keys_of(rows), vectors, tombstones, default)

    def _take_tombstones(self) -> NDArray[np.int64]:
        gone = distinct(np.concatenate([_EMPTY, *self._tombstones]))
        self._tombstones = []
        return gone[self._store.find(gone) < 0]

    def save(self, path: str | Path, *, tombstones: bool = True) -> None:
        """Write the whole table to a file, versioned and checksummed, atomically and synced to disk, in a few MiB of
        memory. The same table gives the same bytes. Raises OSError, with the file that was there before untouched.

        tombstones: whether keys that left since the last drain are in it; who publishes a snapshot first after a `load`
        needs none.
        """
        with self._alone:
            rest: dict[str, NDArray[Any]] = {
                "default": self._default,
                "default_touched": np.array([self._default_touched], np.uint8),
                "sketch": self._sketch,
                "tombstones": np.concatenate([_EMPTY, *(self._tombstones if tombstones else ())]),
            }
            sections = [file.section(name, array) for name, array in rest.items()]
            file.write(Path(path), self._settings.encode(), self._store.sections() + sections)

    @classmethod
    def load(cls, path: str | Path, *, dim: int | None = None, mapped: bool = False) -> Self:
        """The table in a file; it goes on bit for bit as the one that was saved.

        dim: what the table must have, where given. mapped: rows and index stay in the file, which processes share in
        the system's cache; memory is taken for what is changed or new. The file may be replaced meanwhile, as `save`
        does, but must not be written to in place, and should lie on a local disk. The checksum, which is always
        checked, finds damage and not forgery. Raises FileNotFoundError, TableFileError for a file that is torn, not
        of this kind, or of another dim, and MemoryError.
        """
        path = Path(path)
        try:
            return cls._of(file.read(path, private=mapped), dim, mapped)
        except MemoryError as error:
            advice = "free some" if mapped else "free some, or load it with mapped=True"
            raise MemoryError(f"no memory to load the table in {path}; {advice}") from error
        except file.TableFileError:
            raise
        except ValueError as error:
            raise file.TableFileError(f"{path} holds no table that can be: {error}; use an older one") from error

    @classmethod
    def _of(cls, contents: file.FileContents, dim: int | None, mapped: bool) -> Self:
        settings = TableSettings.decode(contents.settings)
        if dim is not None and settings.dim != dim:
            raise file.TableFileError(
                f"{contents.path} has table {settings.name!r} with dim {settings.dim}, not {dim}; load it with the"
                " settings that it was made with, or begin a new one"
            )
        table = cls(
            settings.dim,
            settings.made_optimizer(),
            settings.made_admission(),
            settings.ttl_ms,
            name=settings.name,
            init_scale=settings.init_scale,
            seed=settings.seed,
            budget_bytes=settings.budget_bytes,
            half_life_ms=settings.half_life_ms,
        )
        table._store.restore(contents, adopt=mapped)
        table._default[:] = contents.array("default", np.float32, len(table._default))
        table._default_touched = bool(contents.array("default_touched", np.uint8, 1)[0])
        table._sketch[:] = contents.array("sketch", np.uint8, *table._sketch.shape)
        table._tombstones = [contents.array("tombstones", np.int64, None).copy()]
        return table

    def check_invariants(self) -> None:
        """Raise AssertionError, naming what is wrong, unless index, rows and counts agree. Slow: for tests."""
        with self._alone:
            check_store(self._store)
