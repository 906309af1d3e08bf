"""The log with clicks after weeks: the same each time, in order, and its probabilities are true."""

from __future__ import annotations

import numpy as np
import pytest

from stream_reco.events import Action, Impression
from stream_reco.simulate.late_clicks import MINUTES_TO_WEEKS, late_clicks
from stream_reco.simulate.world import DAY_MS, HOUR_MS

SMALL = {"requests_per_day": 300.0, "users": 30, "items": 20}


def test_the_same_arguments_give_the_same_log() -> None:
    first, second, other = (list(late_clicks(2, seed, **SMALL)) for seed in (1, 1, 2))  # type: ignore[arg-type]
    assert first == second != other


def test_clicks_come_by_time_and_as_often_as_told() -> None:
    log = list(late_clicks(20, 0, **SMALL))  # type: ignore[arg-type]
    times = [event.timestamp for event, _ in log]
    assert times == sorted(times)
    shown = {event.event_id: (event.timestamp, chance) for event, chance in log if isinstance(event, Impression)}
    clicks = [event for event, _ in log if isinstance(event, Action)]
    assert all(chance is None for event, chance in log if not isinstance(event, Impression))
    chances = np.array([chance for _, chance in shown.values()])
    spread = float(np.sqrt((chances * (1 - chances)).sum()))
    assert abs(len(clicks) - chances.sum()) < 4 * spread
    assert len({event.event_id for event, _ in log}) == len(log)
    delays = [one.timestamp - shown[str(one.event_id).removesuffix(":click")][0] for one in clicks]
    known = MINUTES_TO_WEEKS
    assert abs(np.log(np.median(delays) / known.median_ms)) < 4 * 1.25 * known.sigma / np.sqrt(len(delays))
    assert min(delays) < HOUR_MS / 60
    assert max(delays) > 7 * DAY_MS


def test_nonsense_is_refused() -> None:
    for days, more in ((0, {}), (1, {"slate": 0}), (1, {"requests_per_day": float("nan")})):
        with pytest.raises(ValueError, match="at least one"):
            next(late_clicks(days, 0, **more))
