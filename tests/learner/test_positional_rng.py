"""Random numbers of a place, against a generator that is made anew for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_reco.learner.positional_rng import PositionalRng


@given(seed=st.integers(0, 2**63 - 1), places=st.lists(st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 9))))
def test_a_place_has_its_own_numbers_whatever_was_drawn_before(seed: int, places: list[tuple[int, int]]) -> None:
    randomness = PositionalRng(seed)
    for place, count in places:
        ours, fresh = randomness.at(place), np.random.Generator(np.random.Philox(key=[seed, place]))
        assert ours.random(count).tolist() == fresh.random(count).tolist()
        # Half a word is left in the buffer for whoever comes next.
        assert (
            ours.integers(1000, size=count, dtype=np.uint32).tolist()
            == fresh.integers(1000, size=count, dtype=np.uint32).tolist()
        )
