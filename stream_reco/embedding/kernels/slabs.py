"""Memory that grows by appending slabs, so that what is in it never moves."""

import mmap
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import NoReturn, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding.kernels.pointers import LINE_BYTES

HUGE_BYTES = 2 << 20
LARGEST_SLAB = 64 << 20
# What has come to so much grows by slabs of huge pages.
LARGE_BYTES = 8 * HUGE_BYTES


def allocate(size: int) -> NDArray[np.uint8]:
    """uint8[size] of zeros, as many whole huge pages of it as there are where the system has them: rows lie at random
    places of gigabytes, and with small pages each lookup would wait for the page table too.
    """
    if size < HUGE_BYTES or sys.platform != "linux":
        raw = np.zeros(allocated(size), np.uint8)
        start = -raw.ctypes.data % LINE_BYTES
    else:
        # The mapping is longer so that a boundary of huge pages lies in it; what is never touched takes no memory.
        mapping = mmap.mmap(-1, allocated(size) + HUGE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        raw = np.frombuffer(mapping, np.uint8)
        start = -raw.ctypes.data % HUGE_BYTES
        with suppress(OSError):  # a kernel without huge pages
            mapping.madvise(mmap.MADV_HUGEPAGE, start, size - size % HUGE_BYTES)
    return raw[start : start + size]


def allocated(size: int) -> int:
    """Bytes of memory that `allocate(size)` takes once all of it is used."""
    return size + LINE_BYTES


def slab_pages(existing: int, page_bytes: int) -> int:
    """Pages of the next slab, given how many exist."""
    if existing * page_bytes < LARGE_BYTES:
        return max(1, existing // 8)
    size = min(max(existing * page_bytes // 256, HUGE_BYTES), LARGEST_SLAB)
    return max(1, (size - size % HUGE_BYTES) // page_bytes)


def slabs_until(wanted: int, existing: int, page_bytes: int) -> Iterator[int]:
    """How many pages each slab has on the way from those that exist to as many as are wanted, or a few more.

    Where slabs begin and end depends on nothing but how many pages precede them, so that a table that was loaded has no
    more memory than the one that was saved. Those that are wanted together are joined: a longer slab has more of its
    memory on huge pages.
    """
    joined = 0
    while existing + joined < wanted:
        pages = slab_pages(existing + joined, page_bytes)
        if joined and (joined + pages) * page_bytes > LARGEST_SLAB:
            yield joined
            existing, joined = existing + joined, 0
        joined += pages
    if joined:
        yield joined


class AtAddresses:
    """What knows where its memory lies: copies of it, and pickles, would write to the memory of the original."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} cannot be copied or pickled, as its rows lie at addresses of this process: save and"
            " load an EmbeddingTable, or apply the snapshot of one to another ReplicaTable"
        )


class Pages(AtAddresses):
    """Items of `item_bytes` in pages of 2**shift items; item i lies at addresses[i >> shift] + (i & mask) × item_bytes.

    Several pages share one slab (one allocation). A slab is an eighth of what exists up to 16 MiB, then one huge page,
    then a 256th of gigabytes, so that small tables stay small and big ones waste little; 64-byte alignment keeps an
    item of one line on one line.
    """

    def __init__(self, item_bytes: int, shift: int) -> None:
        self.item_bytes = item_bytes
        self.shift = shift
        self.count = 0
        self.addresses: NDArray[np.int64] = np.zeros(16, np.int64)
        self._slabs: list[NDArray[np.uint8]] = []
        self._bytes = 0

    @property
    def page_bytes(self) -> int:
        return self.item_bytes << self.shift

    @property
    def capacity(self) -> int:
        """How many items fit without another slab."""
        return self.count << self.shift

    @property
    def nbytes(self) -> int:
        """All bytes of its slabs, those that lie in a mapped file included."""
        return self.addresses.nbytes + self._bytes

    def grow_to(self, items: int) -> None:
        """Append slabs until `items` fit. Raises MemoryError with everything as it was."""
        for pages in slabs_until(-(-items >> self.shift), self.count, self.page_bytes):
            self._append_slab(pages)

    def _append_slab(self, pages: int) -> None:
        size = pages * self.page_bytes
        try:
            self._append(allocate(size), allocated(size))
        except (MemoryError, OSError) as error:
            text = f"no memory for {size} more bytes of an embedding table; evict rows or set a shorter ttl_ms"
            raise MemoryError(text) from error

    def _append(self, slab: NDArray[np.uint8], size: int) -> None:
        """Take a slab of whole pages, which counts as `size` bytes. The count rises last, when nothing can fail."""
        count = self.count + len(slab) // self.page_bytes
        if count > len(self.addresses):
            wider = np.zeros(1 << (count - 1).bit_length(), np.int64)
            wider[: self.count] = self.addresses[: self.count]
            self.addresses = wider
        places = np.arange(slab.ctypes.data, slab.ctypes.data + len(slab), self.page_bytes)
        self._slabs.append(slab)
        self.addresses[self.count : count] = places
        self._bytes += size
        self.count = count

    def pieces(self, items: int) -> Iterator[NDArray[np.uint8]]:
        """The memory of the first `items` items, one slab after another, not copied."""
        left = items * self.item_bytes
        for slab in self._slabs:
            yield slab[: max(0, left)]
            left -= len(slab)

    def read(self, items: int) -> NDArray[np.uint8]:
        """A copy of the first `items` items as uint8[items × item_bytes]."""
        out = np.empty(items * self.item_bytes, np.uint8)
        done = 0
        for piece in self.pieces(items):
            out[done : done + len(piece)] = piece
            done += len(piece)
        return out

    def fill(self, content: NDArray[np.uint8], *, adopt: bool = False) -> None:
        """Put the items of `content` into what is still empty. With `adopt` its whole slabs stay where they lie, are
        written to, and live as long as this does; only the last items are copied.
        """
        assert self.count == 0
        done = self._whole_slabs(len(content)) if adopt else 0
        if done:
            self._append(content[:done], done)
        at = len(self._slabs)
        self.grow_to(len(content) // self.item_bytes)
        for slab in self._slabs[at:]:
            size = min(len(slab), len(content) - done)
            slab[:size] = content[done : done + size]
            done += size

    def _whole_slabs(self, size: int) -> int:
        """Bytes of the slabs, from the first one on, that this many bytes fill."""
        pages = 0
        while (more := pages + slab_pages(pages, self.page_bytes)) * self.page_bytes <= size:
            pages = more
        return pages * self.page_bytes
