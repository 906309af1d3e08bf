"""How the index grows: a run of lines at a time moves from the old order into the new one, from the right end on."""

from numba import njit

from stream_reco.embedding.index import (
    BLOCK,
    EXPECTED,
    FREE_ROW,
    FRONTIER,
    HASH_BITS,
    LAST_LINE,
    LINE_CAPACITY,
    LIVE,
    NEED_LINES,
    NEED_ROWS,
    NEED_SCRATCH,
    NEW_LINES,
    OLD_LINES,
    PASS,
    ROW_CAPACITY,
    SCRATCH_SIZE,
    SLOTS,
    SPARE_LINES,
    TOP,
    USED_MASK,
    WHOLE,
    line_address,
    place,
)
from stream_reco.embedding.pointers import Pointer, Scalar, words_at

# Growth begins at 82 % and is done before 90 %; the new index is 28 % larger. This bounds the index at 14.3 bytes a row
# and the search at 1.1 lines on average.
LOAD_PERCENT = 82
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 32, 25
LINES_PER_INSERT = 2
# Every so many insertions move lines, for that many: runs are cheaper than lines one by one. A power of two.
SHARE = BLOCK


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
def has_row(head: Pointer) -> Scalar:
    """Whether there is a row to give; if not, NEED_ROWS says how many rows would do."""
    if head[FREE_ROW] >= 0 or head[TOP] < head[ROW_CAPACITY]:
        return True
    head[NEED_ROWS] = head[TOP] + 1
    return False


@njit(cache=True, nogil=True)
def begin_growth(head: Pointer) -> Scalar:
    """Set out for a longer order; False, with NEED_LINES set, where lines must be appended first.

    A batch that tells how many rows to expect gets room for them as if the index had just grown.
    """
    lines = head[NEW_LINES]
    wanted = max(lines, lines_for(head[EXPECTED])) * GROWTH_NUMERATOR // GROWTH_DENOMINATOR
    if wanted + SPARE_LINES >= head[LINE_CAPACITY]:
        head[NEED_LINES] = wanted + 2 * SPARE_LINES
        return False
    head[OLD_LINES], head[NEW_LINES], head[FRONTIER] = lines, wanted, WHOLE
    head[LAST_LINE] = max(head[LAST_LINE], wanted - 1)
    return True


@njit(cache=True, nogil=True)
def rows_to_give(head: Pointer, shift: int) -> Scalar:
    """How many: those that were freed, and the unused ones of one page."""
    unused = min(head[ROW_CAPACITY] - head[TOP], (1 << shift) - (head[TOP] & ((1 << shift) - 1)))
    return head[TOP] - head[LIVE] + unused


@njit(cache=True, nogil=True)
def places(head: Pointer, shift: int) -> Scalar:
    """How many keys may get rows, at most BLOCK, before `make_places` has something to do again."""
    if head[FRONTIER] == 0:
        calm = head[NEW_LINES] * SLOTS * LOAD_PERCENT // 100 - head[LIVE]
    else:
        calm = -head[LIVE] & (SHARE - 1)
    return max(0, min(BLOCK, rows_to_give(head, shift), calm)) if has_lines(0, head) else 0


@njit(cache=True, nogil=True)
def make_places(head: Pointer, index: Pointer, scratch: Pointer, shift: int) -> Scalar:
    """Do a share of growth, if it is due; how many keys may then get rows, at most BLOCK; 0 where there is no row, or
    lines or scratch must be appended first, as NEED_LINES or NEED_SCRATCH says.
    """
    if not has_row(head):
        return 0
    calm = places(head, shift)
    if calm > 0:
        return calm
    if head[FRONTIER] == 0:
        if not begin_growth(head):
            return 0
    elif not move_lines(SHARE * LINES_PER_INSERT, head, index, scratch):
        return 0
    if not has_lines(0, head):
        return 0
    if head[FRONTIER] == 0:
        return places(head, shift)
    return min(SHARE - (head[LIVE] & (SHARE - 1)), rows_to_give(head, shift))
