"""Batch kernels over the index and the rows: find, release, gather, scatter; `insert` has the one that gives rows.

Shared arguments: head int64[HEAD_SIZE], the scalars named in `index`; index, meta, data int64[pages], page addresses;
layout int64[6] = (page shift, floats a row, dim, hash salt, initialisation salt, ttl); bits uint8[rows / 8], touched;
bounds int64[pages], at most the least last seen of a page's rows. With IS_FULL new keys are denied a row and counted.
Kernels that need memory stop, say so in head, and are called again from where they stopped: nothing is done twice.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import (
    ABSENT,
    BLOCK,
    BLOCK_WORDS,
    FREE_ROW,
    GUESSES,
    HASHES,
    HOMES,
    LIVE,
    TOUCHED,
    UNSURE,
    approach,
    approach_all,
    erase,
    guess,
    hash_of,
    home_of,
    locate,
    meta_address,
    search,
)
from stream_reco.embedding.kernels.pointers import (
    LINE_BYTES,
    Pointer,
    Scalar,
    bytes_at,
    bytes_of,
    floats_at,
    prefetch,
    words_at,
    words_from,
    words_of,
)

SHIFT, STRIDE, DIM, SALT, INIT_SALT, TTL = range(6)
FREE = -(1 << 63)
COUNT_MASK = 0xFFFF
# How many rows ahead of the one in hand are asked for.
AHEAD = 12


class StoreMemory(NamedTuple):
    """Where a store's arrays lie, as kernels hand them to each other; see the module's shared arguments."""

    head: Pointer
    index_pages: Pointer
    meta: Pointer
    data: Pointer
    layout: Pointer
    bits: Pointer
    bounds: Pointer
    scratch: Pointer
    """int64[head[SCRATCH_SIZE]]: where growth puts entries that move."""


@njit(cache=True, nogil=True)
def memory_of(store: NDArray[np.int64]) -> StoreMemory:
    """The memory at the addresses int64[8] of a store's arrays, in the order of `StoreMemory`.

    One array of addresses, since a named tuple of arrays costs a call from Python 4 µs, which is half of a small batch.
    """
    return StoreMemory(
        words_at(store[0]),
        words_at(store[1]),
        words_at(store[2]),
        words_at(store[3]),
        words_at(store[4]),
        bytes_at(store[5]),
        words_at(store[6]),
        words_at(store[7]),
    )


@njit(cache=True, nogil=True)
def row_address(data: Pointer, layout: Pointer, row: int) -> Scalar:
    shift = layout[SHIFT]
    return data[row >> shift] + (row & ((1 << shift) - 1)) * layout[STRIDE] * 4


@njit(cache=True, nogil=True)
def approach_floats(address: int, many: int) -> None:
    """Prefetch the cache lines of `many` float32 numbers."""
    for offset in range(0, many * 4, LINE_BYTES):
        prefetch(address + offset)


@njit(cache=True, nogil=True)
def touch(row: int, head: Pointer, bits: Pointer) -> None:
    bit = np.uint8(1 << (row & 7))
    if bits[row >> 3] & bit == 0:
        bits[row >> 3] |= bit
        head[TOUCHED] += 1


@njit(cache=True, nogil=True)
def find(key: int, hashed: int, guessed: int, head: Pointer, index: Pointer, meta: Pointer, shift: int) -> Scalar:
    """The key's row, or -1, from what `guess` said of it. Short, so that the compiler puts it into its callers."""
    if guessed >= 0 and words_at(meta_address(meta, shift, guessed))[0] == key:
        return guessed
    if UNSURE < guessed < 0:
        return ABSENT
    return search(key, hashed, head, index, meta, shift)


@njit(cache=True, nogil=True)
def find_rows(
    keys: NDArray[np.int64],
    head: NDArray[np.int64],
    index: NDArray[np.int64],
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> None:
    """rows[i] = the row of keys[i], or -1. Reads only."""
    salt, shift = layout[SALT], layout[SHIFT]
    heads, indexes, metas = words_of(head), words_of(index), words_of(meta)
    # Zeros, since homes beyond the last key are approached too.
    space = np.zeros((2, BLOCK_WORDS), np.int64)
    block, next_block = words_of(space[0]), words_of(space[1])
    many, done = min(BLOCK, len(keys)), 0
    locate(words_of(keys), many, salt, heads, block)
    approach_all(many, indexes, block)
    while done < len(keys):
        asked, out = words_from(keys, done), words_from(rows, done)
        following = min(BLOCK, len(keys) - done - many)
        locate(words_from(keys, done + many), following, salt, heads, next_block)
        guess(many, indexes, metas, shift, block)
        for i in range(many):
            approach(indexes, next_block[HOMES + i])
            out[i] = find(asked[i], block[HASHES + i], block[GUESSES + i], heads, indexes, metas, shift)
        block, next_block = next_block, block
        done, many = done + many, following
    # It was written through its address; this keeps its memory until here.
    space[0, 0] = 0


@njit(cache=True, nogil=True)
def gather(
    rows: NDArray[np.int64],
    data: NDArray[np.int64],
    layout: NDArray[np.int64],
    default: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """out float32[n, dim]: the rows' vectors; `default` for row -1. Reads the rows only."""
    dim = layout[DIM]
    layouts, datas = words_of(layout), words_of(data)
    target = out.ctypes.data
    absent = default.ctypes.data
    for i in range(len(rows)):
        if i + AHEAD < len(rows) and rows[i + AHEAD] >= 0:
            approach_floats(row_address(datas, layouts, rows[i + AHEAD]), dim)
        row = rows[i]
        source = floats_at(row_address(datas, layouts, row) if row >= 0 else np.int64(absent))
        vector = floats_at(np.int64(target) + i * dim * 4)
        for j in range(dim):
            vector[j] = source[j]


@njit(cache=True, nogil=True)
def scatter(
    rows: NDArray[np.int64], data: NDArray[np.int64], layout: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Overwrite the rows' vectors with float32[n, dim]."""
    datas, layouts = words_of(data), words_of(layout)
    for i in range(len(rows)):
        target = floats_at(row_address(datas, layouts, rows[i]))
        for j in range(layout[DIM]):
            target[j] = vectors[i, j]


@njit(cache=True, nogil=True)
def blank(rows: NDArray[np.int64], data: NDArray[np.int64], layout: NDArray[np.int64]) -> None:
    """Overwrite the rows' vectors and optimizer state with zeros."""
    datas, layouts = words_of(data), words_of(layout)
    for i in range(len(rows)):
        target = floats_at(row_address(datas, layouts, rows[i]))
        for j in range(layout[STRIDE]):
            target[j] = 0.0


@njit(cache=True, nogil=True)
def meta_words(
    rows: NDArray[np.int64], place: int, meta: NDArray[np.int64], layout: NDArray[np.int64], words: NDArray[np.int64]
) -> None:
    """words[i] = of rows[i] the key that owns it (place 0), or last seen × 65,536 + count (place 1)."""
    metas = words_of(meta)
    for i in range(len(rows)):
        words[i] = words_at(meta_address(metas, layout[SHIFT], rows[i]))[place]


@njit(cache=True, nogil=True)
def release_row(
    row: int,
    head: Pointer,
    index: Pointer,
    meta: Pointer,
    layout: Pointer,
    bits: Pointer,
) -> None:
    """Take a row from its key and put it on the free list."""
    words = words_at(meta_address(meta, layout[SHIFT], row))
    hashed = hash_of(words[0], layout[SALT])
    erase((hashed << 32) | (row + 1), home_of(hashed, head), index)
    words[0], words[1] = head[FREE_ROW], FREE
    head[FREE_ROW] = row
    head[LIVE] -= 1
    bit = np.uint8(1 << (row & 7))
    if bits[row >> 3] & bit != 0:
        bits[row >> 3] ^= bit
        head[TOUCHED] -= 1


@njit(cache=True, nogil=True)
def release_rows(
    rows: NDArray[np.int64],
    head: NDArray[np.int64],
    index: NDArray[np.int64],
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    bits: NDArray[np.uint8],
) -> None:
    """Release every row of `rows`, each live and named once."""
    flags = bytes_of(bits)
    for i in range(len(rows)):
        release_row(rows[i], words_of(head), words_of(index), words_of(meta), words_of(layout), flags)
