"""Checked columns as actions, impressions and announcements of items and users."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.datasets.layout import Checked
from stream_reco.events import Action, Event, Impression


class ActionRows:
    """Every row is one action; `kind` names it where the file has no column for that.

    `suffix` distinguishes the generated event ids of two events of one row.
    """

    def __init__(self, checked: Checked, kind: str, *, suffix: str = "") -> None:
        self._checked, self._kind, self._suffix = checked, kind, suffix

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event times in ms."""
        return self._checked.times

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the actions with these indices."""
        checked = self._checked
        made = zip(
            _event_ids(checked, rows, self._suffix),
            *(_picked(checked, name, rows) for name in ("user_id", "item_id", "request_id", "group_id", "value")),
            checked.fields["action"].pick(rows) if "action" in checked.fields else [self._kind] * len(rows),
            checked.times[rows].tolist(),
            _contexts(checked, rows),
            strict=True,
        )
        return [
            Action(
                event_id=event_id,
                user_id=user,
                item_id=item,
                request_id=request,
                group_id=group,
                value=value,
                action=action,
                timestamp=at,
                context=context,
            )
            for event_id, user, item, request, group, value, action, at, context in made
        ]


class ImpressionRows:
    """Every row is one item shown to one user."""

    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event times in ms."""
        return self._checked.times

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the impressions with these indices."""
        checked = self._checked
        names = ("user_id", "item_id", "request_id", "group_id", "position", "propensity")
        made = zip(
            _event_ids(checked, rows, ""),
            *(_picked(checked, name, rows) for name in names),
            checked.times[rows].tolist(),
            _contexts(checked, rows),
            strict=True,
        )
        return [
            Impression(
                event_id=event_id,
                user_id=user,
                item_id=item,
                request_id=request,
                group_id=group,
                position=position,
                propensity=propensity,
                timestamp=at,
                context=context,
            )
            for event_id, user, item, request, group, position, propensity, at, context in made
        ]


class ListedRows:
    """Events that are few enough to be made at once, such as a catalogue."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._times = np.array([event.timestamp for event in events], dtype=np.int64)

    @property
    def times(self) -> NDArray[np.int64]:
        """Return int64[n]: the event times in ms."""
        return self._times

    def build(self, rows: NDArray[np.int64]) -> list[Event]:
        """Return the events with these indices."""
        return [self._events[row] for row in rows.tolist()]


def _picked(checked: Checked, name: str, rows: NDArray[np.int64]) -> list[Any]:
    column = checked.fields.get(name)
    return [None] * len(rows) if column is None else column.pick(rows)


def _event_ids(checked: Checked, rows: NDArray[np.int64], suffix: str) -> list[Any]:
    made = checked.ids.names(rows, suffix)
    if "event_id" not in checked.fields:
        return made
    own = checked.fields["event_id"].pick(rows)
    return [name if event_id is None else event_id for event_id, name in zip(own, made, strict=True)]


def _contexts(checked: Checked, rows: NDArray[np.int64]) -> list[dict[str, Any] | None]:
    if not checked.context:
        return [None] * len(rows)
    names = list(checked.context)
    picked = (column.pick(rows) for column in checked.context.values())
    return [dict(zip(names, values, strict=True)) for values in zip(*picked, strict=True)]
