"""The regression held to what it approximates: the exact step, the true posterior, the gradient of a softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.content.pairs import Pairs
from stream_reco.model.content.regression import Observations, contrasts, learned, score

PRIORS = np.array([0.25, 1.0], dtype=np.float32)
OFFSET = math.log(0.1 / 0.9)


def observed(
    inputs: list[list[tuple[int, float, int]]],
    labels: list[float],
    offsets: list[float] | None = None,
    weights: list[float] | None = None,
    undone: list[float] | None = None,
) -> Observations:
    """Observations whose coefficients are given as (row, input, part)."""
    flat = [one for request in inputs for one in request]
    count = len(inputs)
    return Observations(
        np.array([row for row, _, _ in flat], dtype=np.int64),
        np.array([x for _, x, _ in flat], dtype=np.float32),
        np.array([part for _, _, part in flat], dtype=np.int8),
        np.cumsum([0, *map(len, inputs)]).astype(np.int64),
        np.array(offsets or [0.0] * count),
        np.array(labels),
        np.array(weights or [1.0] * count),
        np.array(undone or [0.0] * count),
    )


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


NUMBERS = st.floats(-3.0, 3.0)


@settings(deadline=None)  # the first call compiles
@example([(0.0, 0.0, 2.0, 1), (1.0, 0.0, 1.0, 0)], 3.0, 0.0, 3.0)  # Newton's method alone goes to and fro
@example([(0.0, 0.0, 2.0, 1), (0.0, 0.0, 1.5, 0)], -4.0, 1.0, 3.0)  # and so slowly within bounds
@given(
    coefficients=st.lists(
        st.tuples(NUMBERS, st.floats(0.0, 0.99), st.floats(0.1, 2.0), st.integers(0, 1)), min_size=1, max_size=5
    ),
    offset=st.floats(-12.0, 6.0),
    label=st.sampled_from([0.0, 1.0]),
    weight=st.floats(0.0, 3.0),
)
def test_the_score_moves_to_where_prior_and_likelihood_meet(
    coefficients: list[tuple[float, float, float, int]], offset: float, label: float, weight: float
) -> None:
    rows = np.array([[mean, gone] for mean, gone, _, _ in coefficients], dtype=np.float32)
    of_one = [(row, x, part) for row, (_, _, x, part) in enumerate(coefficients)]
    after = learned(rows, observed([of_one], [label], [offset], [weight]), PRIORS)
    x = np.array([one[2] for one in coefficients])
    prior = PRIORS[[one[3] for one in coefficients]].astype(float)
    before = offset + float(x @ rows[:, 0])
    variance = float((x * x * prior * (1.0 - rows[:, 1])).sum())
    now = offset + float(x @ after[:, 0])
    assert now == pytest.approx(before + variance * weight * (label - sigmoid(now)), abs=2e-3)
    assert np.all(after[:, 1] >= rows[:, 1] - 1e-6), "no observation makes less known"
    assert np.all(after[:, 1] < 1.0)


@pytest.mark.parametrize("chance", [0.02, 0.1, 0.4])
def test_one_coefficient_has_about_the_true_posterior(chance: float) -> None:
    off, ratios = [], []
    for seed in range(300):
        labels = (np.random.default_rng(seed).random(60) < chance).astype(float)
        after = learned(
            np.zeros((1, 2), np.float32), observed([[(0, 1.0, 1)]] * 60, labels.tolist(), [OFFSET] * 60), PRIORS
        )
        mean, deviation = true_posterior(labels)
        off.append(abs(after[0, 0] - mean) / deviation)
        ratios.append(math.sqrt(1.0 - after[0, 1]) / deviation)
    # One observation at a time depends on their order: it is off by a third of a deviation as a rule, seldom by one.
    assert np.mean(off) < 0.4
    assert max(off) < 1.5
    assert min(ratios) > 0.7
    assert max(ratios) < 1.3


def true_posterior(labels: NDArray[np.float64]) -> tuple[float, float]:
    """Mean and deviation of a coefficient with prior variance 1, by a sum over a grid."""
    grid = np.linspace(-6.0, 6.0, 2401)
    odds = OFFSET + grid
    log = -0.5 * grid**2 + labels.sum() * odds - len(labels) * np.logaddexp(0.0, odds)
    density = np.exp(log - log.max())
    density /= density.sum()
    mean = float(density @ grid)
    return mean, math.sqrt(float(density @ (grid - mean) ** 2))


def test_what_is_taken_back_leaves_the_opposite() -> None:
    one = [[(0, 1.0, 1)]]
    wrong = learned(np.zeros((1, 2), np.float32), observed(one, [0.0]), PRIORS)
    mended = learned(wrong, observed(one, [1.0], undone=[1.0]), PRIORS)
    right = learned(np.zeros((1, 2), np.float32), observed(one, [1.0]), PRIORS)
    assert wrong[0, 0] < 0.0 < mended[0, 0]
    assert mended[0, 0] == pytest.approx(right[0, 0], abs=0.1)


def test_what_weighs_nothing_changes_nothing() -> None:
    rows = np.array([[0.5, 0.2]], dtype=np.float32)
    np.testing.assert_array_equal(learned(rows, observed([[(0, 1.0, 1)]], [1.0], weights=[0.0]), PRIORS), rows)
    np.testing.assert_array_equal(learned(rows, observed([[]], [1.0]), PRIORS), rows)


def pairs_of_rows(candidates: list[list[tuple[int, float, int]]]) -> Pairs:
    flat = [one for candidate in candidates for one in candidate]
    return Pairs(
        np.array([row for row, _, _ in flat], dtype=np.int64),
        np.array([x for _, x, _ in flat], dtype=np.float32),
        np.array([part for _, _, part in flat], dtype=np.int8),
        np.cumsum([0, *map(len, candidates)]).astype(np.int64),
    )


CANDIDATE = st.lists(st.tuples(st.integers(0, 7), st.floats(-2.0, 2.0), st.integers(0, 1)), max_size=6)


@settings(deadline=None)  # the first call compiles
@given(candidates=st.lists(CANDIDATE, max_size=6), seed=st.integers(0, 99))
def test_scores_are_sums_over_coefficients(candidates: list[list[tuple[int, float, int]]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.column_stack([rng.normal(size=8), rng.uniform(0.0, 1.0, 8)]).astype(np.float32)
    pairs = pairs_of_rows(candidates)
    means, variances = score(pairs, rows[pairs.keys], PRIORS)
    for place, candidate in enumerate(candidates):
        assert means[place] == pytest.approx(sum(x * rows[row, 0] for row, x, _ in candidate), abs=1e-4)
        spread = sum(x * x * PRIORS[part] * (1.0 - rows[row, 1]) for row, x, part in candidate)
        assert variances[place] == pytest.approx(spread, abs=1e-4)


@settings(deadline=None)  # the first call compiles
@given(seed=st.integers(0, 999), count=st.integers(2, 8))
def test_a_choice_has_the_gradient_of_the_softmax(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    dense: NDArray[Any] = rng.normal(size=(count, 5)) * (rng.random((count, 5)) < 0.7)
    candidates = [[(row, float(x), 0) for row, x in enumerate(line) if x != 0.0] for line in dense]
    logits = torch.tensor(rng.normal(size=count))
    weights = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    torch.log_softmax(logits + torch.tensor(dense) @ weights, 0)[0].backward()  # type: ignore[no-untyped-call]
    assert weights.grad is not None
    # What is chosen against the others, each by its share of their odds.
    odds = np.exp(logits.numpy())
    shares = odds / odds[1:].sum()
    shares[0] = -1.0
    pairs = pairs_of_rows(candidates)
    found = contrasts(pairs, pairs.keys, np.zeros(1, np.int64), -shares)
    offset = float(logits[0]) - float(np.log(odds[1:].sum()))
    given_rows = np.zeros((5, 2), np.float32)
    small = np.full(2, 1e-4, dtype=np.float32)
    after = learned(given_rows, Observations(*found, *map(np.atleast_1d, (offset, 1.0, 1.0, 0.0))), small)
    np.testing.assert_allclose(after[:, 0] / 1e-4, weights.grad.numpy(), rtol=2e-3, atol=2e-3)
