"""What content learns of a choice among candidates is what a softmax over them says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import SGD, EmbeddingTable
from stream_reco.model.content.pairs import Pairs, pairs_of, priors_of
from stream_reco.model.content.regression import contrasts
from stream_reco.model.content.settings import ContentSettings
from stream_reco.model.inputs import Inputs
from stream_reco.signals.content.values import Values
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.content_trainer import ContentTrainer
from tests.train.toy_examples import NOW, example

ITEMS_ALONE = ContentSettings(item=1e-4, user=0, cross=0, equal=0, context=0, own=0, appeal=0, popularity=0, activity=0)
"""A prior so narrow that a step is the gradient times the prior variance."""


def values_of(codes: list[int], weight: float = 1.0) -> Values:
    count = len(codes)
    return Values(np.zeros(count, np.int32), np.array(codes, dtype=np.int64), np.full(count, weight, np.float32))


def choice(items: list[list[int]], profile: list[int] | None = None) -> Labelled:
    """An action on the first item, the others sampled; of each item the codes of what is said."""
    bare = example(1, list(range(10, 10 + len(items))), 1)
    said = values_of([code for codes in items for code in codes])
    counts = np.array([len(codes) for codes in items], dtype=np.int32)
    whole = replace(Inputs.from_bytes(bare.inputs), profile=values_of(profile or []), counts=counts, said=said)
    return Labelled(whole.to_bytes(), 1, 1.0, NOW, 0)


def learned(of: ContentSettings, one: Labelled, logits: NDArray[np.float64]) -> tuple[NDArray[np.float32], Pairs]:
    """The rows of all coefficients after the choice, and the coefficients."""
    table = EmbeddingTable(2, SGD(lr=1.0), name="content", init_scale=0.0)
    trainer, batch = ContentTrainer(of, lambda: table), training_batch([one])
    # Negatives alone earn no rows: here they have them.
    pairs = pairs_of(batch.batch, trainer.priors)
    table.train_rows(np.unique(pairs.keys), NOW)
    prepared = trainer.prepare(batch)
    assert prepared is not None
    trainer.learn(prepared, batch, logits.astype(np.float32))
    return table.lookup(pairs.keys), pairs


@given(
    st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=1), min_size=2, max_size=8),
    st.randoms(use_true_random=False),
)
@settings(max_examples=25, deadline=None)
def test_a_step_follows_the_gradient_of_the_softmax(items: list[list[int]], random: object) -> None:
    logits = np.array([random.uniform(-2, 2) for _ in items])  # type: ignore[attr-defined]
    rows, pairs = learned(ITEMS_ALONE, choice(items), logits)
    shares = np.exp(logits) / np.exp(logits).sum()
    expected: dict[int, float] = {}
    for candidate, (code,) in enumerate(items):
        expected[code] = expected.get(code, 0.0) + 1e-4 * ((candidate == 0) - shares[candidate])
    found = [rows[pairs.bounds[candidate], 0] for candidate in range(len(items))]
    np.testing.assert_allclose(found, [expected[code] for (code,) in items], rtol=1e-2, atol=1e-8)


def test_what_all_candidates_have_in_common_is_not_learned() -> None:
    of = replace(ITEMS_ALONE, item=1.0, user=1.0, activity=1.0)
    rows, pairs = learned(of, choice([[1], [2], [3]], profile=[7, 8]), np.zeros(3))
    common = np.isin(pairs.parts, [1, 8])
    assert common.any()
    np.testing.assert_allclose(rows[common], 0.0, atol=1e-6)
    assert rows[pairs.bounds[0] : pairs.bounds[1], 0].max() > 0.1


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-2, 2, width=32)), min_size=1, max_size=30), st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_contrasts_are_sums_over_candidates(coefficients: list[tuple[int, float]], requests: int) -> None:
    rng = np.random.default_rng(len(coefficients))
    candidates = requests + 3
    bounds = np.sort(np.r_[0, rng.integers(0, len(coefficients) + 1, candidates - 1), len(coefficients)])
    starts = np.sort(np.r_[0, rng.choice(np.arange(1, candidates), requests - 1, replace=False)]).astype(np.int64)
    places = np.array([place for place, _ in coefficients], dtype=np.int64)
    weights = np.array([weight for _, weight in coefficients], dtype=np.float32)
    shares = rng.normal(size=candidates)
    pairs = Pairs(places, weights, np.zeros(len(places), np.int8), bounds.astype(np.int64))
    found, inputs, _, ends = contrasts(pairs, places, starts, shares)
    for one in range(requests):
        expected: dict[int, float] = {}
        for candidate in range(starts[one], starts[one + 1] if one + 1 < requests else candidates):
            for at in range(bounds[candidate], bounds[candidate + 1]):
                expected[int(places[at])] = expected.get(int(places[at]), 0.0) + shares[candidate] * float(weights[at])
        got = dict(zip(found[ends[one] : ends[one + 1]].tolist(), inputs[ends[one] : ends[one + 1]], strict=True))
        assert set(got) <= set(expected)
        for place, value in expected.items():
            assert abs(got.get(place, 0.0) - value) < 1e-4


def test_much_that_is_said_is_no_wider_a_prior() -> None:
    of = replace(ITEMS_ALONE, item=1.0, own=1.0, cross=1.0)
    batch = training_batch([choice([[1], list(range(1, 9))], profile=[7, 8, 9])]).batch
    pairs = pairs_of(batch, priors_of(of))
    squares = [
        np.bincount(pairs.parts[begin:end], pairs.weights[begin:end] ** 2, minlength=10)
        for begin, end in zip(pairs.bounds[:-1], pairs.bounds[1:], strict=True)
    ]
    np.testing.assert_allclose([one[[0, 2, 5]] for one in squares], 1.0, rtol=1e-5)
