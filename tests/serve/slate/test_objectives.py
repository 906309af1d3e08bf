"""What items are worth, and the order that follows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.model.heads import KindPredictions
from stream_reco.serve.refused import RefusedError
from stream_reco.serve.slate.objectives import as_probabilities, check_objectives, worth

SAID = KindPredictions(
    ("click", "buy"),
    np.array([[0.2, 0.01], [0.1, 0.05]], dtype=np.float32),
    ("buy",),
    np.array([[0.5], [0.25]], dtype=np.float32),
)
CHANCES = st.lists(st.tuples(st.floats(1e-6, 1.0), st.floats(0.0, 1e6)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        ({"click": 1.0}, [0.2, 0.1]),
        ({"click": 1.0, "buy": 20.0}, [0.4, 1.1]),
        ({"buy.value": 2.0, "buy": 0.0}, [1.0, 0.5]),
        ({"buy": 10.0, "unheard-of": 5.0}, [0.1, 0.5]),
        ({"unheard-of": 5.0}, None),
    ],
)
def test_worth_is_the_sum_of_weight_times_probability(
    objectives: dict[str, float], expected: list[float] | None
) -> None:
    found = worth(objectives, SAID)
    if expected is None:
        assert found is None
    else:
        assert found is not None
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@given(CHANCES)
def test_what_slates_are_ordered_by_keeps_the_order_and_is_a_probability(pairs: list[tuple[float, float]]) -> None:
    acted, each = (np.array(column, dtype=np.float32) for column in zip(*pairs, strict=True))
    by_worth: NDArray[np.float32] = acted * each
    values = as_probabilities(acted, by_worth)
    assert ((values >= 0) & (values <= acted * (1 + 1e-6))).all()
    if by_worth.max() > 0:
        np.testing.assert_allclose(values * each.max(), by_worth, rtol=1e-4, atol=1e-30)


def test_where_actions_are_worth_the_same_these_are_the_probabilities() -> None:
    acted = np.array([0.5, 0.01], dtype=np.float32)
    np.testing.assert_allclose(as_probabilities(acted, 20 * acted), acted, rtol=1e-6)
    np.testing.assert_array_equal(as_probabilities(acted, 0 * acted), acted)


def test_a_name_that_is_no_kind_is_refused() -> None:
    check_objectives({"buy": 1.0}, ["click", "buy"])
    with pytest.raises(RefusedError, match="did you mean 'click'"):
        check_objectives({"clik": 1.0}, ["click", "buy"])
    with pytest.raises(RefusedError, match="no action has come yet"):
        check_objectives({"click": 1.0}, [])
