"""Any log that is a table with a user, an item and a time in every row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.layout import Layout, check
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import columns_of, read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.rows import ActionRows
from stream_reco.datasets.text_file import place_of
from stream_reco.datasets.times import Bound

REQUIRED = ("user", "item", "timestamp")
"""`timestamp` only where the order of the rows does not stand for it."""
OPTIONAL = ("action", "value", "request_id", "event_id", "group_id", "context")
_ASK = (
    "Give --columns user=U,item=I,timestamp=T[,action=A,value=V,context=B+C]; in a file without a header, columns by"
    " their number: user=#1,item=#3,timestamp=#4"
)


def parse_columns(text: str, *, order_is_time: bool = False) -> dict[str, str]:
    """Read `user=U,item=I,timestamp=T[,…]` as a mapping of roles to columns; raises `ValueError` with what is wrong.

    Columns of a file without a header are given by their number, from 1: `user=#1`. `order_is_time`: there is no
    column of times.
    """
    columns: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        if not equals or not column:
            raise ValueError(f"--columns: {part!r} is not ROLE=COLUMN. {_ASK}")
        if role.strip() in columns:
            raise ValueError(f"--columns: {role.strip()!r} is given twice. {_ASK}")
        columns[role.strip()] = column
    check_roles(columns, order_is_time=order_is_time)
    return columns


def check_roles(columns: Mapping[str, str], *, order_is_time: bool = False) -> None:
    """Raise `ValueError` unless all required roles and no unknown ones are there, and all by name or all by number."""
    unknown = [role for role in columns if role not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        roles = ", ".join((*REQUIRED, *OPTIONAL))
        raise ValueError(f"--columns: unknown role {unknown[0]!r}; choose from {roles}. {_ASK}")
    missing = [role for role in REQUIRED if role not in columns and not (order_is_time and role == "timestamp")]
    if missing:
        fix = f"{_ASK}; for a file without times there is --order-is-time"
        raise ValueError(f"--columns: no column for {', '.join(missing)}. {fix if 'timestamp' in missing else _ASK}")
    if order_is_time and "timestamp" in columns:
        raise ValueError("--order-is-time is for files without times: leave timestamp out of --columns, or it out")
    names = [name for column in columns.values() for name in column.split("+")]
    by_number = [name for name in names if place_of(name)]
    if by_number and len(by_number) < len(names):
        other = next(name for name in names if not place_of(name))
        raise ValueError(
            f"--columns: {by_number[0]} is of a file without a header, which has no column {other!r}. {_ASK}"
        )


def load(path: Path, bound: Bound, reading: Reading, columns: Mapping[str, str] | None, time_unit: str | None) -> Log:
    """Every row as an action, of the kind in the column `action`, else `click`.

    `columns` maps roles to columns; several columns of `context` are joined by `+`. Raises `DatasetError`.
    """
    if columns is None:
        fix = f"{_ASK}; its columns are {', '.join(map(repr, columns_of(path, reading)[:60]))}."
        raise DatasetError(path, "cannot read the table", "the roles of its columns are not given", fix)
    try:
        check_roles(columns, order_is_time=reading.order_is_time)
    except ValueError as error:
        fix = f"Its columns are: {', '.join(map(repr, columns_of(path, reading)[:60]))}."
        raise DatasetError(path, "cannot read the table", str(error).rstrip("."), fix) from error
    layout = _layout(columns, time_unit)
    dead = DeadLetters()
    checked = check(read_frame(path, layout.wanted(), dead, reading), layout, bound, dead)
    return Log(path.name, [ActionRows(checked, "click")], dead)


def _layout(columns: Mapping[str, str], time_unit: str | None) -> Layout:
    context = columns.get("context", "")
    return Layout(
        user=columns["user"],
        item=columns["item"],
        timestamp=columns.get("timestamp"),
        time_unit=time_unit,
        action=columns.get("action"),
        value=columns.get("value"),
        request_id=columns.get("request_id"),
        event_id=columns.get("event_id"),
        group_id=columns.get("group_id"),
        context={name: name for name in context.split("+") if name},
    )
