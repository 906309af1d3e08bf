"""Text with a separator as Arrow columns; rows that do not fit the others become dead letters, by their lines."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from stream_reco.datasets.arrays import one_array
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError, shortened
from stream_reco.datasets.frame import Frame, chosen_columns
from stream_reco.datasets.lines import TextLines
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.row_ids import row_ids
from stream_reco.datasets.separator import by_header, by_lines, cells_of, has_quotes, width_of

# A quoted cell may hold newlines, so a row must fit a block.
_BLOCK_BYTES = 16 << 20
_START_BYTES = 1 << 16
_STAND_INS = (b"\x1f", b"\x1e", b"\x1d", b"\x1c", b"\x01", b"\x02")
"""Bytes that stand for a separator of several characters; control characters that text does not have."""
_BOM = b"\xef\xbb\xbf"


class _Broken(NamedTuple):
    """A record of a width that is not the header's."""

    record: int
    problem: str
    text: str


def read_text(
    path: Path,
    data: bytes,
    wanted: Sequence[str],
    dead: DeadLetters,
    reading: Reading,
    *,
    rest: bool,
    names: Sequence[str],
) -> Frame:
    """Read the columns as `read_frame` does; `data` is UTF-8, but for single cells perhaps."""
    data = data.removeprefix(_BOM)
    separator, there, headless = _columns(path, data, wanted, reading, names)
    chosen = chosen_columns(path, wanted, there, rest=rest)
    broken: list[_Broken] = []
    mangled = not _is_utf8(data)
    table = _parse(path, data, separator, len(there), broken, mangled=mangled)
    header = 0 if headless else 1
    columns = [_bytes_of(one_array(column), mangled) for column in table.slice(header).columns]
    bad = np.array([row.record for row in broken], dtype=np.int64)
    if header and 0 in bad:
        raise DatasetError(path, "cannot read the header", _miscounted(broken[0]), "Check its quotes.")
    records = np.delete(np.arange(table.num_rows + len(bad)), bad[bad < table.num_rows + len(bad)])[header:]
    if broken and not len(records):
        why = f"no row is like its header, the first: {_miscounted(broken[0])}"
        raise DatasetError(path, "cannot read the log", why, "Check its header, separators and quotes.")
    lines = TextLines(data, records, header, columns, {row.record: row.text for row in broken})
    dead.add_rows("schema", path.name, len(bad), lambda i: lines.at(int(bad[i])), lambda i: _miscounted(broken[i]))
    if not len(records):
        raise DatasetError(path, "cannot read the log", "it has no rows", "Fetch or export it again.")
    kept = {name: columns[there.index(name)] for name in chosen}
    return _in_utf8(Frame(path, kept, lines, row_ids(there, columns), typed=False, reading=reading), dead)


def columns_in(path: Path, data: bytes, reading: Reading) -> list[str]:
    """Return the names in the header."""
    header = _header(path, data.removeprefix(_BOM))
    return cells_of(header, reading.separator or by_header(header, ()))


def _columns(
    path: Path, data: bytes, wanted: Sequence[str], reading: Reading, names: Sequence[str]
) -> tuple[str, list[str], bool]:
    """Return the separator, the names of all columns, and whether these are not in the file."""
    if b"\0" in data[:4096]:
        why = f"it starts with {shortened(data[:16])}"
        fix = "Export it as UTF-8 CSV or as Parquet, or name its encoding with --encoding, such as utf-16."
        raise DatasetError(path, "neither text in UTF-8 nor Parquet", why, fix)
    start = data[:_START_BYTES].decode("utf-8", "replace")
    places = [place_of(name) for name in wanted]
    try:
        if names:
            return reading.separator or by_lines(path, start, len(names)), list(names), True
        if wanted and all(places):
            least = max(place or 0 for place in places)
            separator = reading.separator or by_lines(path, start, least)
            return separator, [f"#{place + 1}" for place in range(width_of(start, separator) or least)], True
        header = _header(path, data)
        separator = reading.separator or by_header(header, wanted)
        return separator, cells_of(header, separator), False
    except csv.Error as error:
        fix = "If it is a table, its first line holds the names of its columns."
        raise DatasetError(path, "cannot read the header", str(error), fix) from error


def place_of(name: str) -> int | None:
    """Return the number of a column that is named by its place, such as `#3`; None for other names."""
    return int(name[1:]) if re.fullmatch(r"#[1-9][0-9]{0,5}", name) else None


def _header(path: Path, data: bytes) -> str:
    line = re.split(rb"[\r\n]", data.lstrip(b"\r\n"), maxsplit=1)[0]
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        fix = "Name its encoding with --encoding, such as latin-1, or export the file as UTF-8."
        raise DatasetError(path, "cannot read the header, line 1", str(error), fix) from error


def _parse(path: Path, data: bytes, separator: str, width: int, broken: list[_Broken], *, mangled: bool) -> Any:
    """Return all records, the header included, as columns of bytes; those of another width go to `broken`."""

    delimiter = separator

    def skip(row: Any) -> str:
        text = row.text.replace(delimiter, separator)
        text = text.encode("latin-1").decode("utf-8", "replace") if mangled else text
        broken.append(_Broken(row.number - 1, f"{row.actual_columns} cells instead of {row.expected_columns}", text))
        return "skip"

    if not has_quotes(separator):
        stand_in = next((byte for byte in _STAND_INS if byte not in data), None)
        if stand_in is None:
            fix = "Export it with a separator of one character."
            raise DatasetError(path, f"cannot split at {separator!r}", "the file holds control characters", fix)
        data, delimiter = data.replace(separator.encode(), stand_in), stand_in.decode()
    if mangled:  # each byte as a character: Arrow gives up at a row of wrong width whose text it cannot decode
        data = data.decode("latin-1").encode()
    names = [str(place) for place in range(width)]
    try:
        # On one thread alone do bad rows come with their numbers. Cells stay bytes, so that one that is not UTF-8
        # spoils only its own row.
        return pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(use_threads=False, block_size=_BLOCK_BYTES, column_names=names),
            parse_options=pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if has_quotes(separator) else False,
                newlines_in_values=True,
                invalid_row_handler=skip,
            ),
            convert_options=pa.csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.binary()), strings_can_be_null=False, check_utf8=False
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise DatasetError(path, "cannot read the text file", why, "Check its quotes and lines.") from error


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _bytes_of(cells: Any, mangled: bool) -> Any:
    """Return the bytes of cells as the file has them."""
    return pa.array([cell.decode().encode("latin-1") for cell in cells.to_pylist()], pa.binary()) if mangled else cells


def _in_utf8(frame: Frame, dead: DeadLetters) -> Frame:
    """Columns of bytes as columns of text; rows with a cell that is none become dead letters `encoding`."""
    columns, bad = {}, np.zeros(frame.count, dtype=np.bool_)
    for name, array in frame.columns.items():
        try:
            columns[name] = array.cast(pa.string())
        except pa.ArrowInvalid:
            texts = [_text(cell) for cell in array.to_pylist()]
            wrong = np.array([cell is None for cell in texts], dtype=np.bool_)
            _report_bytes(frame, name, np.flatnonzero(wrong & ~bad), dead)
            bad |= wrong
            columns[name] = pa.array(texts, pa.string())
    whole = Frame(frame.path, columns, frame.lines, frame.ids, typed=False, reading=frame.reading)
    return whole.subset(np.flatnonzero(~bad)) if bad.any() else whole


def _report_bytes(frame: Frame, name: str, rows: NDArray[np.int64], dead: DeadLetters) -> None:
    encoding = "UTF-8: name the file's encoding with --encoding, such as latin-1"
    cells = frame.columns[name]
    dead.add_rows(
        "encoding",
        frame.name,
        len(rows),
        lambda i: frame.line_of(int(rows[i])),
        lambda i: f"{name} is {shortened(cells[int(rows[i])].as_py())}, which is not {encoding}",
    )


def _text(cell: bytes) -> str | None:
    try:
        return cell.decode()
    except UnicodeDecodeError:
        return None


def _miscounted(row: _Broken) -> str:
    return f"{row.problem}: {shortened(row.text)}"
