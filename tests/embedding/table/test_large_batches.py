"""What a table takes for a batch that is large beside it: memory for its distinct keys, and not for each occurrence."""

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable

RNG = np.random.default_rng(3)
BATCHES = {
    "each once": RNG.permutation(2_000_000),
    "each twice": RNG.permutation(np.arange(1_000_000).repeat(2)),
    "zipf 1.1": RNG.zipf(1.1, 3_000_000),
    "zipf 1.3": RNG.zipf(1.3, 3_000_000),
    "rising": np.sort(RNG.zipf(1.2, 3_000_000)),
}


@pytest.mark.parametrize("keys", BATCHES.values(), ids=BATCHES)
def test_memory_is_that_of_the_distinct_keys(keys: NDArray[np.int64]) -> None:
    table = EmbeddingTable(1, "sgd")
    table.train_rows(keys, 0)
    assert len(table) == len(np.unique(keys))
    # A key that comes twice looks like two to a sample of a few thousand.
    assert table.nbytes / len(table) - 4 < 55
    table.check_invariants()


def test_a_thousand_keys_take_what_a_thousand_keys_take() -> None:
    table = EmbeddingTable(1, "sgd")
    table.train_rows(RNG.integers(0, 1000, 5_000_000), 0)
    assert len(table) == 1000
    assert table.nbytes < 1_000_000


def test_known_keys_are_expected_to_take_nothing() -> None:
    table, keys = EmbeddingTable(1, "sgd"), np.arange(100_000)
    table.train_rows(keys, 0)
    before = table.nbytes
    table.train_rows(np.tile(keys, 20), 1)
    assert table.nbytes == before
