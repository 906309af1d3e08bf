"""What is served is what happens: a simulated world in which people look from the top and click seconds later."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Event, Impression
from stream_reco.labels import LabelSettings
from stream_reco.metrics import CALIBRATION_BY_AGE, REGISTRY
from stream_reco.simulate.delays import CLICK, Delay
from stream_reco.simulate.world import HOUR_MS, World

HOURS, PLACES = 3, 4
START = 1_700_000_000_000


class Hours:
    """What was predicted of each hour's impressions as they were shown, and what it was before it was corrected."""

    def __init__(self, hours: int = HOURS) -> None:
        self.served, self.uncorrected = np.zeros(hours), np.zeros(hours)
        self.shift = 0.0
        """Of the version served, what corrects it."""

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        for one, chance in zip(impressions, predictions.tolist(), strict=True):
            hour = (one.timestamp - START) // HOUR_MS
            self.served[hour] += chance
            self.uncorrected[hour] += 1.0 / (1.0 + (1.0 - chance) / chance * math.exp(self.shift))


@cache
def log(
    hours: int = HOURS, rate: float = 0.08, delay: Delay = CLICK
) -> tuple[list[Event], NDArray[np.float64], NDArray[np.int64]]:
    """Events by time; the expected and the actual number of clicks of each hour's impressions.

    Slates are half of what people like best and half chance, `rate` a second. Position bias is a world's by default.
    """
    world = World(
        3, users=500, items=100, requests_per_second=rate, purchase_rate=0.0, click_delay=delay, start_ms=START
    )
    later: list[tuple[int, int, Event]] = []
    expected, clicks = np.zeros(hours), np.zeros(hours, dtype=np.int64)
    for visit in world.step(START + hours * HOUR_MS - 1):
        user, now = visit.user_id, visit.timestamp
        liked = world.oracle_slate(user, PLACES - 1, now)
        others = [item for item in world.random_slate(user, PLACES, now) if item not in liked][:1]
        slate = [*liked, *others]
        hour = (now - START) // HOUR_MS
        expected[hour] += world.expected_clicks(user, slate, now)
        for event in world.respond(user, slate, now, context=visit.context):
            clicks[hour] += not isinstance(event, Impression)
            heapq.heappush(later, (event.timestamp, len(later) + hour * 10**6, event))
    return [heapq.heappop(later)[2] for _ in range(len(later))], expected, clicks


SETTINGS = Settings(labels=LabelSettings(policy="immediate", wait_seconds=1.0, lateness_seconds=1.0))
"""Negatives are presumed before most of the clicks have come."""


def test_after_the_first_clicks_what_is_served_is_what_happens_hour_by_hour() -> None:
    events, _, clicks = log()
    assert clicks.min() > 100
    CALIBRATION_BY_AGE.clear()
    hours = Hours()
    with Engine(None, SETTINGS, viewer=hours) as engine:
        for first in range(0, len(events), 60):
            engine.ingest(events[first : first + 60])
            engine.sync()
            hours.shift = engine.learner.queue.calibration.shift
    assert np.abs(hours.served / clicks - 1.0).max() < 0.1
    assert np.abs(hours.uncorrected / clicks - 1.0).max() > 0.1, "there is something to correct"
    for age in ("minute", "hour"):
        shown = REGISTRY.get_sample_value("stream_reco_calibration_by_age", {"age": age})
        assert shown is not None
        assert 0.5 < shown < 2.0


def test_a_restart_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    events = log()[0][:700]
    with Engine(None, SETTINGS) as engine:
        engine.ingest(events)
        whole = engine.learner.queue
    with Engine(tmp_path, SETTINGS) as engine:
        engine.ingest(events[:403])
        engine.checkpoint()
        engine.ingest(events[403:])
    with Engine(tmp_path, SETTINGS) as engine:
        restored = engine.learner.queue
        assert restored.trainer.intercept.state().tobytes() == whole.trainer.intercept.state().tobytes()
        ours, theirs = restored.calibration.state(), whole.calibration.state()
        assert {name: part.tobytes() for name, part in ours.items()} == {n: p.tobytes() for n, p in theirs.items()}
        assert restored.shown == whole.shown
        assert restored.calibration.state()["mature"].any()


def test_where_clicks_take_hours_it_is_off_by_little_and_does_not_swing() -> None:
    hours = 8
    events, expected, _ = log(hours, 0.25, Delay(median_ms=HOUR_MS, sigma=1.0, most_ms=24 * HOUR_MS))
    served = Hours(hours)
    shown = [event for event in events if event.timestamp < START + hours * HOUR_MS]
    with Engine(None, viewer=served) as engine:
        for first in range(0, len(shown), 60):
            engine.ingest(shown[first : first + 60])
            engine.sync()
    ratios = served.served / expected
    late = slice(3, None)
    assert served.served[late].sum() / expected[late].sum() == pytest.approx(1.0, abs=0.15)
    assert ratios[late].min() > 0.7
    assert ratios[late].max() < 1.4
