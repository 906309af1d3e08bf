"""Columns of one file, with what else is known of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.lines import TextLines
from stream_reco.datasets.reading import CellRules, Reading
from stream_reco.datasets.row_ids import RowIds


@dataclass(frozen=True)
class Frame:
    """n rows of a file as it holds them, but for those that are no rows.

    `columns`: Arrow arrays of n cells each. `lines`: where the rows of a text file begin; None in Parquet. `ids`: the
    identity of each row. `typed`: the file itself says which type a column has (Parquet).
    """

    path: Path
    columns: dict[str, Any]
    lines: TextLines | None
    ids: RowIds
    typed: bool
    reading: Reading
    kept: NDArray[np.int64] | None = None
    """int64[n]: which rows of those that were read these are; None for all."""

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values())))

    @property
    def rules(self) -> CellRules:
        """What cells mean."""
        return CellRules(self.typed, self.reading.id_type, self.reading.missing)

    def places(self) -> NDArray[np.int64]:
        """Return int64[n]: the place of each row among all of the file, from 0, the bad ones counted."""
        rows = np.arange(self.count) if self.kept is None else self.kept
        return rows if self.lines is None else self.lines.records[rows] - self.lines.first

    def line_of(self, row: int) -> int:
        """Return the line, from 1, at which a row begins; in Parquet the row's number, from 1."""
        row = row if self.kept is None else int(self.kept[row])
        return row + 1 if self.lines is None else self.lines.at(int(self.lines.records[row]))

    def subset(self, rows: NDArray[np.int64]) -> Frame:
        """Return some of the rows."""
        columns = {name: array.take(rows) for name, array in self.columns.items()}
        kept = rows if self.kept is None else self.kept[rows]
        return Frame(self.path, columns, self.lines, self.ids.take(rows), self.typed, self.reading, kept)

    def with_columns(self, columns: dict[str, Any]) -> Frame:
        """Return the same rows with these columns besides."""
        return Frame(self.path, {**self.columns, **columns}, self.lines, self.ids, self.typed, self.reading, self.kept)


def chosen_columns(path: Path, wanted: Sequence[str], there: Sequence[str], *, rest: bool) -> list[str]:
    """Return which of the columns that are there to keep; raises `DatasetError` where one is missing or there twice."""
    missing = [name for name in wanted if name not in there]
    if missing:
        why = f"there is no column {', '.join(map(repr, missing))}"
        raise DatasetError(path, "cannot read the log", why, f"Its columns are: {', '.join(map(repr, there[:60]))}.")
    chosen = list(dict.fromkeys([*wanted, *(there if rest else ())]))
    twice = [name for name in chosen if list(there).count(name) > 1]
    if twice:
        raise DatasetError(path, "cannot read the log", f"two columns are called {twice[0]!r}", "Rename one of them.")
    return chosen
