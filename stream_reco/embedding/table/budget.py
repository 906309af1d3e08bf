"""How many rows a table may have so that all it allocates stays within a number of bytes."""

from stream_reco.embedding.kernels.growth import (
    GROWTH_DENOMINATOR,
    GROWTH_NUMERATOR,
    LINES_PER_INSERT,
    SHARE,
    lines_for,
)
from stream_reco.embedding.kernels.index import MIN_LINES, SPARE_LINES
from stream_reco.embedding.kernels.slabs import Pages, allocated, slabs_until
from stream_reco.embedding.table.row_store import LAST_ROW, RowStore, bytes_beside_pages


class _Growth:
    """The bytes of a `Pages` that grows as that does, without its memory."""

    def __init__(self, like: Pages) -> None:
        self.page_bytes, self.shift = like.page_bytes, like.shift
        self.count, self.slabs = 0, 0

    @property
    def nbytes(self) -> int:
        # The list of addresses doubles.
        return self.slabs + 16 * max(16, self.count)

    def grow_to(self, items: int) -> None:
        for pages in slabs_until(-(-items >> self.shift), self.count, self.page_bytes):
            self.slabs += allocated(pages * self.page_bytes)
            self.count += pages


def rows_within(store: RowStore, budget: int) -> int:
    """The most rows for which index, rows and what is kept with them never take more than `budget` bytes; 0: none.

    `store` is a new one of the same layout.
    """
    data, meta, index = _Growth(store.data), _Growth(store.meta), _Growth(store.index)
    fit = 0
    while fit < LAST_ROW:
        data.grow_to((data.count << data.shift) + 1)
        rows = data.count << data.shift
        meta.grow_to(rows)
        # The last growth may go a step further than is needed, and all that is moved in one run behind the last line.
        lines = max(MIN_LINES, int(lines_for(rows))) * GROWTH_NUMERATOR // GROWTH_DENOMINATOR
        index.grow_to(lines + 4 * SPARE_LINES + SHARE * LINES_PER_INSERT)
        if data.nbytes + meta.nbytes + index.nbytes + bytes_beside_pages(rows, meta.count) > budget:
            break
        fit = rows
    return min(fit, LAST_ROW)
