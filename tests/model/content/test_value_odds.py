"""What content says of candidates, each value looked up once, against the coefficients of each candidate."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.content.pairs import PARTS, pairs_of
from stream_reco.model.content.regression import score
from stream_reco.model.content.value_odds import score_values
from stream_reco.model.content.value_rows import value_rows
from stream_reco.model.inputs import collate
from stream_reco.signals.content.fields import OF_TEXT
from tests.model.content.test_pairs import request

WEIGHTS = st.sampled_from([0.25, 0.5, 1.0, 2.0])
SAID = st.lists(
    st.tuples(st.sampled_from([2, 4, 6 | OF_TEXT]), st.integers(10, 13), WEIGHTS),
    max_size=16,
    unique_by=lambda value: value[:2],
)
PEOPLE = st.lists(
    st.tuples(
        st.integers(1, 3),
        SAID,
        st.lists(st.tuples(st.integers(1, 9), SAID), max_size=6),
        st.sampled_from([(), (71,), (71, 0, 72)]),
    ),
    min_size=1,
    max_size=4,
)


def known_of(keys: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32[m, 2]: a mean and a share for each key, the same whenever it is asked for."""
    shares = (keys.view(np.uint64) >> np.uint64(11)).astype(np.float64) / 2**53
    return np.stack([np.sin(shares * 1_000.0), shares], axis=1).astype(np.float32)


@settings(deadline=None)  # the first call compiles
@given(people=PEOPLE, priors=st.lists(st.sampled_from([0.0, 0.3, 1.0]), min_size=PARTS, max_size=PARTS))
def test_it_is_what_the_coefficients_of_each_candidate_say(people: list, priors: list[float]) -> None:  # type: ignore[type-arg]
    batch = collate([request(user, profile, items, contexts) for user, profile, items, contexts in people])
    variances = np.array(priors, np.float32)
    pairs = pairs_of(batch, variances)
    means, spreads = score(pairs, known_of(pairs.keys), variances)
    said, rows = value_rows(batch)
    found, spread = score_values(said, rows, known_of(rows.keys), variances)
    np.testing.assert_allclose(found, means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(spread, spreads, rtol=1e-4, atol=1e-6)


def test_a_value_of_many_candidates_is_looked_up_once() -> None:
    said = [(2, 10, 1.0), (4, 11, 0.5)]
    batch = collate([request(1, [(2, 10, 1.0)], [(item, said) for item in range(2, 102)])])
    _, rows = value_rows(batch)
    # A popularity and an appeal for each candidate; the user's own two; of two values three each; one equal feature.
    assert len(rows.keys) == 200 + 2 + 6 + 1
    assert len(np.unique(rows.keys)) == len(rows.keys)
