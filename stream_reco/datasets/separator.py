"""Which separator a text file has, and how many columns: from its first lines."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from stream_reco.datasets.errors import DatasetError

_SEPARATORS: Final = (",", "\t", ";", "|", "::")
_REGULAR = 0.8
"""The share of the first lines that must have the same number of cells."""


def cells_of(line: str, separator: str) -> list[str]:
    """Return the cells of one line; a separator of several characters knows no quotes. Raises `csv.Error`."""
    if len(separator) > 1:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def by_header(header: str, wanted: Sequence[str]) -> str:
    """Return the separator under which most of the wanted columns appear in the header, or most cells."""

    def fit(separator: str) -> tuple[int, int]:
        there = cells_of(header, separator)
        return len(set(wanted) & set(there)), len(there)

    return max(_SEPARATORS, key=fit)


def by_lines(path: Path, lines: Sequence[str], least: int) -> str:
    """Return the one separator that cuts nearly all lines into the same number of cells, `least` or more.

    Raises `DatasetError` where none does, or more than one.
    """
    fits = {separator: found for separator in _SEPARATORS if (found := _width(lines, separator)) >= max(2, least)}
    if len(fits) == 1:
        return next(iter(fits))
    which = f"{', '.join(map(repr, fits))} would all fit" if fits else f"none gives {least} cells in most lines"
    raise DatasetError(
        path,
        "cannot tell its separator from its first lines",
        which,
        "Give it with --separator, and count the columns in --columns from 1.",
    )


def _width(lines: Sequence[str], separator: str) -> int:
    """The number of cells that most lines have, 0 where the lines are too different."""
    try:
        widths = Counter(len(cells_of(line, separator)) for line in lines)
    except csv.Error:
        return 0
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return width if count >= _REGULAR * len(lines) else 0
