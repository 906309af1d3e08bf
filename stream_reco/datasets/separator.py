"""Which separator a text file has, and how many columns: from its first lines."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from stream_reco.datasets.errors import DatasetError

_SEPARATORS: Final = (",", "\t", ";", "|", "::")
_FIRST_ROWS = 50
_REGULAR = 0.8
"""The share of the first rows that must have the same number of cells."""


def has_quotes(separator: str) -> bool:
    """Whether quotes may enclose cells: only around a separator of one byte."""
    return len(separator.encode()) == 1


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line; a separator of several characters knows no quotes. Raises `csv.Error`."""
    if not has_quotes(separator):
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def by_header(header: str, wanted: Sequence[str]) -> str:
    """Return the separator under which most of the wanted columns appear in the header, or most cells."""

    def fit(separator: str) -> tuple[int, int]:
        there = cells_of(header, separator)
        return len(set(wanted) & set(there)), len(there)

    return max(_SEPARATORS, key=fit)


def by_lines(path: Path, start: str, least: int) -> str:
    """Return the one separator that cuts nearly all rows of a file's start into as many cells, `least` or more.

    Raises `DatasetError` where none does, or more than one.
    """
    fits = [separator for separator in _SEPARATORS if width_of(start, separator) >= max(2, least)]
    if len(fits) == 1:
        return fits[0]
    which = f"{', '.join(map(repr, fits))} would all fit" if fits else f"none gives {least} cells in most lines"
    fix = "Give it with --separator, and count the columns in --columns from 1."
    raise DatasetError(path, "cannot tell its separator from its first lines", which, fix)


def width_of(start: str, separator: str) -> int:
    """Return the number of cells that most rows of a file's start have, 0 where the rows are too different."""
    try:
        rows = [row for row in islice(_rows(start, separator), _FIRST_ROWS) if row not in ([], [""])]
    except csv.Error:
        return 0
    widths = Counter(map(len, rows))
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return width if count >= _REGULAR * len(rows) else 0


def _rows(start: str, separator: str) -> Iterator[list[str]]:
    if not has_quotes(separator):
        return (line.split(separator) for line in start.splitlines())
    return iter(csv.reader(io.StringIO(start, newline=""), delimiter=separator))
