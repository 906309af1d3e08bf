"""Clicks of a news portal (Globo.com, October 2017).

Get it at https://www.kaggle.com/datasets/gspmoreira/news-portal-user-interactions-by-globocom: all the hourly
click files as one table, Parquet or CSV, in the order of click_timestamp.
"""

from __future__ import annotations

from pathlib import Path

from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.layout import Layout, check
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.rows import ActionRows
from stream_reco.datasets.times import Bound

_CATEGORIES = ("environment", "deviceGroup", "os", "country", "region", "referrer_type")
# session_size, session_id and src_hour tell the future (how long the session will be, when it ended) and stay out.
LAYOUT = Layout(
    user="user_id",
    item="click_article_id",
    timestamp="click_timestamp",
    time_unit="ms",
    context={**{name: f"click_{name}" for name in _CATEGORIES}, "session_start": "session_start"},
    categories=frozenset(_CATEGORIES),
)


def load(path: Path, bound: Bound, reading: Reading) -> Log:
    """Every click as an action `click`, with what was known before it as context."""
    dead = DeadLetters()
    checked = check(read_frame(path, LAYOUT.wanted(), dead, reading), LAYOUT, bound, dead)
    return Log(path.name, [ActionRows(checked, "click")], dead)
