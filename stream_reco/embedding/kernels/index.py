"""The index: key → row, open addressing in lines of 64 bytes that grows in place, a few lines at a time.

A line holds seven slots and a counter. A slot is one int64: 31 bits of the key's hash above row + 1 (0 is empty); the
key itself is compared in the row's meta, so two keys never share a row. The home line of hash f among n lines is
⌊f·n / 2³¹⌋, which keeps hashes in order: when n grows, every home moves to the right or stays. So growth appends lines
and moves entries from the right end to the left: hashes from `FRONTIER` on already live by the new n, those below it
still by the old n. Nothing is allocated twice and no batch pays for all of it.

An entry whose home is full goes to the next line with room; each full line that it passes counts it (as in Facebook's
F14), so a search ends at the first line that nobody passed, and erasing leaves no debris.
"""

import numpy as np
from numba import njit

from stream_reco.embedding.kernels.pointers import (
    LINE_BYTES,
    Pointer,
    Scalar,
    lowest_bit,
    prefetch,
    tops_that_are,
    words_at,
)

# Places in `head`, the table's int64 scalars.
OLD_LINES, NEW_LINES, FRONTIER, LAST_LINE, LINE_CAPACITY = 0, 1, 2, 3, 4
LIVE, TOP, FREE_ROW, ROW_CAPACITY, TOUCHED, HAND = 5, 6, 7, 8, 9, 10
SIGHTINGS, REFUSED, IGNORED, CURSOR, NEED_ROWS, NEED_LINES = 11, 12, 13, 14, 15, 16
SCRATCH_SIZE, NEED_SCRATCH, IS_FULL, DECLINED, CROWDED_OUT = 17, 18, 19, 20, 21
EXPECTED = 22
HEAD_SIZE = 24

SLOTS = 7
# A line's counter: how many of its slots are used, and from bit 8 on how often it was passed.
USED_MASK = 255
PASS = 256
HASH_BITS = 31
WHOLE = 1 << HASH_BITS
LINE_SHIFT = 10
# A row's meta is two words.
META_SHIFT = 4
LINE_MASK = (1 << LINE_SHIFT) - 1
ROW_MASK = (1 << 32) - 1
MIN_LINES = 64
SPARE_LINES = 16
# 2**64 over the golden ratio: an odd step that visits all hashes.
GOLDEN = -7046029254386353131
# Keys that are looked for together, while the lines of as many more are on their way.
BLOCK = 32
# Where in a block's words there is what of its keys.
HASHES, HOMES, LINES, GUESSES, BORN = 0, BLOCK, 2 * BLOCK, 3 * BLOCK, 4 * BLOCK
BLOCK_WORDS = 5 * BLOCK
# What is found of a key without a row, and what is guessed at most of one that other lines may have.
ABSENT, UNSURE = -1, ~PASS


MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
# Of `mix`, both odd, so that it can be undone.
_FIRST, _SECOND = MULTIPLIERS


@njit(cache=True, nogil=True, inline="never")
def mix(key: int, salt: int) -> Scalar:
    """A bijective 64-bit hash as int64 (finalizer 13 of Stafford, as in splitmix64), so that equal low bits spread."""
    h = np.uint64(key) ^ np.uint64(salt)
    h = (h ^ (h >> np.uint64(30))) * _FIRST
    h = (h ^ (h >> np.uint64(27))) * _SECOND
    return np.int64(h ^ (h >> np.uint64(31)))


@njit(cache=True, nogil=True)
def hash_of(key: int, salt: int) -> Scalar:
    """The top 31 bits of the mixed key: what a slot keeps and what decides the home line."""
    return np.int64(np.uint64(mix(key, salt)) >> np.uint64(33))


@njit(cache=True, nogil=True)
def home_between(hashed: int, old: int, new: int, frontier: int) -> Scalar:
    """The home line of a hash while the index is on its way from `old` lines to `new` ones."""
    return (hashed * (new if hashed >= frontier else old)) >> HASH_BITS


@njit(cache=True, nogil=True)
def home_of(hashed: int, head: Pointer) -> Scalar:
    return home_between(hashed, head[OLD_LINES], head[NEW_LINES], head[FRONTIER])


@njit(cache=True, nogil=True)
def line_address(index: Pointer, line: int) -> Scalar:
    return index[line >> LINE_SHIFT] + (line & LINE_MASK) * LINE_BYTES


@njit(cache=True, nogil=True)
def meta_address(meta: Pointer, shift: int, row: int) -> Scalar:
    """Where the row's two words lie: its key, and last seen × 65,536 + count."""
    return meta[row >> shift] + ((row & ((1 << shift) - 1)) << META_SHIFT)


@njit(cache=True, nogil=True)
def row_in(slots: Pointer, slot: int) -> Scalar:
    return (slots[slot] & ROW_MASK) - 1


@njit(cache=True, nogil=True)
def candidates(line: int, hashed: int) -> Scalar:
    """Of the line at an address, a bit for each used slot that has this hash: who they are is for the key to say."""
    return tops_that_are(line, hashed) & ((1 << (words_at(line)[SLOTS] & USED_MASK)) - 1)


@njit(cache=True, nogil=True)
def locate(keys: Pointer, many: int, salt: int, head: Pointer, block: Pointer) -> None:
    """Hashes and home lines of keys[:many], at most BLOCK."""
    for i in range(many):
        block[HASHES + i] = hash_of(keys[i], salt)
    old, new, frontier = head[OLD_LINES], head[NEW_LINES], head[FRONTIER]
    for i in range(many):
        block[HOMES + i] = home_between(block[HASHES + i], old, new, frontier)


@njit(cache=True, nogil=True)
def approach(index: Pointer, line: int) -> None:
    """Have a line on its way. A processor gets on with other work meanwhile, but not past some hundred instructions:
    lines are asked for one by one between other keys, not all at once.
    """
    prefetch(line_address(index, line))


@njit(cache=True, nogil=True)
def approach_all(many: int, index: Pointer, block: Pointer) -> None:
    """Have the home lines of a whole block on their way."""
    for i in range(many):
        approach(index, block[HOMES + i])


@njit(cache=True, nogil=True)
def guess(many: int, index: Pointer, meta: Pointer, shift: int, block: Pointer) -> None:
    """Of what `locate` gave: a row for each key, to be checked by the key, with its meta on the way. Where there is
    none the line's counter, inverted, hence below 0: at most UNSURE where the next line must tell, which is on its way.
    """
    for i in range(many):
        line = line_address(index, block[HOMES + i])
        found, counter = candidates(line, block[HASHES + i]), words_at(line)[SLOTS]
        if found != 0:
            row = row_in(words_at(line), lowest_bit(found))
            prefetch(meta_address(meta, shift, row))
            block[GUESSES + i] = row
        else:
            block[GUESSES + i] = ~counter
            if counter >= PASS or counter == SLOTS:
                approach(index, block[HOMES + i] + 1)
        block[LINES + i] = line


@njit(cache=True, nogil=True)
def search(key: int, hashed: int, head: Pointer, index: Pointer, meta: Pointer, shift: int) -> Scalar:
    """The key's row, or ABSENT: every slot of that hash, from its home on."""
    line = home_of(hashed, head)
    while True:
        address = line_address(index, line)
        left = candidates(address, hashed)
        while left != 0:
            row = row_in(words_at(address), lowest_bit(left))
            if words_at(meta_address(meta, shift, row))[0] == key:
                return row
            left &= left - 1
        if words_at(address)[SLOTS] < PASS:
            return ABSENT
        line += 1


@njit(cache=True, nogil=True)
def put(word: int, slots: Pointer) -> None:
    """Add a slot word to a line that has room."""
    counter = slots[SLOTS]
    slots[counter & USED_MASK] = word
    slots[SLOTS] = counter + 1


@njit(cache=True, nogil=True)
def place(word: int, line: int, home: int, head: Pointer, index: Pointer) -> None:
    """Put a slot word into the first line with room from its home on, whose address is `line`; the caller made sure
    that there is one.
    """
    slots = words_at(line)
    if slots[SLOTS] & USED_MASK < SLOTS:
        put(word, slots)
    else:
        place_after(word, home, head, index)


@njit(cache=True, nogil=True)
def place_after(word: int, home: int, head: Pointer, index: Pointer) -> None:
    """`place` for a home that is full."""
    line = home
    slots = words_at(line_address(index, line))
    while slots[SLOTS] & USED_MASK == SLOTS:
        slots[SLOTS] += PASS
        line += 1
        slots = words_at(line_address(index, line))
    put(word, slots)
    if line > head[LAST_LINE]:
        head[LAST_LINE] = line


@njit(cache=True, nogil=True)
def vacate(slots: Pointer, slot: int) -> None:
    """Empty a slot; the line's last entry closes the gap."""
    last = (slots[SLOTS] & USED_MASK) - 1
    slots[slot] = slots[last]
    slots[last] = 0
    slots[SLOTS] -= 1


@njit(cache=True, nogil=True)
def erase(word: int, line: int, index: Pointer) -> None:
    """Take a slot word out, from its home line on."""
    while True:
        slots = words_at(line_address(index, line))
        for s in range(slots[SLOTS] & USED_MASK):
            if slots[s] == word:
                vacate(slots, s)
                return
        slots[SLOTS] -= PASS
        line += 1
