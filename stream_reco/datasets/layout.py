"""Which columns of a file mean what, and the vectorised check that separates invalid rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets import columns as cells
from stream_reco.datasets.columns import Column, ColumnTypeError
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError, shortened
from stream_reco.datasets.frame import Frame
from stream_reco.datasets.ids import ids, mixture, optional_ids
from stream_reco.datasets.row_ids import RowIds
from stream_reco.datasets.times import Bound, TimeUnitError, order_as_time, to_milliseconds
from stream_reco.events.schema import MAX_ID_BYTES, MAX_TEXT

_Parts = TypeVar("_Parts")
_NO_ID = {"int": ", which is no 64-bit integer (--id-type int)"}


@dataclass(frozen=True)
class Layout:
    """The columns of one file. What is None has no column; `context` maps names in the event to columns.

    `timestamp` is None where the order of the rows stands for time.
    `categories`: names in the context whose numbers are names of things, and so become text.
    """

    user: str
    item: str
    timestamp: str | None
    time_unit: str | None = None
    action: str | None = None
    value: str | None = None
    event_id: str | None = None
    request_id: str | None = None
    group_id: str | None = None
    position: str | None = None
    propensity: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    categories: frozenset[str] = frozenset()

    def wanted(self) -> list[str]:
        """Return the names of all columns that are named here."""
        single = (self.user, self.item, self.timestamp, self.action, self.value, self.event_id)
        more = (self.request_id, self.group_id, self.position, self.propensity)
        return [name for name in (*single, *more, *self.context.values()) if name is not None]


@dataclass(frozen=True)
class Checked:
    """The m good rows of a frame, in its order: `rows` int64[m] which they are, `times` int64[m] ms, their columns."""

    rows: NDArray[np.int64]
    ids: RowIds
    times: NDArray[np.int64]
    fields: dict[str, Column]
    context: dict[str, Column]

    def subset(self, rows: NDArray[np.int64], times: NDArray[np.int64]) -> Checked:
        """Return some of the rows, under other times."""
        fields = {name: column.take(rows) for name, column in self.fields.items()}
        context = {name: column.take(rows) for name, column in self.context.items()}
        return Checked(self.rows[rows], self.ids.take(rows), times, fields, context)


class Sieve:
    """Holds which rows of a frame are still good; the first reason against a row is the one that counts."""

    def __init__(self, frame: Frame, dead: DeadLetters) -> None:
        self.frame, self.dead = frame, dead
        self._good: NDArray[np.bool_] = np.ones(frame.count, dtype=np.bool_)

    def drop(self, reason: str, bad: NDArray[np.bool_], column: str, why: str = "") -> None:
        """Send the bad[n] rows to the dead letters; `column` is shown as what was wrong, with `why` behind it."""
        fresh = np.flatnonzero(bad & self._good)
        array = self.frame.columns[column]
        self._good[fresh] = False
        self.dead.add_rows(
            reason,
            self.frame.name,
            len(fresh),
            lambda i: self.frame.line_of(int(fresh[i])),
            lambda i: f"{column} is {shortened(array[int(fresh[i])].as_py())}{why}",
        )

    def kept(self) -> NDArray[np.int64]:
        """Return the indices of the rows that are good."""
        return np.flatnonzero(self._good)


def check(frame: Frame, layout: Layout, bound: Bound, dead: DeadLetters) -> Checked:
    """Check every row of `frame` and return the good ones, in the file's order.

    Bad rows go to `dead` as `id`, `timestamp`, `value` or `schema`; a column of a hopeless type raises `DatasetError`.
    """
    sieve = Sieve(frame, dead)
    fields: dict[str, Column] = {}
    _check_ids(frame, layout, sieve, fields)
    times = _check_times(frame, layout, bound, sieve)
    _check_numbers(frame, layout, sieve, fields)
    if layout.action is not None:
        fields["action"] = _context(frame, layout.action, "action", as_text=True)
        sieve.drop("schema", fields["action"].missing(), layout.action)
        sieve.drop("too_large", fields["action"].longer_than(MAX_ID_BYTES), layout.action)
    context: dict[str, Column] = {}
    for name, column in layout.context.items():
        context[name] = _context(frame, column, "context", as_text=name in layout.categories)
        sieve.drop("too_large", context[name].longer_than(MAX_TEXT), column)
    kept = sieve.kept()
    return Checked(np.arange(frame.count), frame.ids, times, fields, context).subset(kept, times[kept])


def times_of(frame: Frame, column: str, unit: str | None) -> NDArray[np.int64]:
    """Return int64[n] ms of a frame's column of times, the lowest int64 where it holds none."""
    try:
        return to_milliseconds(frame.columns[column], unit, frame.reading.time_format)
    except TimeUnitError as error:
        fix = (
            "Give the unit with --time-unit s|ms|us|iso or the form with --time-format, such as '%m/%d/%Y %I:%M:%S %p',"
            " or name another column."
        )
        raise DatasetError(frame.path, f"cannot read {column!r} as times", str(error), fix) from error


def _check_times(frame: Frame, layout: Layout, bound: Bound, sieve: Sieve) -> NDArray[np.int64]:
    if layout.timestamp is None:
        return order_as_time(frame.places())
    times = times_of(frame, layout.timestamp, layout.time_unit)
    sieve.drop("timestamp", bound.broken_by(times), layout.timestamp)
    return times


def _check_ids(frame: Frame, layout: Layout, sieve: Sieve, fields: dict[str, Column]) -> None:
    for name, column in (("user_id", layout.user), ("item_id", layout.item)):
        fields[name], bad = _read(frame, column, name, ids)
        _name_mixture(frame, column, fields[name], bad, sieve)
        sieve.drop("id", bad, column, _NO_ID.get(frame.reading.id_type, ""))
    optional = {"event_id": layout.event_id, "request_id": layout.request_id, "group_id": layout.group_id}
    for name, maybe in optional.items():
        if maybe is not None:
            fields[name], bad = _read(frame, maybe, name, optional_ids)
            _name_mixture(frame, maybe, fields[name], bad, sieve)
            sieve.drop("id", bad, maybe, _NO_ID.get(frame.reading.id_type, ""))


def _name_mixture(frame: Frame, column: str, read: Column, bad: NDArray[np.bool_], sieve: Sieve) -> None:
    found = mixture(read, bad)
    if found is not None:
        integers, texts, first = found
        sieve.dead.notes.append(
            f"{frame.name}: ids in {column} are of two types, {integers:,} integers and {texts:,} texts such as"
            f" {shortened(first)}; 5 and '5' are different ids: --id-type int or text makes all of one type"
        )


def _check_numbers(frame: Frame, layout: Layout, sieve: Sieve, fields: dict[str, Column]) -> None:
    wanted = {"value": layout.value, "position": layout.position, "propensity": layout.propensity}
    readers = {"value": cells.numbers, "position": cells.positions, "propensity": cells.propensities}
    for name, column in wanted.items():
        if column is not None:
            fields[name], bad = _read(frame, column, name, readers[name])
            sieve.drop("value", bad, column)


def _context(frame: Frame, column: str, role: str, *, as_text: bool) -> Column:
    (read,) = _read(frame, column, role, lambda array, rules: (cells.context(array, rules),))
    return read.as_text() if as_text else read


def _read(frame: Frame, column: str, role: str, reader: Callable[..., _Parts]) -> _Parts:
    try:
        return reader(frame.columns[column], frame.rules)
    except ColumnTypeError as error:
        fix = "Name another column, or export this one as text or integers."
        raise DatasetError(frame.path, f"cannot read {column!r} as {role}", str(error), fix) from error
