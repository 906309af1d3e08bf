"""AUC, log loss and calibration against scikit-learn, and their memory against a long stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss, roc_auc_score

from stream_reco.measure import BinaryMetrics, RollingBinaryMetrics, expected_calibration_error

Floats = NDArray[np.float64]


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.floats(0.001, 0.999) | st.sampled_from([0.25, 0.5]), st.integers(0, 1), st.floats(0.01, 9.0)),
        min_size=2,
        max_size=50,
    ),
    cut=st.integers(0, 50),
)
def test_few_examples_are_exact(rows: list[tuple[float, int, float]], cut: int) -> None:
    scores, labels, weights = (np.array(column) for column in zip(*rows, strict=True))
    metrics = BinaryMetrics()
    for part in (slice(0, cut), slice(cut, None)):
        metrics.add(scores[part], labels[part], weights[part])
    assert metrics.logloss == pytest.approx(log_loss(labels, scores, sample_weight=weights, labels=[0, 1]))
    if len(set(labels)) < 2:
        assert metrics.auc is None
    else:
        assert metrics.auc == pytest.approx(roc_auc_score(labels, scores, sample_weight=weights))
    if labels.sum():
        assert metrics.calibration == pytest.approx((scores * weights).sum() / (labels * weights).sum())
    else:
        assert metrics.calibration is None
    assert metrics.count == len(rows)


def logits(kind: str, rng: np.random.Generator, n: int) -> Floats:
    return {
        "spread": rng.normal(0, 2, n),
        "rare": rng.normal(-6, 1, n),
        "crowded": rng.normal(-4, 1e-4, n),
        "drifting": rng.normal(0, 1, n) + np.linspace(-5, 5, n),
        "falling": rng.normal(0, 1, n) + np.linspace(5, -5, n),
        "atoms": np.where(rng.random(n) < 0.7, 0.3, rng.normal(0, 1, n)),
    }[kind]


@pytest.mark.parametrize("kind", ["spread", "rare", "crowded", "drifting", "falling", "atoms"])
@pytest.mark.parametrize("weighted", [False, True])
def test_long_streams_stay_within_a_thousandth_in_bounded_memory(kind: str, weighted: bool) -> None:
    rng = np.random.default_rng(7)
    n = 200_000
    z = logits(kind, rng, n)
    scores = 1 / (1 + np.exp(-z))
    # The truth follows the scores' order, however close together they are.
    centred = (z - z.mean()) / z.std()
    labels = (rng.random(n) < 1 / (1 + np.exp(3 - centred))).astype(np.float64)
    weights = rng.exponential(1.0, n) if weighted else np.ones(n)
    metrics = BinaryMetrics()
    sizes = []
    for part in np.array_split(np.arange(n), 257):
        metrics.add(scores[part], labels[part], weights[part])
        sizes.append(metrics.nbytes)
    exact = roc_auc_score(labels, scores, sample_weight=weights)
    assert metrics.auc == pytest.approx(exact, abs=1e-3)
    assert metrics.logloss == pytest.approx(log_loss(labels, scores, sample_weight=weights))
    assert max(sizes) < 2_000_000
    assert max(sizes[100:]) <= max(sizes[:100]) * 1.1


def test_reliability_against_scikit_learn_and_ece_against_its_definition() -> None:
    rng = np.random.default_rng(3)
    scores = rng.beta(1, 20, 5000)
    labels = (rng.random(5000) < np.clip(scores * 1.3, 0, 1)).astype(np.float64)
    metrics = BinaryMetrics()
    metrics.add(scores, labels)
    bins = metrics.reliability(10)
    observed, predicted = calibration_curve(labels, scores, n_bins=10, strategy="quantile")
    assert [b.predicted for b in bins] == pytest.approx(predicted.tolist(), rel=0.02)
    assert [b.observed for b in bins] == pytest.approx(observed.tolist(), abs=0.004)
    order = np.argsort(scores).reshape(10, 500)
    gaps = [abs(labels[part].mean() - scores[part].mean()) for part in order]
    assert metrics.ece(10) == pytest.approx(np.mean(gaps))
    assert sum(b.mass for b in bins) == 5000


def test_weights_count_like_repeated_examples() -> None:
    once, often = BinaryMetrics(), BinaryMetrics()
    once.add([0.2, 0.7, 0.4], [0, 1, 1], [3, 1, 2])
    often.add([0.2, 0.2, 0.2, 0.7, 0.4, 0.4], [0, 0, 0, 1, 1, 1])
    assert once.as_dict() == pytest.approx(often.as_dict())
    assert once.reliability(3) == often.reliability(3)


def test_a_window_holds_the_last_examples_alone() -> None:
    rng = np.random.default_rng(5)
    scores, labels, weights = rng.random(1000), rng.integers(0, 2, 1000), rng.random(1000)
    rolling = RollingBinaryMetrics(window=150)
    at = 0
    for size in (1, 0, 70, 400, 2, 149, 150, 151, 77):
        rolling.add(scores[at : at + size], labels[at : at + size], weights[at : at + size])
        at += size
        last = slice(max(0, at - 150), at)
        whole = BinaryMetrics()
        whole.add(scores[last], labels[last], weights[last])
        assert rolling.metrics().as_dict() == pytest.approx(whole.as_dict())
    assert at == 1000


def test_certain_mistakes_have_a_finite_loss() -> None:
    metrics = BinaryMetrics()
    metrics.add(np.array([0.0, 1.0], dtype=np.float32), [1, 0])
    assert metrics.logloss == pytest.approx(-np.log(1e-7), rel=1e-6)


def test_nothing_yet_is_none_not_nan() -> None:
    metrics = BinaryMetrics()
    metrics.add([], [])
    assert metrics.as_dict() == {"auc": None, "logloss": None, "calibration": None}
    assert metrics.reliability() == []
    assert metrics.ece() is None
    assert expected_calibration_error([]) is None


@pytest.mark.parametrize(
    ("predicted", "labels", "weights", "said"),
    [
        ([float("nan")], [1], None, "not nan"),
        ([1.5], [1], None, r"not 1\.5"),
        ([0.5], [2], None, "labels are 0 or 1"),
        ([0.5], [1], [-1.0], "not negative"),
        ([0.5], [1], [float("inf")], "not inf"),
        ([0.5, 0.5], [1], None, "one of each"),
    ],
)
def test_what_is_no_example_is_refused_and_not_counted(
    predicted: list[float], labels: list[int], weights: list[float] | None, said: str
) -> None:
    metrics = BinaryMetrics()
    with pytest.raises(ValueError, match=said):
        metrics.add(predicted, labels, weights)
    assert metrics.count == 0
    assert metrics.auc is None


def test_looking_at_figures_does_not_change_them() -> None:
    rng = np.random.default_rng(4)
    seen, unseen = BinaryMetrics(bins=64), BinaryMetrics(bins=64)
    for number in range(200):
        scores, labels = rng.random(50), (rng.random(50) < 0.3).astype(float)
        for metrics in (seen, unseen):
            metrics.add(scores, labels)
        if number % 3 == 0:
            assert seen.auc is not None
    assert seen.auc == unseen.auc
    assert seen.ece() == unseen.ece()
