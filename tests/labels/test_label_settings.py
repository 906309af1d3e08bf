"""The settings of the labels refuse what makes no sense, where it is set."""

from __future__ import annotations

import pytest

from stream_reco.labels import LabelSettings


def test_defaults_are_the_documented_ones() -> None:
    settings = LabelSettings()
    assert (settings.window_ms, settings.lateness_ms, settings.order) == (14 * 86_400_000, 60_000, "slate")
    assert (settings.action_weights, settings.positive_from) == ({}, {})
    assert LabelSettings(order="none", window_days=0.5).window_ms == 43_200_000


@pytest.mark.parametrize(
    "arguments",
    [
        {"window_days": 0},
        {"window_days": float("nan")},
        {"window_days": 1e9},
        {"lateness_seconds": -1},
        {"order": "position"},
        {"action_weights": {"click": -1}},
        {"positive_from": {"rating": float("nan")}},
    ],
)
def test_nonsense_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        LabelSettings(**arguments)  # type: ignore[arg-type]
