"""At which line of a text file a row begins, counted from 1; found only where somebody asks, for bad rows are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray


class TextLines:
    """The lines of a file's records, which are its rows and its header, numbered from 0, blank lines left out.

    `records` int64[n] are those of the n rows whose cells are in `columns` (Arrow arrays of bytes), `broken` has the
    text of others: only cells with ends of lines in them make a record longer than a line. The first row that is not
    the header is record `first`, 0 or 1.
    """

    def __init__(
        self, data: bytes, records: NDArray[np.int64], first: int, columns: Sequence[Any], broken: Mapping[int, str]
    ) -> None:
        self._data, self.records, self.first = data, records, first
        self._columns, self._broken = columns, broken

    def at(self, record: int) -> int:
        """Return the line at which this record begins, from 1."""
        return int(self._starts[record])

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """int64[records]."""
        end = b"\n" if b"\n" in self._data else b"\r"
        count = 1 + max([*self._broken, int(self.records.max(initial=0))])
        lines = self._data.count(end) + (not self._data.endswith(end))
        if lines == count:
            return np.arange(1, count + 1)
        taken = 1 + self._ends_within(end, count)
        starts = np.empty(count, dtype=np.int64)
        line, numbered = 0, enumerate(self._data.split(end), start=1)
        for record in range(count):
            line = next((number for number, text in numbered if text not in (b"", b"\r")), line + 1)
            starts[record] = line
            for _ in islice(numbered, int(taken[record]) - 1):
                pass
        return starts

    def _ends_within(self, end: bytes, count: int) -> NDArray[np.int64]:
        """Return int64[count]: how many ends of lines each record holds. The header's cells are taken to hold none."""
        within = np.zeros(count, dtype=np.int64)
        for column in self._columns:
            within[self.records] += pc.count_substring(column, pattern=end).to_numpy(zero_copy_only=False)
        for record, text in self._broken.items():
            within[record] = text.count(end.decode())
        return within
