"""How the index grows: a run of lines at a time moves from the old order into the new one, from the right end on."""

from numba import njit

from stream_reco.embedding.kernels.index import (
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
    home_of,
    line_address,
    place,
)
from stream_reco.embedding.kernels.pointers import Pointer, Scalar, words_at

# Growth begins at 82 % and is done before 90 %; the new index is 28 % larger. This bounds the index at 14.3 bytes a row
# and the search at 1.1 lines on average.
LOAD_PERCENT = 82
GROWTH_NUMERATOR, GROWTH_DENOMINATOR = 32, 25
LINES_PER_INSERT = 2
# Lines are moved once for this many insertions: runs are cheaper than lines one by one. A power of two.
SHARE = 64


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
    """Move the entries with hash in [low, high), all those of home `line` and after in the old order, into `taken`;
    `high` is the frontier.

    The passes of these lines are counted again from the entries that stay: those that left had a home from `line` on.
    """
    last = home_of(high - 1, head)
    count, at = 0, line
    while True:
        slots = words_at(line_address(index, at))
        counter = slots[SLOTS]
        kept = 0
        for s in range(counter & USED_MASK):
            word = slots[s]
            slots[s] = 0
            hashed = word >> 32
            if low <= hashed < high:
                taken[count] = word
                count += 1
            else:
                slots[kept] = word
                kept += 1
                for before in range(max(home_of(hashed, head), line), at):
                    words_at(line_address(index, before))[SLOTS] += PASS
        slots[SLOTS] = kept
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
    last = home_of(high - 1, head)
    line = max(last + 1 - many, 0)
    low = ((line << HASH_BITS) + old - 1) // old
    reach = count_reach(line, last, index)
    if not has_lines(-(-reach // SLOTS), head):
        return False
    if reach > head[SCRATCH_SIZE]:
        head[NEED_SCRATCH] = reach
        return False
    for i in range(take_homes(line, low, high, head, index, scratch)):
        home = ((scratch[i] >> 32) * new) >> HASH_BITS
        place(scratch[i], line_address(index, home), home, head, index)
    head[FRONTIER] = low
    return True


@njit(cache=True, nogil=True)
def lines_for(rows: int) -> Scalar:
    """The fewest lines that hold this many rows without growing."""
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

    A batch that says how many rows to expect gets room for them as if the index had just grown.
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
def until_growth(head: Pointer) -> Scalar:
    """How many keys may be entered before growth has something to do, which it has now where this is not above 0."""
    if head[FRONTIER] == 0:
        return head[NEW_LINES] * SLOTS * LOAD_PERCENT // 100 - head[LIVE]
    return -head[LIVE] & (SHARE - 1)


@njit(cache=True, nogil=True)
def places(head: Pointer) -> Scalar:
    """How many keys may get rows, at most BLOCK, before `make_places` must be asked again. Moves nothing."""
    calm = min(BLOCK, head[ROW_CAPACITY] - head[LIVE], until_growth(head))
    return max(0, calm) if has_lines(0, head) else 0


@njit(cache=True, nogil=True)
def make_places(head: Pointer, index: Pointer, scratch: Pointer) -> Scalar:
    """Do a share of growth, if it is due; how many keys may then get rows, at most BLOCK; 0, with nothing done, where
    rows, lines or scratch are lacking, as NEED_ROWS, NEED_LINES or NEED_SCRATCH says.

    It is asked where a stranger waits: what the index looks like depends on the keys, not on how much memory there is.
    """
    if not (has_row(head) and has_lines(0, head)):
        return 0
    if until_growth(head) <= 0:
        if head[FRONTIER] == 0:
            if not begin_growth(head):
                return 0
        elif not move_lines(SHARE * LINES_PER_INSERT, head, index, scratch):
            return 0
    calm = until_growth(head)
    return min(BLOCK, head[ROW_CAPACITY] - head[LIVE], calm if calm > 0 else SHARE)
