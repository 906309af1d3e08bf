"""Who is explored: against draws from the posterior, and by what is asked of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.serve.slate.exploration import Evidence, chances


def evidence(impressions: list[int], actions: int = 0) -> Evidence:
    return Evidence(np.array(impressions, dtype=np.int64), actions)


def test_where_all_are_known_they_are_tried_as_often_as_they_beat_their_rival() -> None:
    values = np.array([0.2, 0.1, 0.18, 0.02, 0.1], dtype=np.float32)
    shown, actions = [50, 20, 400, 4_000, 30], 5
    eligible = np.array([1, 2, 3, 4])
    found = chances(values, evidence(shown, actions), 0, eligible, 20)
    rng = np.random.default_rng(0)
    p = values.astype(np.float64)
    variance = 1.0 / (1.0 + np.array(shown) * p * (1.0 - p)) + 10.0 / (10.0 + actions)
    drawn = rng.normal(np.log(p / (1 - p)), np.sqrt(variance), size=(150_000, 5))
    better = (drawn[:, eligible] > drawn[:, :1]).mean(axis=0)
    np.testing.assert_allclose(found, 0.9 * better / better.sum() + 0.1 / 4, atol=4e-3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 10_000)), min_size=2, max_size=60),
    st.integers(0, 1_000),
    st.integers(1, 50),
)
def test_chances_sum_to_one_and_most_go_to_the_new(known: list[tuple[float, int]], actions: int, target: int) -> None:
    values = np.array([value for value, _ in known], dtype=np.float32)
    shown = np.array([count for _, count in known], dtype=np.int64)
    eligible = np.arange(1, len(known))
    found = chances(values, Evidence(shown, actions), 0, eligible, target)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0.0).all(), "everybody is possible"
    new = shown[eligible] < target
    if new.any():
        assert found[new].sum() >= 0.8 - 1e-9
        assert found[new].min() >= 0.8 * 0.5 / new.sum() - 1e-9, "also where the model thinks little of them"


def test_of_equal_scores_the_less_shown_and_of_equally_shown_the_likelier_come_more_often() -> None:
    values = np.array([0.3, 0.1, 0.1, 0.1, 0.2], dtype=np.float32)
    found = chances(values, evidence([100, 30, 300, 30_000, 30]), 0, np.arange(1, 5), 20)
    assert found[0] > found[1] > found[2]
    assert found[3] > found[0]


def test_a_user_who_is_known_leaves_less_to_try() -> None:
    values = np.array([0.3, 0.2, 0.05], dtype=np.float32)
    shown = [1_000, 1_000, 1_000]
    stranger, regular = (chances(values, evidence(shown, actions), 0, np.array([1, 2]), 20) for actions in (0, 500))
    assert regular[1] < stranger[1]
