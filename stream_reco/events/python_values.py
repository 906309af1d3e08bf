"""What Python programs have, as JSON has it: NumPy's numbers, datetimes, rows of tables."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import numpy as np

from stream_reco.events.schema import Id

_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_DEEPEST = 3
"""An event, an object in it, a list in that: what lies deeper is left as it stands, and no event may have it."""
_AS_THEY_ARE = frozenset({type(None), bool, int, float, str})
_NO_VALUE = frozenset({"NaTType", "NAType"})
"""The types of pandas' values for what is missing; pandas itself is not needed for them to be known."""
_ACTION = {"type": "action"}
_CLICK = _ACTION | {"action": "click"}
AnyId = Id | np.integer[Any] | UUID
"""What becomes an id."""


class ArrowTable(Protocol):
    """A table that others can read: of pyarrow, pandas, polars and others."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


def plain(value: Any, depth: int = _DEEPEST) -> Any:
    """A value as JSON has it; what is nothing of the kind stays as it is.

    NumPy's scalars and arrays, Decimal, UUID, and subclasses of str and int become what they stand for; times become
    milliseconds since the epoch, those without a time zone taken as UTC; pandas' NaT and NA become NaN.
    """
    if type(value) in _AS_THEY_ARE:
        return value
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _plain_parts(value, depth - 1) if depth else value
    return _plain_scalar(value)


def _plain_parts(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {plain(name, 0): plain(part, depth) for name, part in value.items()}
    return [plain(part, depth) for part in value]


def _plain_scalar(value: Any) -> Any:
    if type(value).__name__ in _NO_VALUE:
        return math.nan
    if isinstance(value, np.datetime64):
        return math.nan if np.isnat(value) else int(value.astype("datetime64[ms]").astype(np.int64))
    if isinstance(value, date):
        return milliseconds(value)
    for kinds, to in ((np.bool_, bool), ((int, np.integer), int), ((float, np.floating, Decimal), float)):
        if isinstance(value, kinds):
            return to(value)
    if isinstance(value, str):
        return str.__str__(value)
    return str(value) if isinstance(value, UUID) else value


def milliseconds(at: date) -> int:
    """A date or a time as ms since the epoch; without a time zone it is UTC, as in the files that are read."""
    if not isinstance(at, datetime):
        at = datetime(at.year, at.month, at.day)
    return int(((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND)


def table_rows(given: object) -> Iterator[dict[str, Any]] | None:
    """The rows of a table as objects without the fields that are missing in them; None where it is no table.

    A cell is missing that is None, NaN, NaT or NA. Without a column `type` every row is an action, and without a column
    `action` besides it is a click.
    """
    columns = _columns(given)
    if columns is None:
        return None
    always = {} if "type" in columns else _ACTION if "action" in columns else _CLICK
    return (always | row for row in _rows(columns))


def _columns(given: object) -> dict[str, list[Any]] | None:
    pandas = sys.modules.get("pandas")  # nobody has one of its tables who has not imported it
    if pandas is not None and isinstance(given, pandas.DataFrame):
        return {str(name): given.iloc[:, place].tolist() for place, name in enumerate(given.columns)}
    if hasattr(given, "__arrow_c_stream__"):
        import pyarrow as pa

        table = pa.table(given)
        return {name: _arrow_values(column) for name, column in zip(table.column_names, table.columns, strict=True)}
    return None


def _arrow_values(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("ms", column.type.tz), safe=False).cast(pa.int64())
    values: list[Any] = column.to_pylist()
    return values


def _rows(columns: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    for cells in zip(*columns.values(), strict=True):
        row = {name: plain(cell, _DEEPEST - 1) for name, cell in zip(columns, cells, strict=True)}
        yield {name: cell for name, cell in row.items() if cell is not None and cell == cell}
