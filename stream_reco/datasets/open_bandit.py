"""Fashion items shown by two policies whose propensities are known, and the clicks on them (ZOZO, November 2019).

Get it at https://research.zozo.com/data.html. Expected are `impressions.parquet`, which holds the rows of one or
more of the owner's files with columns `policy` and `campaign` added, and next to it `item_context_<campaign>.csv[.gz]`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stream_reco.datasets.columns import Column, numbers
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.features import items_of, sibling
from stream_reco.datasets.frame import Frame
from stream_reco.datasets.layout import Checked, Layout, check
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.rows import ActionRows, ImpressionRows, ListedRows
from stream_reco.datasets.times import Bound
from stream_reco.events import Event

_USER = tuple(f"user_feature_{i}" for i in range(4))
_CONTEXT = (*_USER, "policy", "campaign")
_CLICK = "click"
LAYOUT = Layout(
    user="user",
    item="item",
    timestamp="timestamp",
    request_id="request",
    position="position",
    propensity="propensity_score",
    context={name: name for name in _CONTEXT},
    categories=frozenset(_CONTEXT),
)


def load(path: Path, bound: Bound, reading: Reading) -> Log:
    """Every row as an impression with position and propensity under a request of its own, a click as an action on it.

    The log has no user ids: the four hashed features stand for the user. Campaigns number their items alike, so
    an item's id is `<campaign>-<number>`. Clicks have no time of their own and take their impression's.
    """
    file = path / "impressions.parquet" if path.is_dir() else path
    dead = DeadLetters()
    own = [*_CONTEXT, "timestamp", "item_id", "position", "propensity_score", _CLICK]
    frame = _with_ids(read_frame(file, own, dead, reading))
    checked = check(frame, LAYOUT, bound, dead)
    clicked, _ = numbers(frame.columns[_CLICK], frame.rules)
    values = clicked.pick(checked.rows)
    chosen = np.array([i for i, value in enumerate(values) if value == 1], dtype=np.int64)
    clicks = ActionRows(checked.subset(chosen, checked.times[chosen]), "click", suffix=":click")
    return Log(file.name, [ListedRows(_items(file, checked, dead, reading)), ImpressionRows(checked), clicks], dead)


def _with_ids(frame: Frame) -> Frame:
    texts = {name: _texts(frame.columns[name]) for name in (*_USER, "campaign", "item_id")}
    user = ["-".join(word[:8] for word in words) for words in zip(*(texts[name] for name in _USER), strict=True)]
    pairs = zip(texts["campaign"], texts["item_id"], strict=True)
    item = [f"{campaign}-{number}" if campaign and number else None for campaign, number in pairs]
    request = frame.ids.names(np.arange(frame.count))
    # These are text whatever the file's cells are: user 5 of a CSV and of Parquet are the same.
    return frame.with_columns({"user": pa.array(user), "item": pa.array(item), "request": pa.array(request)})


def _texts(array: Any) -> list[str]:
    return [
        "" if word is None else word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
        for word in array.to_pylist()
    ]


def _items(file: Path, checked: Checked, dead: DeadLetters, reading: Reading) -> list[Event]:
    column = checked.context["campaign"]
    campaigns = sorted({name for name in _distinct(column) if name is not None})
    start = int(checked.times.min(initial=np.iinfo(np.int64).max))
    events: list[Event] = []
    for campaign in campaigns:
        items = sibling(file.parent, f"item_context_{campaign}.csv")
        if items is not None:
            events += items_of(items, "item_id", start, dead, reading, prefix=f"{campaign}-")
    return events


def _distinct(column: Column) -> list[Any]:
    return Column(np.unique(column.values), column.words).pick(np.arange(len(np.unique(column.values))))
