"""Off-policy estimates against a bandit whose true values are known, and against the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.measure import Estimate, doubly_robust, ips, slate_ips, slate_snips, snips

Floats = NDArray[np.float64]
PROBABILITIES = st.floats(0.05, 1.0)
ROWS = st.lists(
    st.tuples(st.floats(-5, 5), PROBABILITIES, PROBABILITIES, st.floats(-2, 2), st.floats(-2, 2)),
    min_size=2,
    max_size=30,
)


@given(rows=ROWS, clip=st.none() | st.floats(0.1, 5))
def test_against_the_formulas(rows: list[tuple[float, ...]], clip: float | None) -> None:
    weights = [min(t / p, clip or float("inf")) for _, p, t, _, _ in rows]
    r, p, t, q, v = (list(column) for column in zip(*rows, strict=True))
    n = len(rows)
    assert ips(r, p, t, clip).value == pytest.approx(sum(w * x for w, x in zip(weights, r, strict=True)) / n)
    direct = snips(r, p, t, clip)
    assert direct.value == pytest.approx(sum(w * x for w, x in zip(weights, r, strict=True)) / sum(weights))
    robust = doubly_robust(r, p, t, q, v, clip)
    terms = [v[i] + weights[i] * (r[i] - q[i]) for i in range(n)]
    assert robust.value == pytest.approx(sum(terms) / n)
    mean = sum(terms) / n
    assert robust.standard_error == pytest.approx((sum((x - mean) ** 2 for x in terms) / (n - 1) / n) ** 0.5, abs=1e-9)
    assert robust.effective_samples == pytest.approx(sum(weights) ** 2 / sum(w * w for w in weights))
    assert 0 < robust.effective_samples <= n + 1e-6


@given(rows=ROWS)
def test_the_logging_policy_itself_is_worth_its_mean_reward(rows: list[tuple[float, ...]]) -> None:
    r, p = [row[0] for row in rows], [row[1] for row in rows]
    for estimate in (ips(r, p, p), snips(r, p, p), doubly_robust(r, p, p, [0.0] * len(r), [0.0] * len(r))):
        assert estimate.value == pytest.approx(np.mean(r))
        assert estimate.effective_samples == pytest.approx(len(r))


class Bandit:
    """Three contexts, four arms; the logging policy prefers what the target policy does not."""

    def __init__(self, seed: int, n: int) -> None:
        rng = np.random.default_rng(seed)
        tables = np.random.default_rng(0)
        self.reward = tables.random((3, 4))
        self.logging = tables.dirichlet(np.ones(4) * 2, 3)
        self.target = tables.dirichlet(np.ones(4), 3)
        x = rng.integers(0, 3, n)
        a = np.array([rng.choice(4, p=self.logging[context]) for context in x])
        self.x, self.a = x, a
        self.r = (rng.random(n) < self.reward[x, a]).astype(np.float64)
        self.p, self.t = self.logging[x, a], self.target[x, a]
        self.truth = float((self.target * self.reward).sum(axis=1).mean())

    def robust(self, model: Floats, propensities: Floats | None = None) -> Estimate:
        logged = self.p if propensities is None else propensities
        values = (self.target * model).sum(axis=1)[self.x]
        return doubly_robust(self.r, logged, self.t, model[self.x, self.a], values)


def test_estimates_cover_the_truth_and_their_errors_are_honest() -> None:
    runs = [Bandit(seed, 2000) for seed in range(60)]
    for name, estimates in (
        ("ips", [ips(b.r, b.p, b.t) for b in runs]),
        ("snips", [snips(b.r, b.p, b.t) for b in runs]),
        ("dr", [b.robust(b.reward) for b in runs]),
    ):
        misses = np.array([(e.value - b.truth) / e.standard_error for e, b in zip(estimates, runs, strict=True)])
        assert abs(misses.mean()) < 0.5, name
        assert 0.7 < misses.std() < 1.3, name


def test_a_good_model_narrows_the_estimate_and_a_bad_one_does_not_spoil_it() -> None:
    bandit = Bandit(1, 20_000)
    plain = ips(bandit.r, bandit.p, bandit.t)
    assert bandit.robust(bandit.reward).standard_error < 0.8 * plain.standard_error
    assert bandit.robust(np.full((3, 4), 0.9)).value == pytest.approx(bandit.truth, abs=0.02)
    wrong = np.full(20_000, 0.25)
    assert bandit.robust(bandit.reward, wrong).value == pytest.approx(bandit.truth, abs=0.02)
    assert abs(ips(bandit.r, wrong, bandit.t).value - bandit.truth) > 0.05


def test_what_cannot_be_estimated_is_refused() -> None:
    for bad in (0.0, -0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="propensit"):
            ips([1.0], [bad], [0.5])
    with pytest.raises(ValueError, match="target"):
        ips([1.0], [0.5], [1.5])
    with pytest.raises(ValueError, match="rewards"):
        ips([], [], [])
    with pytest.raises(ValueError, match="nothing that was logged"):
        snips([1.0], [0.5], [0.0])
    with pytest.raises(ValueError, match="clipped"):
        ips([1.0], [0.5], [0.5], clip=0.0)
    with pytest.raises(ValueError, match="predicted"):
        doubly_robust([1.0], [0.5], [0.5], [1.0, 2.0], [1.0])
    assert ips([1.0], [0.5], [0.5]).standard_error == float("inf")


@given(rows=ROWS, factor=st.floats(0.1, 1.0))
def test_self_normalised_estimates_do_not_depend_on_the_scale_of_the_propensities(
    rows: list[tuple[float, ...]], factor: float
) -> None:
    r, p, t = ([row[column] for row in rows] for column in range(3))
    plain, scaled = snips(r, p, t), snips(r, [x * factor for x in p], t)
    assert scaled.value == pytest.approx(plain.value)
    assert scaled.standard_error == pytest.approx(plain.standard_error, abs=1e-9)


SLATES = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(
            st.tuples(st.floats(-5, 5), PROBABILITIES, PROBABILITIES),
            min_size=width,
            max_size=width,
        ),
        min_size=2,
        max_size=12,
    )
)


@given(slates=SLATES)
def test_slates_against_the_formulas(slates: list[list[tuple[float, float, float]]]) -> None:
    r, p, t = np.moveaxis(np.array(slates), 2, 0)
    terms = [sum(one_t / one_p * one_r for one_r, one_p, one_t in slate) for slate in slates]
    found = slate_ips(r, p, t)
    assert found.value == pytest.approx(np.mean(terms))
    assert found.standard_error == pytest.approx(np.std(terms, ddof=1) / len(slates) ** 0.5, abs=1e-9)
    assert found.count == len(slates)
    by_place = [snips(r[:, place], p[:, place], t[:, place]).value for place in range(r.shape[1])]
    assert slate_snips(r, p, t).value == pytest.approx(sum(by_place))
    single = slate_snips(r[:, :1], p[:, :1], t[:, :1])
    assert single.standard_error == pytest.approx(snips(r[:, 0], p[:, 0], t[:, 0]).standard_error)


def test_an_interval_is_that_of_the_normal_distribution() -> None:
    estimate = Estimate(2.0, 0.5, 100, 100.0)
    assert estimate.interval() == pytest.approx((2.0 - 0.5 * 1.959964, 2.0 + 0.5 * 1.959964))
    assert estimate.interval(0.5) == pytest.approx((2.0 - 0.5 * 0.67449, 2.0 + 0.5 * 0.67449), abs=1e-5)
    with pytest.raises(ValueError, match="level"):
        estimate.interval(1.0)


def test_slates_of_other_shapes_and_places_without_support_are_refused() -> None:
    ones = np.ones((2, 3))
    for wrong in (np.ones(3), np.ones((2, 2)), np.ones((0, 3))):
        with pytest.raises(ValueError, match="slates × places"):
            slate_ips(wrong, ones, ones)
    with pytest.raises(ValueError, match="at place 3"):
        slate_snips(ones, ones, ones * [1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="propensit"):
        slate_ips(ones, ones * 0.0, ones)
