"""Film ratings of MovieLens: ratings of films on a scale of stars, with genres of films and features of people.

Get it at https://grouplens.org/datasets/movielens/. Read are `ratings.csv` with `items.csv` or `movies.csv` and
`users.csv` in one folder (each also under gzip, with columns such as `user_id` or `userId`), or `u.data` of 100k.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.errors import DatasetError
from stream_reco.datasets.features import items_of, sibling, users_of
from stream_reco.datasets.frame import Frame
from stream_reco.datasets.layout import Checked, Layout, check
from stream_reco.datasets.log import Log, LogRows
from stream_reco.datasets.read import columns_of, read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.rows import ActionRows, ListedRows
from stream_reco.datasets.times import Bound
from stream_reco.events import Event, Id

POSITIVE_FROM = 4.0
_LAYOUTS = {
    style: Layout(user=user, item=item, timestamp="timestamp", time_unit="s", value="rating")
    for style, user, item in (("snake", "user_id", "item_id"), ("camel", "userId", "movieId"))
}
_RATINGS = ("ratings.csv", "u.data")


def load(path: Path, bound: Bound, reading: Reading) -> Log:
    """Every rating as an action `rating` whose value is the stars, those below `POSITIVE_FROM` included.

    Films are announced at the first rating of the log, people at the first rating of their own.
    """
    file = ratings_file(path)
    dead = DeadLetters()
    frame, layout = _ratings(file, dead, reading)
    checked = check(frame, layout, bound, dead)
    parts: list[LogRows] = [ListedRows(_announced(file.parent, checked, dead, reading)), ActionRows(checked, "rating")]
    return Log(file.name, parts, dead)


def ratings_file(path: Path) -> Path:
    """The file with the ratings in a folder; what is no folder is taken for that file itself.

    Raises `DatasetError` where the folder has none.
    """
    if not path.is_dir():
        return path
    found = (sibling(path, name) for name in _RATINGS)
    file = next((file for file in found if file is not None), None)
    if file is None:
        fix = f"Expected one of: {', '.join(_RATINGS)}, also with .gz."
        raise DatasetError(path, "cannot read the folder", "there are no ratings in it", fix)
    return file


def _ratings(file: Path, dead: DeadLetters, reading: Reading) -> tuple[Frame, Layout]:
    layout = _LAYOUTS["snake"]
    if file.name.removesuffix(".gz") == "u.data":
        names = ["user_id", "item_id", "rating", "timestamp"]
        return read_frame(file, layout.wanted(), dead, reading, names=names), layout
    if "userId" in columns_of(file, reading):
        layout = _LAYOUTS["camel"]
    return read_frame(file, layout.wanted(), dead, reading), layout


def _announced(folder: Path, checked: Checked, dead: DeadLetters, reading: Reading) -> list[Event]:
    if not len(checked.times):
        return []
    start = int(checked.times.min())
    events: list[Event] = []
    for name, id_column in (("items.csv", "item_id"), ("movies.csv", "movieId")):
        items = sibling(folder, name)
        if items is not None:
            events += items_of(items, id_column, start, dead, reading, shape=_film)
    users = sibling(folder, "users.csv")
    if users is not None:
        events += users_of(users, "user_id", _first_times(checked), start, dead, reading)
    return events


def _first_times(checked: Checked) -> dict[Id, int]:
    order = np.argsort(checked.times, kind="stable")[::-1]
    return dict(zip(checked.fields["user_id"].pick(order), checked.times[order].tolist(), strict=True))


def _film(row: dict[str, Any]) -> dict[str, Any]:
    """Name the columns of both styles alike; genres become a list."""
    genres = row.get("genres", row.get("class"))
    shaped: dict[str, Any] = {}
    if (title := row.get("movie_title", row.get("title"))) is not None:
        shaped["title"] = title
    if str(year := row.get("release_year")).isdecimal():
        shaped["year"] = int(str(year))
    if genres is not None:
        shaped["genre"] = str(genres).replace("|", " ").split() if "class" in row else str(genres).split("|")
    return shaped
