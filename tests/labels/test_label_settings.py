"""The settings of the labels refuse what makes no sense, where it is set."""

from __future__ import annotations

import pytest

from stream_reco.labels import LabelSettings
from stream_reco.labels.label.delays import AdaptiveWait


def test_defaults_are_the_documented_ones() -> None:
    settings = LabelSettings()
    assert (settings.window_ms, settings.lateness_ms, settings.order) == (14 * 86_400_000, 60_000, "slate")
    assert (settings.action_weights, settings.positive_from) == ({}, {})
    assert (settings.policy, settings.presume_ms, settings.inferred_by) == ("auto", None, None)
    assert (settings.presumes, settings.of_joiner()["adaptive"]) == (True, AdaptiveWait(1_000, 3_600_000, 30_000, 50))
    assert LabelSettings(order="none", window_days=0.5).window_ms == 43_200_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"window_days": 0},
        {"window_days": float("nan")},
        {"window_days": 1e9},
        {"lateness_seconds": -1},
        {"order": "position"},
        {"policy": "late"},
        {"wait_seconds": -1},
        {"wait_seconds": float("nan")},
        {"window_days": 1, "wait_seconds": 86_401},
        {"negative_rate": 0},
        {"negative_rate": 1.1},
        {"negative_rate": float("nan")},
        {"action_weights": {"click": -1}},
        {"positive_from": {"rating": float("nan")}},
        {"value_units": {"watch": -1.0}},
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LabelSettings(**arguments)  # type: ignore[arg-type]


def test_a_policy_makes_the_joiner() -> None:
    assert LabelSettings(policy="early").inferred_by == "slate"
    assert LabelSettings(policy="early", order="group").inferred_by == "group"
    assert LabelSettings(policy="early", order="none").inferred_by is None
    for policy in ("conclusive", "early", "immediate"):
        of_policy = LabelSettings(policy=policy)
        assert (of_policy.of_joiner()["adaptive"], of_policy.presumes) == (None, policy == "immediate")
    immediate = LabelSettings(policy="immediate", wait_seconds=1.5, order="group")
    assert (immediate.presume_ms, immediate.inferred_by) == (1500, None)
    assert LabelSettings(policy="early", wait_seconds=1.5).presume_ms is None
