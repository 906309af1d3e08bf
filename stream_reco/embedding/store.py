"""The typed shell around the kernels: memory for index and rows, and the loop that feeds kernels more of it."""

from typing import Self, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream_reco.embedding import index as scalars
from stream_reco.embedding import kernels, updates
from stream_reco.embedding.pages import LINE_BYTES, Pages

PAGE_BYTES = 1 << 18
META_BYTES = 16
LAST_ROW = (1 << 32) - 2
Number = TypeVar("Number", np.int64, np.float32)
NEVER = (1 << 62) - 1


def plain(array: NDArray[Number]) -> NDArray[Number]:
    """The array as kernels were compiled for it: contiguous, aligned, writeable; a copy only where it is not."""
    return np.require(array, requirements=["C", "A", "W"])


def salt_of(text: str) -> int:
    """A 64-bit salt, signed, that depends on all of the text."""
    salt = xxhash.xxh3_64_intdigest(text.encode())
    return salt - (1 << 64) if salt >= 1 << 63 else salt


class RowStore:
    """Rows of `dim` vector and `state` optimizer numbers (float32), found by int64 key. No policy lives here."""

    def __init__(self, dim: int, state: int, salt: int, init_salt: int, ttl: int) -> None:
        stride = dim + state
        shift = max(4, (PAGE_BYTES // (4 * stride)).bit_length() - 1)
        self.layout = np.array([shift, stride, dim, salt, init_salt, ttl], np.int64)
        self.head = np.zeros(scalars.HEAD_SIZE, np.int64)
        self.index = Pages(LINE_BYTES, scalars.LINE_SHIFT)
        self.meta = Pages(META_BYTES, shift)
        self.data = Pages(4 * stride, shift)
        self.bits = np.zeros(0, np.uint8)
        self._scratch = np.zeros(512, np.int64)
        self.index.grow_to(1)
        self.head[scalars.NEW_LINES] = scalars.MIN_LINES
        self.head[scalars.LINE_CAPACITY] = self.index.capacity
        self.head[scalars.SCRATCH_SIZE] = len(self._scratch)
        self.head[scalars.FREE_ROW] = -1
        self.head[scalars.OLDEST] = NEVER

    @property
    def live(self) -> int:
        return int(self.head[scalars.LIVE])

    @property
    def top(self) -> int:
        """One above the highest row number ever given."""
        return int(self.head[scalars.TOP])

    @property
    def nbytes(self) -> int:
        pages = self.index.nbytes + self.meta.nbytes + self.data.nbytes
        return pages + self.bits.nbytes + self.head.nbytes + self.layout.nbytes + self._scratch.nbytes

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.empty(len(keys), np.int64)
        kernels.find_rows(keys, self.head, self.index.addresses, self.meta.addresses, self.layout, rows)
        return rows

    def claim(
        self,
        keys: NDArray[np.int64],
        now: int,
        admission: NDArray[np.float64],
        sketch: NDArray[np.uint8],
        starts: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """Rows of the keys, new ones given as `admission` allows; -1 where it does not. See kernels.claim_rows."""
        rows = np.empty(len(keys), np.int64)
        done = 0
        while True:
            done = kernels.claim_rows(
                keys, done, now, self.head, self.index.addresses, self.meta.addresses, self.data.addresses,
                self.layout, self.bits, admission, sketch, starts, self._scratch, rows,
            )  # fmt: skip
            if done == len(keys):
                return rows
            self._make_room()

    def _make_room(self) -> None:
        lines, rows = int(self.head[scalars.NEED_LINES]), int(self.head[scalars.NEED_ROWS])
        if rows > LAST_ROW:
            raise MemoryError(f"a table holds at most {LAST_ROW} rows; evict rows or split the feature")
        scratch = int(self.head[scalars.NEED_SCRATCH])
        if scratch > len(self._scratch):
            self._scratch = np.zeros(2 * scratch, np.int64)
            self.head[scalars.SCRATCH_SIZE] = len(self._scratch)
        self.index.grow_to(lines)
        self.head[scalars.LINE_CAPACITY] = self.index.capacity
        self._grow_rows(rows)

    def _grow_rows(self, rows: int) -> None:
        # Data first, and the capacity last: a MemoryError in between leaves only unused memory behind.
        self.data.grow_to(rows)
        self.meta.grow_to(self.data.capacity)
        capacity = min(self.data.capacity, self.meta.capacity)
        if capacity > 8 * len(self.bits):
            wider = np.zeros(-(-capacity // 8), np.uint8)
            wider[: len(self.bits)] = self.bits
            self.bits = wider
        self.head[scalars.ROW_CAPACITY] = capacity

    def gather(self, rows: NDArray[np.int64], default: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty((len(rows), int(self.layout[kernels.DIM])), np.float32)
        kernels.gather(rows, self.data.addresses, self.layout, default, out)
        return out

    def scatter(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        kernels.scatter(rows, self.data.addresses, self.layout, vectors)

    def keys_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = np.empty(len(rows), np.int64)
        kernels.keys_of(rows, self.meta.addresses, self.layout, keys)
        return keys

    def update(
        self,
        rows: NDArray[np.int64],
        gradients: NDArray[np.float32],
        shared: NDArray[np.float32] | None,
        kind: int,
        hyper: NDArray[np.float64],
    ) -> bool:
        """One optimizer step a row; True if the shared row was stepped. See updates.update_rows."""
        address = 0 if shared is None else shared.ctypes.data
        return bool(
            updates.update_rows(
                rows, gradients, address, kind, self.head, self.data.addresses, self.layout, self.bits, hyper
            )
        )

    def release(self, rows: NDArray[np.int64]) -> None:
        kernels.release_rows(rows, self.head, self.index.addresses, self.meta.addresses, self.layout, self.bits)

    def idle(self, now: int, limit: int) -> NDArray[np.int64]:
        """At most `limit` rows that are past their TTL, from where the last call stopped, round the table once."""
        if limit == 0 or now - int(self.head[scalars.OLDEST]) <= int(self.layout[kernels.TTL]):
            return np.empty(0, np.int64)
        oldest = np.array([NEVER])
        found: list[NDArray[np.int64]] = []
        cursor = int(self.head[scalars.CURSOR])
        for start, stop in ((cursor, self.top), (0, cursor)):
            at = start
            while at < stop and limit > 0:
                rows = np.empty(min(limit, 1 << 16), np.int64)
                count, at = kernels.idle_rows(now, at, stop, self.meta.addresses, self.layout, rows, oldest)
                found.append(rows[:count])
                limit -= count
            if limit == 0:
                self.head[scalars.CURSOR] = at
                return np.concatenate(found)
        self.head[scalars.CURSOR] = 0
        self.head[scalars.OLDEST] = oldest[0]
        return np.concatenate(found) if found else np.empty(0, np.int64)

    def touched_rows(self) -> NDArray[np.int64]:
        """Touched rows in ascending order."""
        full = np.flatnonzero(self.bits)
        places = np.flatnonzero(np.unpackbits(self.bits[full], bitorder="little"))
        rows: NDArray[np.int64] = full[places >> 3] * 8 + (places & 7)
        return rows

    def live_rows(self) -> NDArray[np.int64]:
        """Rows that have a key, in ascending order."""
        words = self.meta.read(self.top).view(np.int64).reshape(-1, 2)
        return np.flatnonzero(words[:, 1] != kernels.FREE)

    def clear_touched(self) -> None:
        self.bits[:] = 0
        self.head[scalars.TOUCHED] = 0

    def touch(self, rows: NDArray[np.int64]) -> None:
        np.bitwise_or.at(self.bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))
        self.head[scalars.TOUCHED] = len(self.touched_rows())

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything, as flat arrays; see `restored`."""
        lines = int(self.head[scalars.LAST_LINE]) + 1
        return {
            "head": self.head.copy(),
            "layout": self.layout.copy(),
            "index": self.index.read(lines).view(np.int64),
            "meta": self.meta.read(self.top).view(np.int64),
            "data": self.data.read(self.top).view(np.float32),
            "bits": self.bits[: -(-self.top // 8)].copy(),
        }

    @classmethod
    def restored(cls, parts: dict[str, NDArray[np.generic]]) -> Self:
        """The store that `state` was taken of: same rows, same free list, same index."""
        layout = np.asarray(parts["layout"], np.int64)
        _, stride, dim, salt, init_salt, ttl = (int(value) for value in layout)
        store = cls(dim, stride - dim, salt, init_salt, ttl)
        head = np.asarray(parts["head"], np.int64).copy()
        store.index.write(np.ascontiguousarray(parts["index"]).view(np.uint8))
        store.index.grow_to(int(head[scalars.NEW_LINES]) + scalars.SPARE_LINES)
        store.head = head
        head[scalars.LINE_CAPACITY] = store.index.capacity
        head[scalars.SCRATCH_SIZE] = len(store._scratch)
        store._grow_rows(int(head[scalars.TOP]))
        store.meta.write(np.ascontiguousarray(parts["meta"]).view(np.uint8))
        store.data.write(np.ascontiguousarray(parts["data"]).view(np.uint8))
        bits = np.asarray(parts["bits"], np.uint8)
        store.bits[: len(bits)] = bits
        return store
