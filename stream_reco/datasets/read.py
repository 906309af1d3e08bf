"""Files of named columns (Parquet, and text with a separator, both also under gzip) as Arrow columns.

The kind of a file is read from its first bytes; a name that contradicts them is an error.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from stream_reco.datasets.arrays import one_array
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError, shortened

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_SEPARATORS = (",", "\t", ";", "|")
_NAMED_TEXT, _NAMED_PARQUET = {".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json"}, {".parquet", ".pq"}
# A quoted cell may hold newlines, so a row must fit a block.
_BLOCK_BYTES = 16 << 20
# What Arrow raises over damaged bytes: names that are not UTF-8 and sizes that no memory holds come as Python's own.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError)
_END_OF_LINE = re.compile(rb"[\r\n]")


@dataclass(frozen=True)
class Frame:
    """Columns of a file as it holds them.

    `columns`: Arrow arrays of n rows each; text of a CSV is `binary`. `rows`: int64[n], the number of each row in
    the file, from 0, header not counted. `typed`: the file itself says which type a column has (Parquet).
    """

    path: Path
    columns: dict[str, Any]
    rows: NDArray[np.int64]
    typed: bool

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name


def read_bytes(path: Path) -> bytes:
    """Return the whole content of a file, unpacked if it is gzip; raise `DatasetError` if it cannot be had."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        raise DatasetError(path, "cannot read the log", "it is a folder", "Name a file in it.") from None
    except FileNotFoundError:
        raise DatasetError(path, "cannot read the log", "there is no such file", "Check the path.") from None
    except OSError as error:
        why = error.strerror or str(error)
        raise DatasetError(path, "cannot read the log", why, "Check the path and its permissions.") from error
    if data[:2] == _GZIP:
        data = _unpacked(path, data)
    elif path.suffix == ".gz" and data:
        raise DatasetError(
            path, "named .gz", f"it is not gzip, it starts with {shortened(data[:16])}", "Rename it or fetch it again."
        )
    if not data.strip():
        raise DatasetError(path, "cannot read the log", "the file is empty", "Fetch or export it again.")
    return data


def _unpacked(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fix = "It is truncated or damaged: fetch it again."
        raise DatasetError(path, "cannot unpack the gzip file", str(error), fix) from error


def read_frame(
    path: Path, wanted: Sequence[str], dead: DeadLetters, *, rest: bool = False, names: Sequence[str] = ()
) -> Frame:
    """Read the `wanted` columns, and the `rest` of them if asked for, of a Parquet or separated text file.

    `names` are the columns of a text file that has no header. Rows with too few or too many cells become dead letters
    `schema`. Raises `DatasetError` for anything that is no such file, and for missing columns, naming those there are.
    """
    data = read_bytes(path)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if data[:4] == _PARQUET:
        if suffix in _NAMED_TEXT:
            raise DatasetError(path, f"named {suffix}", "its content is Parquet", "Rename it to .parquet.")
        return _read_parquet(path, data, wanted, rest=rest)
    if suffix in _NAMED_PARQUET:
        why = f"its content is not Parquet, it starts with {shortened(data[:24])}"
        fix = "If it is text, rename it to .csv or .tsv; else fetch it again."
        raise DatasetError(path, f"named {suffix}", why, fix)
    return _read_text(path, data, wanted, dead, rest=rest, names=names)


def columns_of(path: Path) -> list[str]:
    """Return the names of a file's columns, for errors that list them and formats that have two styles of names."""
    data = read_bytes(path)
    if data[:4] != _PARQUET:
        return _separator(_header(path, data), (), headless=False)[1]
    try:
        return list(pa.parquet.read_schema(pa.BufferReader(data)).names)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    fix = "It is truncated or damaged: fetch or export it again."
    return DatasetError(path, "cannot read the Parquet file", _first_line(error), fix)


def _read_parquet(path: Path, data: bytes, wanted: Sequence[str], *, rest: bool) -> Frame:
    try:
        file = pa.parquet.ParquetFile(pa.BufferReader(data))
        there = file.schema_arrow.names
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    chosen = _chosen(path, wanted, there, rest=rest)
    try:
        table = file.read(columns=chosen)
        columns = {name: one_array(table.column(name)) for name in chosen}
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    return _frame(path, columns, np.arange(table.num_rows, dtype=np.int64), typed=True)


def _read_text(
    path: Path, data: bytes, wanted: Sequence[str], dead: DeadLetters, *, rest: bool, names: Sequence[str]
) -> Frame:
    if b"\0" in data[:4096]:
        why = f"it starts with {shortened(data[:16])}"
        raise DatasetError(path, "neither text in UTF-8 nor Parquet", why, "Export it as UTF-8 CSV or as Parquet.")
    header = _header(path, data)
    try:
        separator, there = _separator(header, list(names) or wanted, headless=bool(names))
    except csv.Error as error:
        fix = "If it is a table, its first line holds the names of its columns."
        raise DatasetError(path, "cannot read the header", str(error), fix) from error
    there = list(names) or there
    chosen = _chosen(path, wanted, there, rest=rest)
    broken: list[Any] = []
    try:
        table = _parse(data, separator, names, chosen, broken)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        fix = "Check its quotes and lines."
        raise DatasetError(path, "cannot read the text file", _first_line(error), fix) from error
    first_line = 1 if names else 2
    bad = np.array([row.number - first_line for row in broken], dtype=np.int64)
    rows = np.delete(np.arange(table.num_rows + len(bad), dtype=np.int64), bad[bad < table.num_rows + len(bad)])
    if broken and not len(rows):
        why = f"no row is like its header, the first: {_miscounted(broken[0])}"
        raise DatasetError(path, "cannot read the log", why, "Check its header, separators and quotes.")
    dead.add_rows("schema", path.name, bad, lambda i: _miscounted(broken[i]))
    return _frame(path, {name: one_array(table.column(name)) for name in chosen}, rows, typed=False)


def _miscounted(row: Any) -> str:
    return f"{row.actual_columns} cells instead of {row.expected_columns}: {shortened(row.text)}"


def _parse(data: bytes, separator: str, names: Sequence[str], chosen: Sequence[str], broken: list[Any]) -> Any:
    def skip(row: Any) -> str:
        broken.append(row)
        return "skip"

    # On one thread alone do bad rows come with their numbers. Cells stay bytes, so that one that is not UTF-8 spoils
    # only its own row.
    return pa.csv.read_csv(
        pa.BufferReader(data),
        read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=list(names) or None),
        parse_options=pa.csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=skip),
        convert_options=pa.csv.ConvertOptions(
            include_columns=list(chosen),
            column_types=dict.fromkeys(chosen, pa.binary()),
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )


def _header(path: Path, data: bytes) -> str:
    line = _END_OF_LINE.split(data.lstrip(b"\r\n"), maxsplit=1)[0]
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(path, "cannot read the header", str(error), "Export the file as UTF-8.") from error


def _separator(header: str, wanted: Sequence[str], *, headless: bool) -> tuple[str, list[str]]:
    """Choose the separator under which most of the wanted columns appear in the first line, or most cells."""
    cells = {separator: next(csv.reader([header], delimiter=separator), []) for separator in _SEPARATORS}

    def fit(separator: str) -> tuple[int, int]:
        there = cells[separator]
        return (-abs(len(there) - len(wanted)) if headless else len(set(wanted) & set(there)), len(there))

    best = max(_SEPARATORS, key=fit)
    return best, cells[best]


def _chosen(path: Path, wanted: Sequence[str], there: Sequence[str], *, rest: bool) -> list[str]:
    missing = [name for name in wanted if name not in there]
    if missing:
        why = f"there is no column {', '.join(map(repr, missing))}"
        raise DatasetError(path, "cannot read the log", why, f"Its columns are: {', '.join(map(repr, there[:60]))}.")
    chosen = list(dict.fromkeys([*wanted, *(there if rest else ())]))
    twice = [name for name in chosen if list(there).count(name) > 1]
    if twice:
        raise DatasetError(path, "cannot read the log", f"two columns are called {twice[0]!r}", "Rename one of them.")
    return chosen


def _frame(path: Path, columns: dict[str, Any], rows: NDArray[np.int64], *, typed: bool) -> Frame:
    if not len(rows):
        raise DatasetError(path, "cannot read the log", "it has no rows", "Fetch or export it again.")
    return Frame(path, columns, rows, typed)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
