"""Running means, deviations and quantiles against NumPy on all values."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.signals.content.scales import BUCKETS, RunningScales

FINITE = st.one_of(
    st.floats(-1e30, 1e30, allow_subnormal=True), st.sampled_from([0.0, 1e30, -1e30, 5e-324, 1e-300, 1.0])
)


def learned(values: list[float], renew: bool = True) -> RunningScales:
    """Scales that were renewed at the last value."""
    scales = RunningScales()
    scales.make_room(3)
    for value in values:
        scales.add(1, value)
    if renew:
        scales._renew(1)
    return scales


@settings(max_examples=200, deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=60))
def test_means_and_deviations_are_those_of_all_values(values: list[float]) -> None:
    scales = learned(values).scales
    largest = max(abs(value) for value in values)
    assert scales.means[1] == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9 * largest + 1e-320)
    assert scales.deviations[1] == pytest.approx(np.std(values), rel=1e-6, abs=1e-7 * largest + 1e-320)
    # As long as all values are kept, the quantiles are exact.
    wanted = np.quantile(values, np.arange(1, BUCKETS) / BUCKETS, method="inverted_cdf")
    np.testing.assert_array_equal(scales.edges[1], wanted)
    # Other features are untouched.
    assert (scales.means[2], scales.deviations[2]) == (0.0, 0.0)
    assert np.isinf(scales.edges[2]).all()


@pytest.mark.parametrize("seed", range(4))
def test_quantiles_of_many_values_are_within_the_error_of_the_sample(seed: int) -> None:
    values = np.random.default_rng(seed).lognormal(0.0, 2.0, 20_000)
    scales = learned(values.tolist()).scales
    ranks = np.searchsorted(np.sort(values), scales.edges[1]) / len(values)
    # Four standard deviations of the rank of a median of 256.
    np.testing.assert_allclose(ranks, np.arange(1, BUCKETS) / BUCKETS, atol=4 * 0.5 / 16)
    assert scales.means[1] == pytest.approx(values.mean(), rel=1e-9)
    assert scales.deviations[1] == pytest.approx(values.std(), rel=1e-9)


def test_a_far_mean_does_not_swallow_a_small_deviation() -> None:
    values = (1e9 + np.random.default_rng(0).normal(0.0, 1e-3, 5_000)).tolist()
    assert learned(values).scales.deviations[1] == pytest.approx(np.std(np.array(values) - 1e9), rel=1e-3)


def test_scales_change_now_and_then_only() -> None:
    scales = RunningScales()
    scales.make_room(1)
    changed = [count for count in range(1, 1_001) if scales.add(0, float(count % 17))]
    assert changed[:8] == [1, 2, 3, 4, 5, 6, 7, 8] or changed[:9] == [1, 2, 3, 4, 5, 7, 9, 12, 15]
    assert len(changed) < 35
    assert all(late - early <= early for early, late in pairwise(changed))


@settings(max_examples=60, deadline=None)
@given(st.lists(FINITE, max_size=400), st.lists(FINITE, max_size=400))
def test_restored_scales_go_on_to_the_bit(before: list[float], after: list[float]) -> None:
    one = learned(before, renew=False)
    other = RunningScales()
    other.make_room(3)
    state = {name: part.copy() for name, part in (one.parts() | one.state()).items()}
    other.apply(state)
    other.restore(state)
    for value in after:
        assert one.add(1, value) == other.add(1, value)
    one.make_room(40)
    other.make_room(40)
    one.add(39, 1.0)
    other.add(39, 1.0)
    for name, part in (one.parts() | one.state()).items():
        assert part.tobytes() == (other.parts() | other.state())[name].tobytes(), name


def test_a_replica_mirrors_what_is_known_and_grows_with_it() -> None:
    trainer, replica = learned([1.0, 2.0, 4.0]), RunningScales()
    replica.make_room(3)
    replica.apply(trainer.parts())
    trainer.make_room(100)
    trainer.add(99, 7.0)
    replica.make_room(100)
    replica.apply(trainer.parts())
    for mine, its in zip(trainer.parts().values(), replica.parts().values(), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("count", [0, 1, 3, 8, 40, 255, 256, 5_000])
def test_a_summary_has_the_same_scales_and_no_value_but_the_octiles(count: int) -> None:
    values = np.random.default_rng(count).lognormal(0.0, 2.0, count).tolist()
    given = learned(values, renew=count > 0)
    taken = RunningScales()
    taken.restore(given.summary())
    taken.apply(given.parts())
    known = given.scales.edges[1][np.isfinite(given.scales.edges[1])]
    assert set(given.summary()["samples"][1].tolist()) <= {0.0, *known.tolist()}
    assert np.isin(given.summary()["samples"][1][: min(count, 256)], known).all()
    for one, other in zip(taken.scales, given.scales, strict=True):
        np.testing.assert_array_equal(one[:3], other[:3])
    if count:
        taken._renew(1)
        np.testing.assert_array_equal(taken.scales.edges[1], known)
    # They go on alike in all but the quantiles.
    for scales in (given, taken):
        scales.add(1, 4.5)
        scales._renew(1)
    assert taken.scales.means[1] == given.scales.means[1]
    assert taken.scales.deviations[1] == given.scales.deviations[1]
