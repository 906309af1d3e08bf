"""The loop itself in small shops in which people see only what it shows, with its default settings.

The thresholds are what holds; raise them as the loop learns more from its own slates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from stream_reco.config import Settings
from stream_reco.experiments.shop.arms import make_arm
from stream_reco.experiments.shop.closed_loop import ClosedLoop
from stream_reco.experiments.shop.plan import OURS
from stream_reco.simulate.closed_loop import ClosedLoopWorld, WorldPlan
from stream_reco.simulate.closed_loop_worlds import SHOP

REQUESTS = 300
SEEDS = (0, 1, 3)
"""In so short a shop one seed alone differs from random slates by a sixth, by chance."""
LEAST_OF_RANDOM = 1.0
"""Click-through over the whole runs, times random's."""
LEAST_COVERAGE = 0.3
"""Share of all items that were shown at least once."""
MOST_CALIBRATION: float | None = None
"""Σ of served scores over Σ of true chances in the last fifth, and its inverse; None: not claimed."""
MOST_SHOWN_AFTER_DISLIKE = 0
LEAST_NEW_ITEMS_SHOWN = 0.45
"""Share of the new items of a small shop that got their first impressions; 0.59 as written, and 0.29
where those that were begun do not come first."""

Figures = Mapping[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def figures() -> Figures:
    """Of the loop and of random slates, in the same worlds, by seed."""
    return {name: [lived(name, seed) for seed in SEEDS] for name in (OURS, "random")}


def lived(name: str, seed: int, plan: WorldPlan = SHOP, requests: int = REQUESTS) -> dict[str, Any]:
    """The figures of an arm in the shop of a seed."""
    world = ClosedLoopWorld(plan, seed)
    return ClosedLoop(world, make_arm(name, seed, world, Settings()), requests).run().as_dict()


def mean(found: list[dict[str, Any]], name: str) -> float:
    """The mean of a figure over seeds."""
    return sum(float(one[name]) for one in found) / len(found)


def test_slates_are_full_and_nothing_is_shown_that_is_unavailable(figures: Figures) -> None:
    for ours in figures[OURS]:
        assert ours["evaluated"] == REQUESTS
        assert ours["places_missing"] == 0
        assert ours["shown_unavailable"] == 0


def test_what_was_disliked_is_not_shown_again(figures: Figures) -> None:
    for ours in figures[OURS]:
        assert ours["actions"]["dislike"] > 5
        assert ours["shown_after_dislike"] <= MOST_SHOWN_AFTER_DISLIKE


def test_it_is_better_than_chance(figures: Figures) -> None:
    by_chance = mean(figures["random"], "click_through")
    assert mean(figures[OURS], "click_through") >= LEAST_OF_RANDOM * by_chance


def test_many_items_get_a_chance(figures: Figures) -> None:
    assert mean(figures[OURS], "coverage") >= LEAST_COVERAGE


def test_most_new_items_get_their_first_impressions_where_places_are_short() -> None:
    ours = lived(OURS, 0, replace(SHOP, requests=400, items=90), 400)
    assert ours["new_items"] > 50
    assert ours["new_items_shown"] >= LEAST_NEW_ITEMS_SHOWN


def test_scores_are_probabilities_of_clicks(figures: Figures) -> None:
    calibration = mean(figures[OURS], "calibration_last_fifth")
    assert calibration > 0
    if MOST_CALIBRATION is not None:
        assert 1 / MOST_CALIBRATION <= calibration <= MOST_CALIBRATION
