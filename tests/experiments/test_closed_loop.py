"""The loop itself in a small shop in which people see only what it shows, with its default settings.

The thresholds are what holds; raise them as the loop learns more from its own slates.
"""

from __future__ import annotations

from typing import Any

import pytest

from stream_reco.config import Settings
from stream_reco.experiments.shop.arms import make_arm
from stream_reco.experiments.shop.closed_loop import ClosedLoop
from stream_reco.experiments.shop.plan import OURS
from stream_reco.simulate.closed_loop import ClosedLoopWorld
from stream_reco.simulate.closed_loop_worlds import SHOP

REQUESTS = 300
LEAST_OF_RANDOM = 0.9
"""Click-through over the whole run, times random's."""
LEAST_COVERAGE = 0.3
"""Share of all items that were shown at least once."""
MOST_CALIBRATION: float | None = None
"""Σ of served scores over Σ of true chances in the last fifth; None: not claimed."""
MOST_SHOWN_AFTER_DISLIKE = 0
SEED = 3


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, Any]]:
    """Of the loop and of random slates, in the same world."""
    found = {}
    for name in (OURS, "random"):
        world = ClosedLoopWorld(SHOP, SEED)
        found[name] = ClosedLoop(world, make_arm(name, SEED, world, Settings()), REQUESTS).run().as_dict()
    return found


def test_slates_are_full_and_nothing_is_shown_that_is_unavailable(figures: dict[str, dict[str, Any]]) -> None:
    ours = figures[OURS]
    assert ours["evaluated"] == REQUESTS
    assert ours["places_missing"] == 0
    assert ours["shown_unavailable"] == 0


def test_what_was_disliked_is_not_shown_again(figures: dict[str, dict[str, Any]]) -> None:
    assert figures[OURS]["actions"]["dislike"] > 5
    assert figures[OURS]["shown_after_dislike"] <= MOST_SHOWN_AFTER_DISLIKE


def test_it_is_no_worse_than_chance(figures: dict[str, dict[str, Any]]) -> None:
    assert figures[OURS]["click_through"] >= LEAST_OF_RANDOM * figures["random"]["click_through"]


def test_many_items_get_a_chance(figures: dict[str, dict[str, Any]]) -> None:
    assert figures[OURS]["coverage"] >= LEAST_COVERAGE


def test_scores_are_probabilities_of_clicks(figures: dict[str, dict[str, Any]]) -> None:
    calibration = figures[OURS]["calibration_last_fifth"]
    assert calibration > 0
    if MOST_CALIBRATION is not None:
        assert 1 / MOST_CALIBRATION <= calibration <= MOST_CALIBRATION
