"""Ad clicks and the app installs that follow some of them, up to half a day later (TalkingData, November 2017).

Get it at https://www.kaggle.com/c/talkingdata-adtracking-fraud-detection (`train_sample.csv`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from stream_reco.datasets.columns import Column
from stream_reco.datasets.dead_letters import DeadLetters
from stream_reco.datasets.frame import Frame
from stream_reco.datasets.layout import Checked, Layout, Sieve, check, times_of
from stream_reco.datasets.log import Log
from stream_reco.datasets.read import read_frame
from stream_reco.datasets.reading import Reading
from stream_reco.datasets.rows import ActionRows, ImpressionRows
from stream_reco.datasets.times import Bound

_CATEGORIES = ("device", "os", "channel")
LAYOUT = Layout(
    user="ip",
    item="app",
    timestamp="click_time",
    time_unit="iso",
    context={name: name for name in _CATEGORIES},
    categories=frozenset(_CATEGORIES),
)
_INSTALLED, _INSTALL_TIME = "is_attributed", "attributed_time"


def load(path: Path, bound: Bound, reading: Reading) -> Log:
    """Every ad click as an impression of the app under a request of its own, an install as an action on it."""
    dead = DeadLetters()
    frame = read_frame(path, [*LAYOUT.wanted(), _INSTALL_TIME, _INSTALLED], dead, reading)
    checked = _with_requests(check(frame, LAYOUT, bound, dead))
    installs = _installs(frame, checked, bound, dead)
    return Log(path.name, [ImpressionRows(checked), ActionRows(installs, "install", suffix=":install")], dead)


def _with_requests(checked: Checked) -> Checked:
    every = np.arange(len(checked.rows))
    fields = {**checked.fields, "request_id": Column(every, checked.ids.names(every))}
    return replace(checked, fields=fields)


def _installs(frame: Frame, checked: Checked, bound: Bound, dead: DeadLetters) -> Checked:
    installed = np.array([flag in ("1", 1) for flag in frame.columns[_INSTALLED].to_pylist()], dtype=np.bool_)
    times = times_of(frame, _INSTALL_TIME, "iso")
    sieve = Sieve(frame, dead)
    sieve.drop(
        "timestamp", installed & bound.broken_by(times) & np.isin(np.arange(frame.count), checked.rows), _INSTALL_TIME
    )
    good = np.zeros(len(installed), dtype=np.bool_)
    good[sieve.kept()] = True
    chosen = np.flatnonzero((installed & good)[checked.rows])
    return checked.subset(chosen, times[checked.rows[chosen]])
