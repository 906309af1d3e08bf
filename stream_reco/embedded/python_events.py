"""What is given to `Engine.ingest`, as events: objects, dictionaries, rows of a table; and what is wrong with each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from stream_reco import metrics
from stream_reco.events import BadEvent, Event, check_time, validate
from stream_reco.events.decode import from_object
from stream_reco.events.field_names import FieldWarnings
from stream_reco.events.python_values import ArrowTable, plain, table_rows
from stream_reco.events.schema import KINDS
from stream_reco.serve.event_validation import MOST_DESCRIBED
from stream_reco.serve.service import Accepted, Rejection

Events = Iterable[Event | Mapping[str, Any]] | ArrowTable
"""Event objects and dictionaries with an event's fields, mixed as they come; or a table of pandas or Arrow."""
_EVENT_TYPES = frozenset(KINDS.values())


class PythonEvents:
    """One batch: the events in it, and the place of each in what was given."""

    def __init__(self, given: Events, now: int) -> None:
        """`now` (ms) is the time of dictionaries that have none. Raises TypeError where `given` is a single event."""
        self.events: Sequence[Event] = ()
        self._places: Sequence[int] = ()
        self._bad: list[tuple[int, BadEvent]] = []
        self._warnings = FieldWarnings()
        rows = table_rows(given)
        many = _listed(given) if rows is None else ()
        if rows is not None:
            self._convert(rows, None)
        elif _EVENT_TYPES.issuperset(map(type, many)):
            self.events, self._places = many, range(len(many))
        else:
            self._convert(many, now)

    def _convert(self, given: Iterable[Any], arrived_at: int | None) -> None:
        """`arrived_at` is None for tables: the time of a row that has lost its own is not the present."""
        events, places, columns = [], [], set[str]()
        for place, one in enumerate(given):
            try:
                if isinstance(one, Mapping):
                    obj = plain(one)
                    self._warnings.look(place, obj if arrived_at is not None else _new_columns(obj, columns))
                    events.append(from_object(obj, arrived_at))
                else:
                    events.append(one)  # what is no event at all is refused with the others
                places.append(place)
            except BadEvent as bad:
                self._bad.append((place, bad))
        self.events, self._places = events, places

    def raise_first(self, now: int, future_ms: int) -> None:
        """Raise BadEvent, with its index, for the first bad event; times are held to `now` + `future_ms`, in ms."""
        found = list(self._bad)
        for place, event in zip(self._places, self.events, strict=True):
            try:
                validate(event)
                check_time(event, now, future_ms)
            except BadEvent as bad:
                found.append((place, bad))
                break
        if found:
            place, first = min(found, key=lambda one: one[0])
            raised = BadEvent(first.reason, f"event {place}: {first}")
            raised.index = place
            raise raised

    def answer(self, taken: Accepted) -> Accepted:
        """What became of the batch, given what became of `events`; counts what never was an event."""
        rejected = [Rejection(self._places[one.index], one.reason, one.message) for one in taken.rejected]
        for place, bad in self._bad:
            metrics.EVENTS_REJECTED.labels(bad.reason).inc()
            rejected.append(Rejection(place, bad.reason, str(bad)))
        rejected.sort(key=lambda one: one.index)
        more = Counter(taken.rejected_more) + Counter(one.reason for one in rejected[MOST_DESCRIBED:])
        return msgspec.structs.replace(
            taken,
            rejected=rejected[:MOST_DESCRIBED],
            rejected_more=dict(more),
            warnings=tuple(self._warnings.described),
            warnings_more=self._warnings.more,
        )


def _new_columns(row: Mapping[str, object], columns: set[str]) -> Mapping[str, object]:
    """The row without the columns of rows before it: a column is warned of once, not once a row."""
    new = {name: cell for name, cell in row.items() if name == "type" or name not in columns}
    columns.update(row)
    return new


def _listed(given: Any) -> Sequence[Any]:
    if isinstance(given, str | bytes | Mapping) or type(given) in _EVENT_TYPES or not isinstance(given, Iterable):
        raise TypeError(f"ingest takes many events, not one {type(given).__name__}: wrap it in [ ]")
    return given if isinstance(given, list | tuple) else list(given)
