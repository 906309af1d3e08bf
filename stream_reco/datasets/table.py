"""Any log that is a table with a user, an item and a time in every row."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.layout import Layout, check
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import columns_of, read_frame
from stream_reco.datasets.rows import ActionRows
from stream_reco.datasets.times import Bound

REQUIRED = ("user", "item", "timestamp")
OPTIONAL = ("action", "value", "request_id", "event_id", "group_id", "context")
_ASK = "Give --columns user=U,item=I,timestamp=T[,action=A,value=V,context=B+C]"


def parse_columns(text: str) -> dict[str, str]:
    """Read `user=U,item=I,timestamp=T[,…]` as a mapping of roles to columns; raises `ValueError` with what is wrong."""
    columns: dict[str, str] = {}
    for part in text.split(","):
        role, equals, column = part.partition("=")
        if not equals or not column:
            raise ValueError(f"--columns: {part!r} is not ROLE=COLUMN. {_ASK}")
        if role.strip() in columns:
            raise ValueError(f"--columns: {role.strip()!r} is given twice. {_ASK}")
        columns[role.strip()] = column
    check_roles(columns)
    return columns


def check_roles(columns: Mapping[str, str]) -> None:
    """Raise `ValueError` unless all required roles and no unknown ones are there."""
    unknown = [role for role in columns if role not in (*REQUIRED, *OPTIONAL)]
    if unknown:
        roles = ", ".join((*REQUIRED, *OPTIONAL))
        raise ValueError(f"--columns: unknown role {unknown[0]!r}; choose from {roles}. {_ASK}")
    missing = [role for role in REQUIRED if role not in columns]
    if missing:
        raise ValueError(f"--columns: no column for {', '.join(missing)}. {_ASK}")


def load(path: Path, bound: Bound, columns: Mapping[str, str] | None, time_unit: str | None) -> Log:
    """Every row as an action, of the kind in the column `action`, else `click`.

    `columns` maps roles to columns; several columns of `context` are joined by `+`. Raises `DatasetError`.
    """
    if columns is None:
        fix = f"{_ASK}; its columns are {', '.join(map(repr, columns_of(path)[:60]))}."
        raise DatasetError(path, "cannot read the table", "the roles of its columns are not given", fix)
    try:
        check_roles(columns)
    except ValueError as error:
        fix = f"Its columns are: {', '.join(map(repr, columns_of(path)[:60]))}."
        raise DatasetError(path, "cannot read the table", str(error).rstrip("."), fix) from error
    layout = _layout(columns, time_unit)
    dead = DeadLetters()
    checked = check(read_frame(path, layout.wanted(), dead), layout, bound, dead)
    return Log(path.name, [ActionRows(checked, "click")], dead)


def _layout(columns: Mapping[str, str], time_unit: str | None) -> Layout:
    context = columns.get("context", "")
    return Layout(
        user=columns["user"],
        item=columns["item"],
        timestamp=columns["timestamp"],
        time_unit=time_unit,
        action=columns.get("action"),
        value=columns.get("value"),
        request_id=columns.get("request_id"),
        event_id=columns.get("event_id"),
        group_id=columns.get("group_id"),
        context={name: name for name in context.split("+") if name},
    )
