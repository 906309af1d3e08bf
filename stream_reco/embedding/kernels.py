"""Batch kernels over the index and the rows: find, claim, release, gather, scatter.

Shared arguments: head int64[HEAD_SIZE], the scalars named in `index`; index, meta, data int64[pages], page addresses;
layout int64[6] = (page shift, floats a row, dim, hash salt, initialisation salt, ttl); bits uint8[rows / 8], touched;
bounds int64[pages], at most the least last seen of a page's rows. With IS_FULL strangers are declined and counted.
Kernels that need memory stop, say so in head, and are called again from where they stopped: nothing is done twice.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.admission import ADMIT_ALL, is_admitted
from stream_reco.embedding.index import (
    BLOCK,
    DECLINED,
    FREE_ROW,
    IS_FULL,
    LIVE,
    NEED_ROWS,
    ROW_CAPACITY,
    TOP,
    TOUCHED,
    approach,
    erase,
    find,
    hash_of,
    home_of,
    make_place,
    meta_address,
    mix,
    place,
)
from stream_reco.embedding.pages import LINE_BYTES, Pointer, Scalar, bytes_at, floats_at, prefetch, words_at

SHIFT, STRIDE, DIM, SALT, INIT_SALT, TTL = range(6)
FREE = -(1 << 63)
COUNT_MASK = 0xFFFF
# How many rows ahead of the one in hand are asked for.
AHEAD = 12


@njit(cache=True, nogil=True)
def words_of(array: NDArray[np.int64]) -> Pointer:
    """The array's memory; the array must outlive the pointer."""
    return words_at(np.int64(array.ctypes.data))


@njit(cache=True, nogil=True)
def bytes_of(array: NDArray[np.uint8]) -> Pointer:
    """The array's memory; the array must outlive the pointer."""
    return bytes_at(np.int64(array.ctypes.data))


@njit(cache=True, nogil=True)
def row_address(data: Pointer, layout: Pointer, row: int) -> Scalar:
    shift = layout[SHIFT]
    return data[row >> shift] + (row & ((1 << shift) - 1)) * layout[STRIDE] * 4


@njit(cache=True, nogil=True)
def approach_floats(address: int, many: int) -> None:
    """Have the cache lines of so many float32 numbers on their way."""
    for offset in range(0, many * 4, LINE_BYTES):
        prefetch(address + offset)


@njit(cache=True, nogil=True)
def touch(row: int, head: Pointer, bits: Pointer) -> None:
    bit = np.uint8(1 << (row & 7))
    if bits[row >> 3] & bit == 0:
        bits[row >> 3] |= bit
        head[TOUCHED] += 1


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
    hashes, guesses = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    hashed, guessed = words_of(hashes), words_of(guesses)
    for start in range(0, len(keys), BLOCK):
        asked, out = words_at(np.int64(keys.ctypes.data) + start * 8), words_at(np.int64(rows.ctypes.data) + start * 8)
        many = min(BLOCK, len(keys) - start)
        approach(asked, many, salt, heads, indexes, metas, shift, hashed, guessed)
        for i in range(many):
            out[i] = find(asked[i], hashed[i], guessed[i], heads, indexes, metas, shift)
    # Both were read through their addresses; this keeps their memory until here.
    hashes[0] = guesses[0] = 0


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
def meta_words(
    rows: NDArray[np.int64], place: int, meta: NDArray[np.int64], layout: NDArray[np.int64], words: NDArray[np.int64]
) -> None:
    """words[i] = of rows[i] the key that owns it (place 0), or last seen × 65,536 + count (place 1)."""
    metas = words_of(meta)
    for i in range(len(rows)):
        words[i] = words_at(meta_address(metas, layout[SHIFT], rows[i]))[place]


@njit(cache=True, nogil=True)
def start_row(key: int, address: int, layout: Pointer, scale: float, state: float) -> None:
    """Vector uniform in ±scale (float32), a pure function of salt and key; every number of state = `state`.

    Number j is the finalizer of MurmurHash3 over 32 bits of the mixed key and j, the other 32 bits stirred in between:
    in 32 bits a processor hashes twice as many numbers at a time.
    """
    row = floats_at(address)
    dim = layout[DIM]
    mixed = np.uint64(mix(key, layout[INIT_SALT]))
    low, high = np.uint32(mixed), np.uint32(mixed >> np.uint64(32))
    for j in range(dim):
        h = np.uint32(low + np.uint32(j) * np.uint32(0x9E3779B9))
        h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)) ^ high
        h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        bits = np.int32(np.uint32(h ^ (h >> np.uint32(16))) >> np.uint32(8))
        row[j] = (np.float32(bits) * np.float32(2.0**-23) - np.float32(1.0)) * scale
    for j in range(dim, layout[STRIDE]):
        row[j] = state


@njit(cache=True, nogil=True)
def has_row(head: Pointer) -> Scalar:
    """Whether `take_row` has a row to give; if not, NEED_ROWS says how many rows would do."""
    if head[FREE_ROW] >= 0 or head[TOP] < head[ROW_CAPACITY]:
        return True
    head[NEED_ROWS] = head[TOP] + 1
    return False


@njit(cache=True, nogil=True)
def take_row(head: Pointer, meta: Pointer, shift: int) -> Scalar:
    """The row that was freed last, else the next unused one."""
    row = head[FREE_ROW]
    if row >= 0:
        head[FREE_ROW] = words_at(meta_address(meta, shift, row))[0]
    else:
        row = head[TOP]
        head[TOP] += 1
    head[LIVE] += 1
    return row


@njit(cache=True, nogil=True)
def enter(hashed: int, head: Pointer, index: Pointer, meta: Pointer, shift: int) -> Scalar:
    """A row that no key has, entered into the index for a key of that hash."""
    row = take_row(head, meta, shift)
    place((hashed << 32) | (row + 1), home_of(hashed, head), head, index)
    return row


@njit(cache=True, nogil=True)
def claim_rows(
    keys: NDArray[np.int64],
    start: int,
    now: int,
    head: NDArray[np.int64],
    index: NDArray[np.int64],
    meta: NDArray[np.int64],
    data: NDArray[np.int64],
    layout: NDArray[np.int64],
    bits: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    admission: NDArray[np.float64],
    sketch: NDArray[np.uint8],
    starts: NDArray[np.float64],
    scratch: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> int:
    """rows[i] = the row of keys[i], given now if admitted, else -1; returns how far it came before lacking memory."""
    salt, shift = layout[SALT], layout[SHIFT]
    heads, indexes, metas = words_of(head), words_of(index), words_of(meta)
    datas, layouts = words_of(data), words_of(layout)
    spare, oldest, flags, counters = words_of(scratch), words_of(bounds), bytes_of(bits), bytes_of(sketch)
    kind, rate, window = np.int64(admission[0]), admission[1], np.int64(admission[2])
    scale, state, width = np.float32(starts[0]), np.float32(starts[1]), sketch.shape[1]
    hashes, guesses = np.empty(BLOCK, np.int64), np.empty(BLOCK, np.int64)
    mixed, guessed = words_of(hashes), words_of(guesses)
    for block in range(start, len(keys), BLOCK):
        asked, out = words_at(np.int64(keys.ctypes.data) + block * 8), words_at(np.int64(rows.ctypes.data) + block * 8)
        many = min(BLOCK, len(keys) - block)
        approach(asked, many, salt, heads, indexes, metas, shift, mixed, guessed)
        for i in range(many):
            key = asked[i]
            row = find(key, mixed[i], guessed[i], heads, indexes, metas, shift)
            if row >= 0:
                see(words_at(meta_address(metas, shift, row)), now)
            else:
                if not has_row(heads) and heads[IS_FULL]:
                    heads[DECLINED] += 1
                elif not (has_row(heads) and make_place(heads, indexes, spare)):
                    return block + i
                elif kind == ADMIT_ALL or is_admitted(key, now, salt, kind, rate, window, heads, counters, width):
                    row = enter(mixed[i], heads, indexes, metas, shift)
                    start_row(key, row_address(datas, layouts, row), layouts, scale, state)
                    give(key, row, now, heads, metas, shift, oldest, flags)
            out[i] = row
    # Both were read through their addresses; this keeps their memory until here.
    hashes[0] = guesses[0] = 0
    return len(keys)


@njit(cache=True, nogil=True)
def give(
    key: int, row: int, now: int, head: Pointer, meta: Pointer, shift: int, bounds: Pointer, bits: Pointer
) -> None:
    """Say that the row is the key's, seen once, and touched."""
    words = words_at(meta_address(meta, shift, row))
    words[0], words[1] = key, (now << 16) | 1
    bounds[row >> shift] = min(bounds[row >> shift], now)
    touch(row, head, bits)


@njit(cache=True, nogil=True)
def see(words: Pointer, now: int) -> None:
    """Count one sighting of a row that has a key; `words` is its meta."""
    word = words[1]
    words[1] = (max(word >> 16, now) << 16) | min((word & COUNT_MASK) + 1, COUNT_MASK)


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
    flags = bytes_at(np.int64(bits.ctypes.data))
    for i in range(len(rows)):
        release_row(rows[i], words_of(head), words_of(index), words_of(meta), words_of(layout), flags)
