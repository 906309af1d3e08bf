"""The batch kernel that gives rows to keys: a known key is counted, a new one is admitted, entered and started."""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.admission import ADMIT_EVERY, NO_SKETCH, is_admitted
from stream_reco.embedding.kernels.growth import make_places, places
from stream_reco.embedding.kernels.index import (
    ABSENT,
    BLOCK,
    BLOCK_WORDS,
    BORN,
    DECLINED,
    FREE_ROW,
    FRONTIER,
    GUESSES,
    HASHES,
    HOMES,
    IS_FULL,
    LINES,
    LIVE,
    SLOTS,
    TOP,
    TOUCHED,
    UNSURE,
    approach,
    approach_all,
    guess,
    locate,
    meta_address,
    mix,
    place,
    search,
)
from stream_reco.embedding.kernels.pointers import Pointer, Scalar, bytes_of, doubles_of, floats_at, words_at, words_of
from stream_reco.embedding.kernels.rows import (
    COUNT_MASK,
    DIM,
    INIT_SALT,
    SALT,
    SHIFT,
    STRIDE,
    StoreMemory,
    memory_of,
    row_address,
    touch,
)

# Places in the numbers of a policy.
SCALE, STATE = 3, 4


class NewRowPolicy(NamedTuple):
    """Which new keys get rows, and what those start from."""

    numbers: NDArray[np.float64]
    """float64[5]: kind, k or p, window (see `admission.is_admitted`); numbers of a new vector are uniform in ± SCALE;
    STATE is the optimizer's first state.
    """
    sketch: NDArray[np.uint8]
    """uint8[SKETCH_DEPTH, width]: counted sightings of keys without a row; written to."""


def every_key(scale: float = 0.0, state: float = 0.0) -> NewRowPolicy:
    """Each new key gets a row, whose numbers are uniform in ± `scale` and whose optimizer begins with `state`."""
    return NewRowPolicy(np.concatenate([ADMIT_EVERY, [scale, state]]), NO_SKETCH)


class AdmissionMemory(NamedTuple):
    """The memory of a `NewRowPolicy`, as kernels hand it to each other."""

    policy: Pointer
    sketch: Pointer
    width: int


class KeyBatch(NamedTuple):
    """The keys of one call, by address."""

    keys: Scalar
    """Address of int64[size]."""
    rows: Scalar
    """Address of int64[size], for their rows."""
    size: int
    now: int
    """Event time in ms."""


class AskedKeys(NamedTuple):
    """The keys of one block."""

    keys: Pointer
    rows: Pointer
    many: int
    now: int


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
        # Plus 0, which makes a zero of a scale of 0 the zero that unused memory holds.
        row[j] = (np.float32(bits) * np.float32(2.0**-23) - np.float32(1.0)) * scale + np.float32(0)


@njit(cache=True, nogil=True)
def start_rows(asked: AskedKeys, block: Pointer, given: int, used: int, memory: StoreMemory, policy: Pointer) -> None:
    """First vector and state of the `given` rows that a block of keys was given, which are touched.

    What lies beyond the first `used` rows was never written, hence is zero: a zero need not be written there again.
    """
    layout, scale, state = memory.layout, np.float32(policy[SCALE]), np.float32(policy[STATE])
    dim, stride, salt = layout[DIM], layout[STRIDE], layout[INIT_SALT]
    for j in range(given):
        block[GUESSES + j] = mix(asked.keys[block[BORN + j]], salt)
    for j in range(given):
        row = asked.rows[block[BORN + j]]
        numbers = floats_at(row_address(memory.data, layout, row))
        if row < used or scale != 0:
            start_vector(numbers, block[GUESSES + j], dim, scale)
        if row < used or state != 0:
            for i in range(dim, stride):
                numbers[i] = state
        if row < used:
            touch(row, memory.head, memory.bits)
    touch_unused(used, memory.head, memory.bits)


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
def known_row(key: int, hashed: int, line: int, guessed: int, memory: StoreMemory, shift: int) -> Scalar:
    """The key's row, or ABSENT, where keys may have been entered since the guess."""
    if guessed >= 0 and words_at(meta_address(memory.meta, shift, guessed))[0] == key:
        return guessed
    if UNSURE < guessed < 0 and words_at(line)[SLOTS] == ~guessed:
        return ABSENT
    return search(key, hashed, memory.head, memory.index_pages, memory.meta, shift)


@njit(cache=True, nogil=True)
def settle(
    asked: AskedKeys, calm: int, block: Pointer, next_block: Pointer, memory: StoreMemory, gate: AdmissionMemory
) -> tuple[int, int]:
    """Rows of the keys asked for, of which at most `calm` may be given now: (how far it came, how many were given).

    It stops at a new key for which there is no place yet. A row that was freed is given first, the last one first, then
    the next unused one. The block's BORN are the places of those that were given.
    """
    head, index, meta, bounds, layout = memory.head, memory.index_pages, memory.meta, memory.bounds, memory.layout
    keys, rows, now = asked.keys, asked.rows, asked.now
    given, came, free, top, shift = 0, asked.many, head[FREE_ROW], head[TOP], layout[SHIFT]
    for i in range(asked.many):
        approach(index, next_block[HOMES + i])
        hashed, line = block[HASHES + i], block[LINES + i]
        row = known_row(keys[i], hashed, line, block[GUESSES + i], memory, shift)
        if row >= 0:
            see(words_at(meta_address(meta, shift, row)), now)
        elif given < calm:
            if is_admitted(keys[i], now, layout[SALT], gate.policy, head, gate.sketch, gate.width):
                row = free if free >= 0 else top
                words = words_at(meta_address(meta, shift, row))
                free, top = (words[0], top) if free >= 0 else (free, top + 1)
                bounds[row >> shift] = min(bounds[row >> shift], now)
                words[0], words[1] = keys[i], (now << 16) | 1
                place((hashed << 32) | (row + 1), line, block[HOMES + i], head, index)
                block[BORN + given] = i
                given += 1
        elif head[IS_FULL]:
            head[DECLINED] += 1
        else:
            came = i
            break
        rows[i] = row
    head[FREE_ROW], head[TOP] = free, top
    head[LIVE] += given
    return came, given


@njit(cache=True, nogil=True)
def claim_blocks(
    batch: KeyBatch, start: int, memory: StoreMemory, gate: AdmissionMemory, space: tuple[Pointer, Pointer]
) -> Scalar:
    """`claim_rows` of a batch. While a block is settled, the lines of the next one are on their way."""
    head, index = memory.head, memory.index_pages
    (block, next_block), salt, shift = space, memory.layout[SALT], memory.layout[SHIFT]
    done, calm, located, frontier = start, places(head), -1, head[FRONTIER]
    while done < batch.size:
        many, used = min(BLOCK, batch.size - done), head[TOP]
        asked = AskedKeys(words_at(batch.keys + 8 * done), words_at(batch.rows + 8 * done), many, batch.now)
        if calm == 0:
            calm = places(head)
        if located != done or frontier != head[FRONTIER]:
            locate(asked.keys, many, salt, head, block)
        if located != done:
            approach_all(many, index, block)
        located, frontier = done + many, head[FRONTIER]
        locate(words_at(batch.keys + 8 * located), min(BLOCK, batch.size - located), salt, head, next_block)
        guess(many, index, memory.meta, shift, block)
        came, given = settle(asked, calm, block, next_block, memory, gate)
        start_rows(asked, block, given, used, memory, gate.policy)
        done, calm = done + came, calm - given
        block, next_block = next_block, block
        if came < many:
            calm = make_places(head, index, memory.scratch)
            if calm == 0:
                break
    return done


@njit(cache=True, nogil=True)
def claim_rows(
    keys: NDArray[np.int64],
    start: int,
    now: int,
    store: NDArray[np.int64],
    policy: NDArray[np.float64],
    sketch: NDArray[np.uint8],
    rows: NDArray[np.int64],
) -> Scalar:
    """rows[i] = the row of keys[i], given now if admitted, else -1; returns how far it came before lacking memory."""
    # Zeros, since homes beyond the last key are approached too.
    space = np.zeros((2, BLOCK_WORDS), np.int64)
    batch = KeyBatch(np.int64(keys.ctypes.data), np.int64(rows.ctypes.data), len(keys), now)
    gate = AdmissionMemory(doubles_of(policy), bytes_of(sketch), sketch.shape[1])
    done = claim_blocks(batch, start, memory_of(store), gate, (words_of(space[0]), words_of(space[1])))
    # It was written through its address; this keeps its memory until here.
    space[0, 0] = 0
    return done
