"""Who is explored: against draws from the posterior, and by what is asked of it."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.serve.slate.exploration import Evidence, chances, share_explored, variances_of
from stream_reco.serve.slate.places import inclusion_probabilities, numbers_explored


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
def test_chances_sum_to_one_and_everybody_is_possible(
    known: list[tuple[float, int]], actions: int, target: int
) -> None:
    values = np.array([value for value, _ in known], dtype=np.float32)
    shown = np.array([count for _, count in known], dtype=np.int64)
    eligible = np.arange(1, len(known))
    found = chances(values, Evidence(shown, actions), 0, eligible, target)
    assert found.sum() == pytest.approx(1.0)
    assert (found > 0.0).all(), "everybody is possible"
    new = shown[eligible] < target
    if new.any():
        least = 0.8 * 0.02
        assert found[new].sum() >= least - 1e-9
        assert found[new].min() >= least * 0.25 / new.sum() - 1e-9, "also where the model thinks little of them"


def share_of_one_new(better: float) -> float:
    """How much of the draws goes to a new item that beats its rival so often, among eight that are known."""
    odds = np.zeros(10)
    odds[1] = NormalDist().inv_cdf(better) * 2**0.5
    variances = np.ones(10, dtype=np.float32)
    shown = np.array([50, 3, *[50] * 8])
    values = (1 / (1 + np.exp(-odds))).astype(np.float32)
    found = chances(values, Evidence(shown, 10, None, variances), 0, np.arange(1, 10), 20)
    all_of_it = 0.9 * better / (better + 8 * 0.5) + 0.1 / 9
    return float((found[0] - all_of_it) / (1.0 - all_of_it))


def test_a_new_item_is_tried_with_those_who_may_like_it() -> None:
    """From an even chance on it takes 0.8 of the draws; below by the square of its chance, and 0.016 at least."""
    for better, share in ((0.7, 0.8), (0.501, 0.8), (0.25, 0.2), (0.1, 0.032), (0.05, 0.016), (0.001, 0.016)):
        assert share_of_one_new(better) == pytest.approx(share, abs=1e-3)


def test_many_new_items_take_their_share_from_everybody() -> None:
    values = np.array([0.3, *[0.05] * 40], dtype=np.float32)
    found = chances(values, evidence([100, *[0] * 20, *[100] * 20], 10), 0, np.arange(1, 41), 20)
    assert found[:20].sum() >= 0.8


def test_of_new_items_those_come_first_that_lack_least() -> None:
    """By Φ over the square of the impressions that are lacking, but for a quarter that all share alike."""
    values = np.array([0.3, 0.1, 0.1, 0.2, 0.1, 0.1], dtype=np.float32)
    shown, target, eligible = [100, 0, 10, 10, 19, 500], 20, np.arange(1, 6)
    found = chances(values, evidence(shown), 0, eligible, target)
    rng = np.random.default_rng(1)
    p = values.astype(np.float64)
    variance = 1.0 / (1.0 + np.array(shown) * p * (1.0 - p)) + 1.0
    drawn = rng.normal(np.log(p / (1 - p)), np.sqrt(variance), size=(400_000, 6))
    better = (drawn[:, eligible] > drawn[:, :1]).mean(axis=0)
    merits = better[:4] / np.array([20.0, 10.0, 10.0, 1.0]) ** 2
    among_new = np.append(0.75 * merits / merits.sum() + 0.25 / 4, 0.0)
    np.testing.assert_allclose(found, 0.2 * (0.9 * better / better.sum() + 0.1 / 5) + 0.8 * among_new, atol=4e-3)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1, width=32), st.integers(0, 40)), min_size=2, max_size=60),
    st.integers(1, 20),
    st.floats(0.01, 1.0),
)
def test_the_budget_is_kept_and_nobody_has_two_places(
    known: list[tuple[float, int]], length: int, share: float
) -> None:
    """Over the draw of how many places explore: their mean is the budget, and each candidate has at most one."""
    values = np.array([value for value, _ in known], dtype=np.float32)
    shown = np.array([count for _, count in known], dtype=np.int64)
    eligible = np.arange(1, len(known))
    most = min(length, len(eligible))
    found = chances(values, Evidence(shown, 3), 0, eligible, 20)
    spent = 0.0
    for number, chance in numbers_explored(length * share, most):
        inclusion = inclusion_probabilities(found, number)
        assert inclusion.max() <= 1.0 + 1e-9
        assert inclusion.sum() == pytest.approx(number)
        spent += chance * inclusion.sum()
    assert spent == pytest.approx(min(length * share, most))


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


def told(variances: list[float]) -> Evidence:
    return Evidence(np.full(len(variances), 50), 10, None, np.array(variances, dtype=np.float32))


def test_less_is_explored_the_more_content_tells() -> None:
    assert share_explored(0.1, Evidence(np.zeros(3, np.int64), 0)) == 0.1
    assert share_explored(0.1, told([0.25, 0.25])) == pytest.approx(0.05)
    assert share_explored(0.1, told([4.0, 9.0])) == pytest.approx(0.1), "never more than the setting"
    # Of whom content says nothing, nothing is known by it.
    assert share_explored(0.1, told([0.25, 0.0])) == pytest.approx(0.075)
    assert share_explored(0.1, told([])) == 0.1


def test_content_says_how_uncertain_a_candidate_is_where_it_says_anything() -> None:
    values = np.full(3, 0.05, dtype=np.float32)
    counted = variances_of(values, told([0.0, 0.0, 0.0])._replace(variances=None))
    np.testing.assert_allclose(variances_of(values, told([0.3, 0.0, 0.01])), [0.3, counted[1], 0.01], rtol=1e-6)


def test_what_is_uncertain_is_drawn_more_often() -> None:
    values = np.array([0.2, 0.05, 0.05], dtype=np.float32)
    drawn = chances(values, told([0.1, 1.0, 0.05]), 0, np.array([1, 2]), 20)
    assert drawn.sum() == pytest.approx(1.0)
    assert drawn[0] > 2 * drawn[1]
