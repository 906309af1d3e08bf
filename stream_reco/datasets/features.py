"""Tables of item and user features, as item and user events."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stream_reco.datasets.columns import context
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import shortened
from stream_reco.datasets.frame import Frame
from stream_reco.datasets.ids import ids
from stream_reco.datasets.read import read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.events import BadEvent, Event, Id, ItemEvent, UserEvent, validate

Features = dict[str, Any]


def sibling(folder: Path, name: str) -> Path | None:
    """Return the file `name`, or the same under gzip, if the folder holds it."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)


def items_of(
    path: Path,
    id_column: str,
    start: int,
    dead: DeadLetters,
    reading: Reading,
    *,
    prefix: str = "",
    shape: Callable[[Features], Features] = dict,
) -> list[Event]:
    """Read a table of items as events at time `start` (ms); other columns become features through `shape`.

    `prefix` goes before every id and makes it text.
    """
    return [
        ItemEvent(item_id=f"{prefix}{id_}" if prefix else id_, timestamp=start, event_id=event_id, features=features)
        for id_, event_id, features in _described(path, id_column, dead, reading, shape)
    ]


def users_of(
    path: Path, id_column: str, starts: Mapping[Id, int], start: int, dead: DeadLetters, reading: Reading
) -> list[Event]:
    """Read a table of users as events; one is announced at `starts` (ms) where it is listed there, else at `start`."""
    return [
        UserEvent(user_id=id_, timestamp=starts.get(id_, start), event_id=event_id, features=features)
        for id_, event_id, features in _described(path, id_column, dead, reading, dict)
    ]


def _described(
    path: Path, id_column: str, dead: DeadLetters, reading: Reading, shape: Callable[[Features], Features]
) -> Iterator[tuple[Any, str, Features]]:
    """Yield the id, the generated event id and the features of every row that makes a valid event."""
    frame = read_frame(path, [id_column], dead, reading, rest=True)
    column, bad = ids(frame.columns[id_column], frame.rules)
    every = np.arange(frame.count)
    names = frame.ids.names(every)
    others = {name: context(array, frame.rules).pick(every) for name, array in _others(frame, id_column)}
    for i, id_ in enumerate(column.pick(every)):
        if bad[i]:
            where = f"{frame.name}:{frame.line_of(i)}"
            dead.add("id", where, f"{id_column} is {shortened(frame.columns[id_column][i].as_py())}")
            continue
        features = shape({name: values[i] for name, values in others.items() if values[i] is not None})
        try:
            validate(ItemEvent(item_id=id_, timestamp=0, features=features))
        except BadEvent as error:
            dead.add(error.reason, f"{frame.name}:{frame.line_of(i)}", str(error))
            continue
        yield id_, names[i], features


def _others(frame: Frame, id_column: str) -> list[tuple[str, Any]]:
    return [(name, array) for name, array in frame.columns.items() if name != id_column]
