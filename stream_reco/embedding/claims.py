"""The batch kernel that gives rows to keys: who is known is seen, who is not is admitted, entered and started."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.admission import ADMIT_ALL, is_admitted
from stream_reco.embedding.growth import make_places, places
from stream_reco.embedding.index import (
    ABSENT,
    BLOCK,
    DECLINED,
    FREE_ROW,
    FRONTIER,
    IS_FULL,
    LIVE,
    META_SHIFT,
    ROW_CAPACITY,
    SLOTS,
    TOP,
    TOUCHED,
    UNSURE,
    USED_MASK,
    approach,
    guess,
    locate,
    meta_address,
    mix,
    place_after,
    put,
    search,
)
from stream_reco.embedding.kernels import (
    COUNT_MASK,
    DIM,
    INIT_SALT,
    SALT,
    SHIFT,
    STRIDE,
    touch,
)
from stream_reco.embedding.pointers import Pointer, Scalar, bytes_of, floats_at, words_at, words_of


@njit(cache=True, nogil=True)
def start_vector(row: Pointer, mixed: int, dim: int, scale: float) -> None:
    """Numbers uniform in ±scale (float32), a pure function of the key mixed with a salt.

    Number j is the finalizer of MurmurHash3 over 32 bits of the mixed key and j, the other 32 bits stirred in between:
    in 32 bits a processor hashes twice as many numbers at a time.
    """
    low, high = np.uint32(mixed), np.uint32(np.uint64(mixed) >> np.uint64(32))
    for j in range(dim):
        h = np.uint32(low + np.uint32(j) * np.uint32(0x9E3779B9))
        h = np.uint32((h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)) ^ high
        h = np.uint32((h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35))
        bits = np.int32(np.uint32(h ^ (h >> np.uint32(16))) >> np.uint32(8))
        row[j] = (np.float32(bits) * np.float32(2.0**-23) - np.float32(1.0)) * scale


@njit(cache=True, nogil=True)
def start_rows(
    keys: Pointer,
    rows: Pointer,
    born: Pointer,
    given: int,
    used: int,
    head: Pointer,
    data: Pointer,
    layout: Pointer,
    bits: Pointer,
    mixed: Pointer,
    scale: float,
    state: float,
) -> None:
    """First vector and state of rows[born[j]], j below `given`, the row of keys[born[j]], which is touched.

    What lies beyond the first `used` rows was never written, hence is zero: a zero need not be written there again.
    """
    dim, stride, salt, shift = layout[DIM], layout[STRIDE], layout[INIT_SALT], layout[SHIFT]
    for j in range(given):
        mixed[j] = mix(keys[born[j]], salt)
    for j in range(given):
        row = rows[born[j]]
        numbers = floats_at(data[row >> shift] + (row & ((1 << shift) - 1)) * stride * 4)
        if row < used or scale != 0:
            start_vector(numbers, mixed[j], dim, scale)
        if row < used or state != 0:
            for i in range(dim, stride):
                numbers[i] = state
        if row < used:
            touch(row, head, bits)
    touch_unused(used, head, bits)


@njit(cache=True, nogil=True)
def touch_unused(start: int, head: Pointer, bits: Pointer) -> None:
    """Touch the rows from `start` to the last one that was given; none of them was touched before."""
    row, stop = start, head[TOP]
    while row < stop:
        end = min((row | 7) + 1, stop)
        bits[row >> 3] |= np.uint8(((1 << (end - row)) - 1) << (row & 7))
        row = end
    head[TOUCHED] += stop - start


@njit(cache=True, nogil=True)
def see(words: Pointer, now: int) -> None:
    """Count one sighting of a row that has a key; `words` is its meta."""
    word = words[1]
    words[1] = (max(word >> 16, now) << 16) | min((word & COUNT_MASK) + 1, COUNT_MASK)


@njit(cache=True, nogil=True)
def known_row(
    key: int, hashed: int, line: int, guessed: int, head: Pointer, index: Pointer, meta: Pointer, shift: int
) -> Scalar:
    """The key's row, or ABSENT, where keys may have been entered since the guess."""
    if guessed >= 0 and words_at(meta_address(meta, shift, guessed))[0] == key:
        return guessed
    if UNSURE < guessed < 0 and words_at(line)[SLOTS] == ~guessed:
        return ABSENT
    return search(key, hashed, head, index, meta, shift)


@njit(cache=True, nogil=True)
def settle(
    keys: Pointer,
    many: int,
    calm: int,
    now: int,
    salt: int,
    hashes: Pointer,
    homes: Pointer,
    next_homes: Pointer,
    lines: Pointer,
    guesses: Pointer,
    head: Pointer,
    index: Pointer,
    meta: Pointer,
    shift: int,
    bounds: Pointer,
    kind: int,
    rate: float,
    window: int,
    sketch: Pointer,
    width: int,
    rows: Pointer,
    born: Pointer,
) -> tuple[int, int]:
    """rows[i] of keys[:many], of which at most `calm` may be given now: (how far it came, how many were given).

    born[:given] = places of those that were given, in order. It stops at a stranger for whom there is no place yet.
    A row that was freed is given first, the last one first, then the next unused one.
    """
    given, came, free, top = 0, many, head[FREE_ROW], head[TOP]
    unused = meta_address(meta, shift, min(top, head[ROW_CAPACITY] - 1)) - (top << META_SHIFT)
    for i in range(many):
        approach(index, next_homes[i])
        row = known_row(keys[i], hashes[i], lines[i], guesses[i], head, index, meta, shift)
        if row >= 0:
            see(words_at(meta_address(meta, shift, row)), now)
        elif given < calm:
            if kind == ADMIT_ALL or is_admitted(keys[i], now, salt, kind, rate, window, head, sketch, width):
                if free < 0:
                    row, top = top, top + 1
                    words = words_at(unused + (row << META_SHIFT))
                else:
                    row, words = free, words_at(meta_address(meta, shift, free))
                    free = words[0]
                    bounds[row >> shift] = min(bounds[row >> shift], now)
                words[0], words[1] = keys[i], (now << 16) | 1
                slots = words_at(lines[i])
                if slots[SLOTS] & USED_MASK < SLOTS:
                    put((hashes[i] << 32) | (row + 1), slots)
                else:
                    place_after((hashes[i] << 32) | (row + 1), homes[i], head, index)
                born[given] = i
                given += 1
        elif head[IS_FULL] and free < 0 and top == head[ROW_CAPACITY]:
            head[DECLINED] += 1
        else:
            came = i
            break
        rows[i] = row
    if top > head[TOP]:
        page = head[TOP] >> shift
        bounds[page] = min(bounds[page], now)
    head[FREE_ROW], head[TOP] = free, top
    head[LIVE] += given
    return came, given


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
    """rows[i] = the row of keys[i], given now if admitted, else -1; returns how far it came before lacking memory.

    While a block of keys is settled, the lines of the next one are on their way.
    """
    salt, shift = layout[SALT], layout[SHIFT]
    heads, indexes, metas = words_of(head), words_of(index), words_of(meta)
    datas, layouts, spare = words_of(data), words_of(layout), words_of(scratch)
    oldest, flags, counters = words_of(bounds), bytes_of(bits), bytes_of(sketch)
    kind, rate, window = np.int64(admission[0]), admission[1], np.int64(admission[2])
    scale, state = np.float32(starts[0]), np.float32(starts[1])
    # Zeros, since homes beyond the last key are approached too.
    space = np.zeros((7, BLOCK), np.int64)
    hashes, homes, lines, guesses = words_of(space[0]), words_of(space[1]), words_of(space[2]), words_of(space[3])
    next_hashes, next_homes, born = words_of(space[4]), words_of(space[5]), words_of(space[6])
    done, calm, located, frontier = start, places(heads, shift), -1, heads[FRONTIER]
    while done < len(keys):
        asked, out = words_at(np.int64(keys.ctypes.data) + done * 8), words_at(np.int64(rows.ctypes.data) + done * 8)
        many, used = min(BLOCK, len(keys) - done), heads[TOP]
        if calm == 0:
            calm = make_places(heads, indexes, spare, shift)
        if located != done or frontier != heads[FRONTIER]:
            locate(asked, many, salt, heads, hashes, homes)
            for i in range(many):
                approach(indexes, homes[i])
        located, frontier = done + many, heads[FRONTIER]
        following = words_at(np.int64(keys.ctypes.data) + located * 8)
        locate(following, min(BLOCK, len(keys) - located), salt, heads, next_hashes, next_homes)
        guess(many, hashes, homes, indexes, metas, shift, lines, guesses)
        came, given = settle(
            asked, many, calm, now, salt, hashes, homes, next_homes, lines, guesses, heads, indexes, metas, shift,
            oldest, kind, rate, window, counters, sketch.shape[1], out, born,
        )  # fmt: skip
        start_rows(asked, out, born, given, used, heads, datas, layouts, flags, guesses, scale, state)
        done, calm = done + came, calm - given
        hashes, next_hashes, homes, next_homes = next_hashes, hashes, next_homes, homes
        if came < many and calm == 0:
            calm = make_places(heads, indexes, spare, shift)
            if calm == 0:
                break
    # It was written through its address; this keeps its memory until here.
    space[0, 0] = 0
    return done
