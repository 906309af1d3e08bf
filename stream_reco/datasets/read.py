"""Files of named columns (Parquet, and text with a separator, both also under gzip) as Arrow columns.

The kind of a file is read from its first bytes; a name that contradicts them is an error.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet

from stream_reco.datasets.arrays import one_array
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError, shortened
from stream_reco.datasets.frame import Frame, chosen_columns
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.row_ids import row_ids
from stream_reco.datasets.text_file import columns_in, read_text

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_NAMED_TEXT, _NAMED_PARQUET = {".csv", ".tsv", ".tab", ".txt", ".jsonl", ".ndjson", ".json"}, {".parquet", ".pq"}
# What Arrow raises over damaged bytes: names that are not UTF-8 and sizes that no memory holds come as Python's own.
_UNREADABLE = (pa.ArrowException, OSError, ValueError, MemoryError)
AS_IT_IS: Final = Reading()
"""Files of which nothing is said."""


def read_bytes(path: Path, encoding: str | None = None) -> bytes:
    """Return the whole content of a file, unpacked if it is gzip, and as UTF-8 if it is text in another `encoding`.

    Raises `DatasetError` if it cannot be had.
    """
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
    return data if encoding is None else _as_utf8(path, data, encoding)


def _as_utf8(path: Path, data: bytes, encoding: str) -> bytes:
    if data[:4] == _PARQUET:
        raise DatasetError(path, "--encoding is for text", "its content is Parquet", "Leave it out.")
    try:
        return data.decode(encoding).encode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        why = f"line {line}: {error.reason} at the bytes {shortened(data[error.start : error.start + 8])}"
        raise DatasetError(path, f"cannot read it as {encoding}", why, "Name another encoding.") from error
    except LookupError as error:
        fix = "Name one that Python knows, such as latin-1, cp1252 or utf-16."
        raise DatasetError(path, "cannot read the log", str(error), fix) from error


def _unpacked(path: Path, data: bytes) -> bytes:
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fix = "It is truncated or damaged: fetch it again."
        raise DatasetError(path, "cannot unpack the gzip file", str(error), fix) from error


def read_frame(
    path: Path,
    wanted: Sequence[str],
    dead: DeadLetters,
    reading: Reading = AS_IT_IS,
    *,
    rest: bool = False,
    names: Sequence[str] = (),
) -> Frame:
    """Read the `wanted` columns, and the `rest` of them if asked for, of a Parquet or separated text file.

    `names` are the columns of a text file that has no header; if all that is wanted is named by place (`#1`), there is
    none either. Rows with too few or too many cells become dead letters `schema`, those that are not UTF-8 `encoding`.
    Raises `DatasetError` for anything that is no such file, and for missing columns, naming those there are.
    """
    data = read_bytes(path, reading.encoding)
    suffix = Path(path.name.removesuffix(".gz")).suffix.lower()
    if data[:4] == _PARQUET:
        if suffix in _NAMED_TEXT:
            raise DatasetError(path, f"named {suffix}", "its content is Parquet", "Rename it to .parquet.")
        return _read_parquet(path, data, wanted, reading, rest=rest)
    if suffix in _NAMED_PARQUET:
        why = f"its content is not Parquet, it starts with {shortened(data[:24])}"
        fix = "If it is text, rename it to .csv or .tsv; else fetch it again."
        raise DatasetError(path, f"named {suffix}", why, fix)
    return read_text(path, data, wanted, dead, reading, rest=rest, names=names)


def columns_of(path: Path, reading: Reading = AS_IT_IS) -> list[str]:
    """Return the names of a file's columns, for errors that list them and formats that have two styles of names."""
    data = read_bytes(path, reading.encoding)
    if data[:4] != _PARQUET:
        return columns_in(path, data, reading)
    try:
        return list(pa.parquet.read_schema(pa.BufferReader(data)).names)
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DatasetError:
    why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DatasetError(
        path, "cannot read the Parquet file", why, "It is truncated or damaged: fetch or export it again."
    )


def _read_parquet(path: Path, data: bytes, wanted: Sequence[str], reading: Reading, *, rest: bool) -> Frame:
    try:
        file = pa.parquet.ParquetFile(pa.BufferReader(data))
        there = file.schema_arrow.names
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    chosen = chosen_columns(path, wanted, there, rest=rest)
    try:
        columns = [one_array(column) for column in file.read().columns]
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
    kept: dict[str, Any] = {name: columns[there.index(name)] for name in chosen}
    if not len(columns[0]):
        raise DatasetError(path, "cannot read the log", "it has no rows", "Fetch or export it again.")
    return Frame(path, kept, None, row_ids(there, columns), typed=True, reading=reading)
