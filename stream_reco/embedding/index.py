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

from stream_reco.embedding.pages import LINE_BYTES, Pointer, Scalar, prefetch, words_at

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
LINE_MASK = (1 << LINE_SHIFT) - 1
ROW_MASK = (1 << 32) - 1
MIN_LINES = 64
# Growth begins at 82 % and is done before 90 %; the new index is 28 % larger. This bounds the index at 14.3 bytes a row
# and the search at 1.1 lines on average.
LOAD_PERCENT = 82
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 32, 25
LINES_PER_INSERT = 2
# Every so many insertions move lines, for that many: runs are cheaper than lines one by one. A power of two.
SHARE = 32
SPARE_LINES = 16
# 2**64 over the golden ratio: an odd step that visits all hashes.
GOLDEN = -7046029254386353131
# Keys whose cache lines are asked for together.
BLOCK = 64


@njit(cache=True, nogil=True, inline="never")
def mix(key: int, salt: int) -> Scalar:
    """A bijective 64-bit hash as int64 (finalizer 13 of Stafford, as in splitmix64), so that equal low bits spread."""
    h = np.uint64(key) ^ np.uint64(salt)
    h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64(h ^ (h >> np.uint64(31)))


@njit(cache=True, nogil=True)
def hash_of(key: int, salt: int) -> Scalar:
    """The top 31 bits of the mixed key: what a slot keeps and what decides the home line."""
    return np.int64(np.uint64(mix(key, salt)) >> np.uint64(33))


@njit(cache=True, nogil=True)
def home_of(hashed: int, head: Pointer) -> Scalar:
    lines = head[NEW_LINES] if hashed >= head[FRONTIER] else head[OLD_LINES]
    return (hashed * lines) >> HASH_BITS


@njit(cache=True, nogil=True)
def line_address(index: Pointer, line: int) -> Scalar:
    return index[line >> LINE_SHIFT] + (line & LINE_MASK) * LINE_BYTES


@njit(cache=True, nogil=True)
def meta_address(meta: Pointer, shift: int, row: int) -> Scalar:
    """Where the row's two words lie: its key, and last seen × 65,536 + count."""
    return meta[row >> shift] + ((row & ((1 << shift) - 1)) << 4)


@njit(cache=True, nogil=True)
def match(slots: Pointer, hashed: int) -> Scalar:
    """The row of a slot with that hash, or -1: a guess to be checked by the key, free of branches to mispredict."""
    found = np.int64(0)
    # Downwards: an empty slot looks like hash 0, and what is used comes before what is empty.
    for s in range(SLOTS - 1, -1, -1):
        word = slots[s]
        found = word if word >> 32 == hashed else found
    return (found & ROW_MASK) - 1


@njit(cache=True, nogil=True)
def approach(
    keys: Pointer,
    many: int,
    salt: int,
    head: Pointer,
    index: Pointer,
    meta: Pointer,
    shift: int,
    hashes: Pointer,
    guesses: Pointer,
) -> None:
    """Of keys[:many], at most BLOCK: hashes and guessed rows (-1: none), with the cache lines that finding them will
    read on their way, all at once.
    """
    for i in range(many):
        hashes[i] = hash_of(keys[i], salt)
    old, new, frontier = head[OLD_LINES], head[NEW_LINES], head[FRONTIER]
    for i in range(many):
        home = (hashes[i] * (new if hashes[i] >= frontier else old)) >> HASH_BITS
        guesses[i] = line_address(index, home)
        prefetch(guesses[i])
    for i in range(many):
        row = match(words_at(guesses[i]), hashes[i])
        guesses[i] = row
        if row >= 0:
            prefetch(meta_address(meta, shift, row))


@njit(cache=True, nogil=True)
def find(key: int, hashed: int, guess: int, head: Pointer, index: Pointer, meta: Pointer, shift: int) -> Scalar:
    """The key's row, or -1; `guess` may be any live row or -1. Short, so that the compiler puts it into its callers."""
    if guess >= 0 and words_at(meta_address(meta, shift, guess))[0] == key:
        return guess
    slots = words_at(line_address(index, home_of(hashed, head)))
    if match(slots, hashed) < 0 and slots[SLOTS] < PASS:
        return -1
    return search(key, hashed, head, index, meta, shift)


@njit(cache=True, nogil=True)
def search(key: int, hashed: int, head: Pointer, index: Pointer, meta: Pointer, shift: int) -> Scalar:
    """The key's row, or -1: every slot of that hash from its home on, for the few that `find` does not settle."""
    line = home_of(hashed, head)
    while True:
        slots = words_at(line_address(index, line))
        for s in range(slots[SLOTS] & USED_MASK):
            row = (slots[s] & ROW_MASK) - 1
            if slots[s] >> 32 == hashed and words_at(meta_address(meta, shift, row))[0] == key:
                return row
        if slots[SLOTS] < PASS:
            return -1
        line += 1


@njit(cache=True, nogil=True)
def put(word: int, slots: Pointer, line: int, head: Pointer) -> None:
    """Add a slot word to a line that has room."""
    counter = slots[SLOTS]
    slots[counter & USED_MASK] = word
    slots[SLOTS] = counter + 1
    if line > head[LAST_LINE]:
        head[LAST_LINE] = line


@njit(cache=True, nogil=True)
def place(word: int, line: int, head: Pointer, index: Pointer) -> None:
    """Put a slot word into the first line with room from its home on; the caller made sure that there is one."""
    slots = words_at(line_address(index, line))
    if slots[SLOTS] & USED_MASK < SLOTS:
        put(word, slots, line, head)
    else:
        place_after(word, line, head, index)


@njit(cache=True, nogil=True)
def place_after(word: int, line: int, head: Pointer, index: Pointer) -> None:
    """`place` for a home that is full."""
    slots = words_at(line_address(index, line))
    while slots[SLOTS] & USED_MASK == SLOTS:
        slots[SLOTS] += PASS
        line += 1
        slots = words_at(line_address(index, line))
    put(word, slots, line, head)


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


@njit(cache=True, nogil=True)
def count_reach(line: int, last: int, index: Pointer) -> Scalar:
    """At most how many entries have a home in [line, last]: all from there on to the first line that nobody passed."""
    count = 0
    while True:
        counter = words_at(line_address(index, line))[SLOTS]
        count += counter & USED_MASK
        if line >= last and counter < PASS:
            return count
        line += 1


@njit(cache=True, nogil=True)
def take_homes(line: int, low: int, high: int, head: Pointer, index: Pointer, taken: Pointer) -> Scalar:
    """Move the entries with hash in [low, high), all those of home `line` and after in the old order, into `taken`."""
    old = head[OLD_LINES]
    last = ((high - 1) * old) >> HASH_BITS
    count, at = 0, line
    while True:
        slots = words_at(line_address(index, at))
        counter = slots[SLOTS]
        kept = 0
        for s in range(counter & USED_MASK):
            word = slots[s]
            slots[s] = 0
            if low <= word >> 32 < high:
                taken[count] = word
                count += 1
                for before in range(((word >> 32) * old) >> HASH_BITS, at):
                    words_at(line_address(index, before))[SLOTS] -= PASS
            else:
                slots[kept] = word
                kept += 1
        slots[SLOTS] += kept - (counter & USED_MASK)
        if at >= last and counter < PASS:
            return count
        at += 1


@njit(cache=True, nogil=True)
def has_lines(many: int, head: Pointer) -> Scalar:
    """Whether entries that fill so many lines, and a few more, can be placed whatever their homes; if not, NEED_LINES
    says how many lines would do.

    Behind the last line and the last home all is empty, so that what goes there fills one line after another.
    """
    used = max(head[LAST_LINE], head[NEW_LINES]) + many
    if used + SPARE_LINES < head[LINE_CAPACITY]:
        return True
    head[NEED_LINES] = used + 2 * SPARE_LINES
    return False


@njit(cache=True, nogil=True)
def move_lines(many: int, head: Pointer, index: Pointer, scratch: Pointer) -> Scalar:
    """Move the rightmost lines of the old order into the new one; False where memory for lines is lacking.

    The lines between the two orders' frontiers hold only what overflowed, and homes only move to the right.
    """
    old, new, high = head[OLD_LINES], head[NEW_LINES], head[FRONTIER]
    last = ((high - 1) * old) >> HASH_BITS
    line = max(last + 1 - many, 0)
    low = ((line << HASH_BITS) + old - 1) // old
    reach = count_reach(line, last, index)
    if not has_lines(reach // SLOTS, head):
        return False
    if reach > head[SCRATCH_SIZE]:
        head[NEED_SCRATCH] = reach
        return False
    for i in range(take_homes(line, low, high, head, index, scratch)):
        place(scratch[i], ((scratch[i] >> 32) * new) >> HASH_BITS, head, index)
    head[FRONTIER] = low
    return True


@njit(cache=True, nogil=True)
def lines_for(rows: int) -> Scalar:
    """The fewest lines that hold so many rows without growing."""
    return -(-rows * 100 // (SLOTS * LOAD_PERCENT))


@njit(cache=True, nogil=True)
def make_place(head: Pointer, index: Pointer, scratch: Pointer) -> Scalar:
    """Do one insertion's share of growth; False, with NEED_LINES set, where lines must be appended first."""
    lines = head[NEW_LINES]
    if head[FRONTIER] == 0:
        if (head[LIVE] + 1) * 100 > lines * SLOTS * LOAD_PERCENT:
            wanted = max(lines * GROWTH_NUMERATOR // GROWTH_DENOMINATOR, lines_for(head[EXPECTED]))
            if wanted + SPARE_LINES >= head[LINE_CAPACITY]:
                head[NEED_LINES] = wanted + 2 * SPARE_LINES
                return False
            head[OLD_LINES], head[NEW_LINES], head[FRONTIER] = lines, wanted, WHOLE
    elif head[LIVE] & (SHARE - 1) == 0 and not move_lines(SHARE * LINES_PER_INSERT, head, index, scratch):
        return False
    return has_lines(0, head)
