"""Percentiles from buckets against the sorted list."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.measure import Freshness


@given(
    seconds=st.lists(st.floats(1e-4, 1e8) | st.sampled_from([0.0, 1e-5, -3.0]), min_size=1, max_size=80),
    percent=st.floats(0, 100),
)
def test_within_a_hundredth_of_the_sorted_list(seconds: list[float], percent: float) -> None:
    freshness = Freshness()
    freshness.add(seconds[: len(seconds) // 2])
    for second in seconds[len(seconds) // 2 :]:
        freshness.add(second)
    exact = sorted(seconds)[max(1, math.ceil(percent / 100 * len(seconds))) - 1]
    assert freshness.percentile(percent) == pytest.approx(exact if exact >= 1e-4 else 0.0, rel=0.0101)
    assert freshness.count == len(seconds)


def test_a_long_stream_against_numpy() -> None:
    seconds = np.random.default_rng(1).lognormal(0, 2, 100_000)
    freshness = Freshness()
    freshness.add(seconds)
    assert freshness.as_dict() == {
        "p50": pytest.approx(np.percentile(seconds, 50), rel=0.012),
        "p99": pytest.approx(np.percentile(seconds, 99), rel=0.012),
    }


def test_the_ends_of_the_range_and_what_is_refused() -> None:
    freshness = Freshness()
    assert freshness.as_dict() == {"p50": None, "p99": None}
    freshness.add([float("inf"), 1e30])
    assert freshness.percentile(100) == pytest.approx(1e9, rel=0.011)
    with pytest.raises(ValueError, match="NaN"):
        freshness.add([1.0, float("nan")])
    assert freshness.count == 2
    for percent in (-1, 101, float("nan")):
        with pytest.raises(ValueError, match="percentile"):
            freshness.percentile(percent)
    with pytest.raises(ValueError, match="relative error"):
        Freshness(0.0)
