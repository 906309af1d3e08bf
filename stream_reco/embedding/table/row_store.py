"""The typed shell around the kernels: memory for index and rows, and the loop that feeds kernels more of it."""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream_reco.embedding.kernels import index as scalars
from stream_reco.embedding.kernels import insert, optimizer_step
from stream_reco.embedding.kernels import rows as row_kernels
from stream_reco.embedding.kernels.admission import ADMIT_ALL
from stream_reco.embedding.kernels.insert import NewRowPolicy
from stream_reco.embedding.kernels.pointers import LINE_BYTES
from stream_reco.embedding.kernels.slabs import AtAddresses, Pages
from stream_reco.embedding.table.file import FileContents, Section, section

PAGE_BYTES = 1 << 18
META_BYTES = 1 << scalars.META_SHIFT
LAST_ROW = (1 << 32) - 2
Number = TypeVar("Number", np.int64, np.float32)
Narrow = TypeVar("Narrow", np.int64, np.uint8)
NEVER = (1 << 62) - 1
_SCRATCH = 1024
_LARGE_BATCH, _SAMPLE = 4096, 4096
_NEEDS = [scalars.NEED_ROWS, scalars.NEED_LINES, scalars.NEED_SCRATCH]
_OF_THIS_PROCESS = [scalars.LINE_CAPACITY, scalars.ROW_CAPACITY, scalars.SCRATCH_SIZE, *_NEEDS]
"""Places in `head` that say how much memory there is, or was asked for."""


def plain(array: NDArray[Number]) -> NDArray[Number]:
    """The array as kernels were compiled for it: contiguous, aligned, writeable; a copy only where it is not."""
    # NumPy's own check takes several times longer than a small lookup does otherwise.
    if type(array) is np.ndarray and array.flags.carray:
        return array
    return np.require(array, requirements=["C", "A", "W"])


def distinct(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64[m]: the numbers in order, each once. Sorting is several times quicker than the hashing of np.unique."""
    ordered = np.sort(numbers)
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]]) if len(ordered) else np.zeros(0, np.bool_)
    kept: NDArray[np.int64] = ordered[first]
    return kept


def salt_of(text: str) -> int:
    """A 64-bit salt, signed, that depends on all of the text."""
    salt = xxhash.xxh3_64_intdigest(text.encode())
    return salt - (1 << 64) if salt >= 1 << 63 else salt


class RowStore(AtAddresses):
    """Rows of `dim` vector and `state` optimizer numbers (float32), found by int64 key. No policy lives here."""

    def __init__(self, dim: int, state: int, salt: int, init_salt: int, ttl: int) -> None:
        stride = dim + state
        shift = max(4, (PAGE_BYTES // max(4 * stride, META_BYTES)).bit_length() - 1)
        self.layout = np.array([shift, stride, dim, salt, init_salt, ttl], np.int64)
        self.head = np.zeros(scalars.HEAD_SIZE, np.int64)
        self.index = Pages(LINE_BYTES, scalars.LINE_SHIFT)
        self.meta = Pages(META_BYTES, shift)
        self.data = Pages(4 * stride, shift)
        self.bits = np.zeros(0, np.uint8)
        self.bounds = np.zeros(0, np.int64)
        """int64[pages]: at most the least last seen of each page's rows."""
        self.refreshed = 0
        """The page whose bound is to be refreshed next."""
        self.row_limit = LAST_ROW
        self._scratch = np.zeros(_SCRATCH, np.int64)
        self.index.grow_to(1)
        self.head[scalars.NEW_LINES] = scalars.MIN_LINES
        self.head[scalars.LAST_LINE] = scalars.MIN_LINES - 1
        self.head[scalars.LINE_CAPACITY] = self.index.capacity
        self.head[scalars.SCRATCH_SIZE] = len(self._scratch)
        self.head[scalars.FREE_ROW] = -1
        self._locate_memory()

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
        beside = self.bits.nbytes + self.bounds.nbytes + self._scratch.nbytes
        return pages + beside + self.head.nbytes + self.layout.nbytes

    def find(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        rows = np.empty(len(keys), np.int64)
        row_kernels.find_rows(keys, self.head, self.index.addresses, self.meta.addresses, self.layout, rows)
        return rows

    def claim(
        self,
        keys: NDArray[np.int64],
        now: int,
        policy: NewRowPolicy,
        make_way: Callable[[NDArray[np.int64], NDArray[np.int64]], bool] | None = None,
    ) -> NDArray[np.int64]:
        """Rows of the keys, new ones given as `policy` allows; -1 where it does not. See `insert.claim_rows`.

        Where `row_limit` is reached, `make_way` is called with the rows given and the keys that wait; it releases
        others, or returns False, and then the new ones among the keys are denied a row.
        """
        rows = np.empty(len(keys), np.int64)
        done, before = 0, self.live
        if policy.numbers[0] == ADMIT_ALL:
            self.head[scalars.EXPECTED] = self._expected(keys)
        try:
            while True:
                self.head[_NEEDS] = 0
                done = insert.claim_rows(keys, done, now, self._memory, policy.numbers, policy.sketch, rows)
                if done == len(keys):
                    return rows
                if not self._is_full:
                    given = self.live - before
                    self._make_room(self.live + given * (len(keys) - done) // max(done, 1))
                elif make_way is None or not make_way(rows[:done], keys[done:]):
                    self.head[scalars.IS_FULL] = 1
        finally:
            self.head[scalars.IS_FULL] = self.head[scalars.EXPECTED] = 0

    def _locate_memory(self) -> None:
        """Tell kernels where the arrays lie: after whatever replaces one of them, whether it succeeded or not."""
        arrays = (
            self.head,
            self.index.addresses,
            self.meta.addresses,
            self.data.addresses,
            self.layout,
            self.bits,
            self.bounds,
            self._scratch,
        )
        # What has an address here stays alive here.
        self._located = arrays
        self._memory = np.array([array.ctypes.data for array in arrays], np.int64)

    def _expected(self, keys: NDArray[np.int64]) -> int:
        """About how many rows there will be, where a batch is large beside the table: growth then goes there at once,
        and takes no more for keys that turn out to repeat than the batch itself takes; else 0.

        Distinct keys among n are about n^β for some β ≤ 1 (Heaps 1978, section 7.5), which a sample and a quarter of it
        tell.
        """
        if len(keys) < _LARGE_BATCH or len(keys) < self.live // 8:
            return 0
        sample = plain(keys[:: len(keys) // min(_SAMPLE, len(keys) // 64)])
        new = np.where(self.find(sample) < 0, sample, sample[0])
        part = new[::4]
        many, fewer = len(distinct(new)), len(distinct(part))
        exponent = min(math.log(many / fewer) / math.log(len(new) / len(part)), 1.0)
        return min(self.live + int(many * (len(keys) / len(new)) ** exponent), self.row_limit)

    @property
    def _is_full(self) -> bool:
        no_row = self.head[scalars.FREE_ROW] < 0 and self.top >= self.head[scalars.ROW_CAPACITY]
        return bool(no_row and self.top >= self.row_limit < LAST_ROW)

    def _make_room(self, ahead: int) -> None:
        """Memory for what the kernel asked for; of a large batch at once for all the rows that it seems to bring, but
        for no more than there are: later keys may repeat earlier ones.
        """
        lines, rows = int(self.head[scalars.NEED_LINES]), int(self.head[scalars.NEED_ROWS])
        if rows > LAST_ROW:
            raise MemoryError(f"a table holds at most {LAST_ROW} rows; evict rows or split the feature")
        scratch = int(self.head[scalars.NEED_SCRATCH])
        if scratch > len(self._scratch):
            self._scratch = np.zeros(2 * scratch, np.int64)
            self.head[scalars.SCRATCH_SIZE] = len(self._scratch)
        if self.head[scalars.EXPECTED]:
            rows = max(rows, min(ahead, 2 * self.top, self.row_limit))
        try:
            self.index.grow_to(lines)
            self.head[scalars.LINE_CAPACITY] = self.index.capacity
            self._grow_rows(rows)
        finally:
            self._locate_memory()

    def _grow_rows(self, rows: int) -> None:
        # Data first, and the capacity last: a MemoryError in between leaves only unused memory behind.
        self.data.grow_to(rows)
        self.meta.grow_to(self.data.capacity)
        capacity = min(self.data.capacity, self.meta.capacity)
        self.bits = _widened(self.bits, -(-capacity // 8), 0)
        self.bounds = _widened(self.bounds, self.meta.count, NEVER)
        self.head[scalars.ROW_CAPACITY] = capacity

    def gather(self, rows: NDArray[np.int64], default: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.empty((len(rows), int(self.layout[row_kernels.DIM])), np.float32)
        row_kernels.gather(rows, self.data.addresses, self.layout, default, out)
        return out

    def scatter(self, rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        row_kernels.scatter(rows, self.data.addresses, self.layout, vectors)

    def blank(self, rows: NDArray[np.int64]) -> None:
        """Overwrite the rows' vectors and optimizer state with zeros."""
        row_kernels.blank(rows, self.data.addresses, self.layout)

    def keys_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        keys = np.empty(len(rows), np.int64)
        row_kernels.meta_words(rows, 0, self.meta.addresses, self.layout, keys)
        return keys

    def words_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[n]: last seen × 65,536 + count of each row, FREE of one without a key."""
        words = np.empty(len(rows), np.int64)
        row_kernels.meta_words(rows, 1, self.meta.addresses, self.layout, words)
        return words

    def turn_back(self, now: int) -> int:
        """Rows last seen after `now` were seen then; how many they were."""
        count = 0
        for piece in self.meta.pieces(self.top):
            words = piece.view(np.int64).reshape(-1, META_BYTES // 8)[:, 1]
            later = np.flatnonzero((words != row_kernels.FREE) & (words >> 16 > now))
            words[later] = now << 16 | words[later] & row_kernels.COUNT_MASK
            count += len(later)
        np.minimum(self.bounds, now, out=self.bounds)
        return count

    def update(
        self,
        rows: NDArray[np.int64],
        gradients: NDArray[np.float32],
        shared: NDArray[np.float32] | None,
        kind: int,
        hyper: NDArray[np.float64],
    ) -> bool:
        """One optimizer step a row; True if the shared row was stepped. See `optimizer_step.update_rows`."""
        address = 0 if shared is None else shared.ctypes.data
        return bool(optimizer_step.update_rows(rows, gradients, address, kind, hyper, self._memory))

    def release(self, rows: NDArray[np.int64]) -> None:
        row_kernels.release_rows(rows, self.head, self.index.addresses, self.meta.addresses, self.layout, self.bits)

    def touched_rows(self) -> NDArray[np.int64]:
        """Touched rows in ascending order."""
        full = np.flatnonzero(self.bits)
        places = np.flatnonzero(np.unpackbits(self.bits[full], bitorder="little"))
        rows: NDArray[np.int64] = full[places >> 3] * 8 + (places & 7)
        return rows

    def live_rows(self) -> NDArray[np.int64]:
        """Rows that have a key, in ascending order."""
        words = self.meta.read(self.top).view(np.int64).reshape(-1, 2)
        return np.flatnonzero(words[:, 1] != row_kernels.FREE)

    def clear_touched(self) -> None:
        self.bits[:] = 0
        self.head[scalars.TOUCHED] = 0

    def touch(self, rows: NDArray[np.int64]) -> None:
        np.bitwise_or.at(self.bits, rows >> 3, np.left_shift(1, rows & 7).astype(np.uint8))
        self.head[scalars.TOUCHED] = len(self.touched_rows())

    def sections(self) -> list[Section]:
        """Everything, for a file; index, meta and data as they lie in memory, not copied. See `restore`."""
        lines = int(self.head[scalars.LAST_LINE]) + 1
        head = self.head.copy()
        head[_OF_THIS_PROCESS] = 0
        rows, words = (self.top, int(self.layout[row_kernels.STRIDE])), (self.top, META_BYTES // 8)
        return [
            Section("index", np.dtype(np.uint8), (lines, self.index.item_bytes), self.index.pieces(lines)),
            Section("meta", np.dtype(np.int64), words, self.meta.pieces(self.top)),
            Section("data", np.dtype(np.float32), rows, self.data.pieces(self.top)),
            section("head", head),
            section("bits", self.bits[: -(-self.top // 8)]),
        ]

    def restore(self, contents: FileContents, *, adopt: bool) -> None:
        """Become the store of which `sections` were taken: same rows, same free list, same index; before anything else.

        With `adopt` the whole pages of index, meta and data stay in the memory of `contents`. Raises ValueError for
        what does not fit, MemoryError.
        """
        head = contents.array("head", np.int64, scalars.HEAD_SIZE).copy()
        _check_head(head)
        lines, top = int(head[scalars.LAST_LINE]) + 1, int(head[scalars.TOP])
        index = contents.array("index", np.uint8, lines, self.index.item_bytes)
        meta = contents.array("meta", np.int64, top, META_BYTES // 8)
        data = contents.array("data", np.float32, top, int(self.layout[row_kernels.STRIDE]))
        bits = contents.array("bits", np.uint8, -(-top // 8))
        self.index = Pages(LINE_BYTES, scalars.LINE_SHIFT)
        for pages, content in ((self.index, index), (self.meta, meta), (self.data, data)):
            pages.fill(content.reshape(-1).view(np.uint8), adopt=adopt)
        self.index.grow_to(int(head[scalars.NEW_LINES]) + 2 * scalars.SPARE_LINES)
        self.head = head
        # Files of earlier releases end with the last line that was used.
        head[scalars.LAST_LINE] = max(head[scalars.LAST_LINE], head[scalars.NEW_LINES] - 1)
        head[scalars.LINE_CAPACITY] = self.index.capacity
        head[scalars.SCRATCH_SIZE] = len(self._scratch)
        self._grow_rows(top)
        self.bits[: len(bits)] = bits
        # Not known without a look at all rows: each page gets one when it is its turn.
        self.bounds[:] = -NEVER
        self._locate_memory()


def _widened(array: NDArray[Narrow], size: int, filler: int) -> NDArray[Narrow]:
    """The array, longer by an eighth and at least of that size, if it is shorter."""
    if size <= len(array):
        return array
    wider = np.full(max(size, len(array) * 9 // 8), filler, array.dtype)
    wider[: len(array)] = array
    return wider


def bytes_beside_pages(rows: int, pages: int) -> int:
    """At most how many bytes a store of so many rows, in pages of meta, keeps beside index, meta and data.

    A run of the index that overflows far needs a longer scratch, here of four times what it begins with.
    """
    widened = -(-rows // 8) + 8 * pages
    return widened * 9 // 8 + 8 * (scalars.HEAD_SIZE + 4 * _SCRATCH + 8)


def _check_head(head: NDArray[np.int64]) -> None:
    """Raise ValueError where the scalars of a file are none that a store can have."""
    top, live, last = int(head[scalars.TOP]), int(head[scalars.LIVE]), int(head[scalars.LAST_LINE])
    old, new, frontier = (int(head[at]) for at in (scalars.OLD_LINES, scalars.NEW_LINES, scalars.FRONTIER))
    ranges = [
        ("rows", top, 0, LAST_ROW + 1),
        ("rows with a key", live, 0, top),
        ("first free row", int(head[scalars.FREE_ROW]), -1 if live == top else 0, -1 if live == top else top - 1),
        ("row to go on evicting at", int(head[scalars.CURSOR]), 0, top),
        ("row to go on making way at", int(head[scalars.HAND]), 0, top),
        ("touched rows", int(head[scalars.TOUCHED]), 0, live),
        ("last line of the index", last, 0, LAST_ROW),
        # A large batch of keys that repeat leaves a long index, whose lines are all in the file.
        ("lines of the index", new, scalars.MIN_LINES, max(last + 1, scalars.MIN_LINES + 2 * top)),
        ("hash up to which the index is old", frontier, 0, scalars.WHOLE),
        ("old lines of the index", old, 1 if frontier else 0, new),
        ("sightings", int(head[scalars.SIGHTINGS]), 0, 1 << 62),
    ]
    for name, value, low, high in ranges:
        if not low <= value <= high:
            raise ValueError(f"{name}: {value}, must be {low} to {high}")
