"""Batch kernels over the index and the rows: find, claim, release, gather, scatter.

Shared arguments: head int64[HEAD_SIZE], the scalars named in `index`; index, meta, data int64[pages], page addresses;
layout int64[6] = (page shift, floats a row, dim, hash salt, initialisation salt, ttl); bits uint8[rows / 8], touched.
Kernels that need memory stop, say so in head, and are called again from where they stopped: nothing is done twice.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.index import (
    BLOCK,
    FREE_ROW,
    LIVE,
    NEED_ROWS,
    OLDEST,
    ROW_CAPACITY,
    SIGHTINGS,
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
from stream_reco.embedding.pages import LINE_BYTES, Scalar, floats_at, prefetch, words_at

SHIFT, STRIDE, DIM, SALT, INIT_SALT, TTL = range(6)
ADMIT_ALL, ADMIT_AFTER, ADMIT_PROBABILITY = range(3)
FREE = -(1 << 63)
COUNT_MASK = 0xFFFF
# How many rows ahead of the one in hand are asked for.
AHEAD = 12
GOLDEN = -7046029254386353131


@njit(cache=True, nogil=True)
def row_address(data: NDArray[np.int64], layout: NDArray[np.int64], row: int) -> Scalar:
    shift = layout[SHIFT]
    return data[row >> shift] + (row & ((1 << shift) - 1)) * layout[STRIDE] * 4


@njit(cache=True, nogil=True)
def touch(row: int, head: NDArray[np.int64], bits: NDArray[np.uint8]) -> None:
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
    for i in range(len(keys)):
        if i % BLOCK == 0:
            approach(keys, i, min(i + BLOCK, len(keys)), salt, head, index, meta, shift)
        rows[i] = find(keys[i], hash_of(keys[i], salt), head, index, meta, shift)


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
    target = out.ctypes.data
    absent = default.ctypes.data
    for i in range(len(rows)):
        if i + AHEAD < len(rows) and rows[i + AHEAD] >= 0:
            soon = row_address(data, layout, rows[i + AHEAD])
            for offset in range(0, dim * 4, LINE_BYTES):
                prefetch(soon + offset)
        row = rows[i]
        source = floats_at(row_address(data, layout, row) if row >= 0 else np.int64(absent))
        vector = floats_at(np.int64(target) + i * dim * 4)
        for j in range(dim):
            vector[j] = source[j]


@njit(cache=True, nogil=True)
def scatter(
    rows: NDArray[np.int64], data: NDArray[np.int64], layout: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Overwrite the rows' vectors with float32[n, dim]."""
    for i in range(len(rows)):
        target = floats_at(row_address(data, layout, rows[i]))
        for j in range(layout[DIM]):
            target[j] = vectors[i, j]


@njit(cache=True, nogil=True)
def keys_of(
    rows: NDArray[np.int64], meta: NDArray[np.int64], layout: NDArray[np.int64], keys: NDArray[np.int64]
) -> None:
    """keys[i] = the key that owns rows[i]."""
    for i in range(len(rows)):
        keys[i] = words_at(meta_address(meta, layout[SHIFT], rows[i]))[0]


@njit(cache=True, nogil=True)
def count_sighting(mixed: int, k: int, window: int, head: NDArray[np.int64], sketch: NDArray[np.uint8]) -> Scalar:
    """Count one sighting in the count-min sketch; True, with the key's k sightings taken out again, at the k-th."""
    mask = sketch.shape[1] - 1
    step = (mixed >> 32) | 1
    least = 255
    for d in range(sketch.shape[0]):
        at = (mixed + d * step) & mask
        sketch[d, at] = min(255, sketch[d, at] + 1)
        least = min(least, sketch[d, at])
    if least >= k:
        for d in range(sketch.shape[0]):
            sketch[d, (mixed + d * step) & mask] -= k
        return True
    head[SIGHTINGS] += 1
    if head[SIGHTINGS] >= window:
        head[SIGHTINGS] = 0
        for d in range(sketch.shape[0]):
            for at in range(sketch.shape[1]):
                sketch[d, at] >>= np.uint8(1)
    return False


@njit(cache=True, nogil=True)
def is_admitted(
    key: int,
    now: int,
    salt: int,
    admission: NDArray[np.float64],
    head: NDArray[np.int64],
    sketch: NDArray[np.uint8],
) -> Scalar:
    kind = int(admission[0])
    if kind == ADMIT_AFTER:
        return count_sighting(mix(key, salt ^ GOLDEN), int(admission[1]), int(admission[2]), head, sketch)
    if kind == ADMIT_PROBABILITY:
        draw = np.uint64(mix(mix(key, salt ^ GOLDEN), now)) >> np.uint64(11)
        return np.float64(draw) < admission[1] * 9007199254740992.0
    return True


@njit(cache=True, nogil=True)
def start_row(key: int, address: int, layout: NDArray[np.int64], starts: NDArray[np.float64]) -> None:
    """Vector uniform in ±starts[0], a pure function of salt and key; state = starts[1]."""
    row = floats_at(address)
    dim = layout[DIM]
    scale = np.float32(starts[0])
    seed = mix(key, layout[INIT_SALT])
    for j in range(dim):
        bits = np.uint64(mix(seed + j * GOLDEN, np.int64(0))) >> np.uint64(40)
        row[j] = (np.float32(np.int64(bits)) * np.float32(2.0**-23) - np.float32(1.0)) * scale
    for j in range(dim, layout[STRIDE]):
        row[j] = np.float32(starts[1])


@njit(cache=True, nogil=True)
def take_row(head: NDArray[np.int64], meta: NDArray[np.int64], shift: int) -> Scalar:
    """The row that was freed last, else the next unused one."""
    row = head[FREE_ROW]
    if row >= 0:
        head[FREE_ROW] = words_at(meta_address(meta, shift, row))[0]
        return row
    row = head[TOP]
    head[TOP] += 1
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
    admission: NDArray[np.float64],
    sketch: NDArray[np.uint8],
    starts: NDArray[np.float64],
    scratch: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> int:
    """rows[i] = the row of keys[i], given now if admitted, else -1; returns how far it came before lacking memory."""
    salt, shift = layout[SALT], layout[SHIFT]
    head[OLDEST] = min(head[OLDEST], now)
    for i in range(start, len(keys)):
        if (i - start) % BLOCK == 0:
            approach(keys, i, min(i + BLOCK, len(keys)), salt, head, index, meta, shift)
        key = keys[i]
        hashed = hash_of(key, salt)
        row = find(key, hashed, head, index, meta, shift)
        if row < 0:
            if head[FREE_ROW] < 0 and head[TOP] >= head[ROW_CAPACITY]:
                head[NEED_ROWS] = head[TOP] + 1
                return i
            if not make_place(head, index, scratch):
                return i
            rows[i] = -1
            if not is_admitted(key, now, salt, admission, head, sketch):
                continue
            row = take_row(head, meta, shift)
            place((hashed << 32) | (row + 1), home_of(hashed, head), head, index)
            head[LIVE] += 1
            start_row(key, row_address(data, layout, row), layout, starts)
            words = words_at(meta_address(meta, shift, row))
            words[0] = key
            words[1] = (now << 16) | 1
            touch(row, head, bits)
        else:
            words = words_at(meta_address(meta, shift, row))
            words[1] = (max(words[1] >> 16, now) << 16) | min((words[1] & COUNT_MASK) + 1, COUNT_MASK)
        rows[i] = row
    return len(keys)


@njit(cache=True, nogil=True)
def release_row(
    row: int,
    head: NDArray[np.int64],
    index: NDArray[np.int64],
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    bits: NDArray[np.uint8],
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
    for i in range(len(rows)):
        release_row(rows[i], head, index, meta, layout, bits)


@njit(cache=True, nogil=True)
def idle_rows(
    now: int,
    start: int,
    stop: int,
    meta: NDArray[np.int64],
    layout: NDArray[np.int64],
    rows: NDArray[np.int64],
    oldest: NDArray[np.int64],
) -> tuple[int, int]:
    """Rows with now − last seen > ttl in [start, stop), as many as fit into `rows`: (how many, where it stopped).

    oldest int64[1] takes the least last seen of the rows that stay.
    """
    count = 0
    for row in range(start, stop):
        if count == len(rows):
            return count, row
        word = words_at(meta_address(meta, layout[SHIFT], row))[1]
        if word == FREE:
            continue
        if now - (word >> 16) > layout[TTL]:
            rows[count] = row
            count += 1
        else:
            oldest[0] = min(oldest[0], word >> 16)
    return count, stop
