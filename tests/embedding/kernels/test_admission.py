"""Who gets a row, and what the others get."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stream_reco.embedding import SGD, After, EmbeddingTable, ReplicaTable, after, probability


def test_everybody_gets_a_row_without_admission() -> None:
    table = EmbeddingTable(2)
    assert table.train_rows([4, 4, -9], 0).tolist() == [0, 0, 1]
    assert table.lookup([4]).any()
    assert not table.lookup([5]).any()


@pytest.mark.parametrize("k", [1, 2, 5])
def test_after_k_admits_at_the_kth_sighting(k: int) -> None:
    table = EmbeddingTable(2, admission=after(k))
    rows = [int(table.train_rows([8, 100 + i], 0)[0]) for i in range(k + 2)]
    assert [row >= 0 for row in rows] == [False] * (k - 1) + [True] * 3
    assert len(table) == (1 if k > 1 else k + 3)


def test_each_occurrence_in_a_batch_is_a_sighting() -> None:
    table = EmbeddingTable(2, admission=after(3))
    assert table.train_rows([8, 8, 8, 8], 0).tolist() == [-1, -1, 0, 0]


def test_an_evicted_key_must_be_seen_k_times_again() -> None:
    table = EmbeddingTable(2, admission=after(2), ttl_ms=10)
    table.train_rows([8, 8], 0)
    assert table.evict(11).tolist() == [8]
    assert table.train_rows([8], 12).tolist() == [-1]
    assert table.train_rows([8], 13).tolist() == [0]


def test_the_sketch_forgets_what_was_seen_long_ago() -> None:
    table = EmbeddingTable(2, admission=After(2, window=100))
    table.train_rows([8], 0)
    table.train_rows(1000 + np.arange(100), 0)
    assert table.train_rows([8], 0).tolist() == [-1]


def test_strangers_are_rarely_admitted_early() -> None:
    table = EmbeddingTable(1, "sgd", admission=After(3, window=1 << 14))
    keys = np.random.default_rng(0).integers(0, 1 << 62, 200_000)
    rows = table.train_rows(keys, 0)
    assert (rows >= 0).mean() < 0.002


@pytest.mark.parametrize(("strangers", "wrong"), [(30_000, 0), (300_000, 0.002)])
def test_many_strangers_at_a_time_are_admitted_at_their_kth_sighting(strangers: int, wrong: float) -> None:
    table = EmbeddingTable(1, "sgd", admission=after(3))
    keys = np.random.default_rng(0).permutation(strangers)
    table.train_rows(keys, 0)
    table.train_rows(keys[::-1], 1)
    assert len(table) <= wrong * strangers
    assert (table.train_rows(keys, 2) < 0).mean() <= wrong


def test_the_sketch_of_a_bounded_table_takes_little_of_the_budget() -> None:
    assert after(2).window_within(None) == 1 << 20
    assert after(2).window_within(4 << 30) == 1 << 20
    for budget in (1 << 20, 3_000_000, 50 << 20):
        assert budget / 40 < after(2).sketch(budget).nbytes < budget / 15
    assert after(2).window_within(100) == 1 << 10
    assert after(2, window=77).window_within(1 << 20) == 77


def test_probability_admits_that_share_and_is_the_same_everywhere() -> None:
    keys = np.arange(20_000)
    first, second = (EmbeddingTable(1, "sgd", admission=probability(0.3), seed=4) for _ in range(2))
    rows = first.train_rows(keys, 1000)
    assert abs((rows >= 0).mean() - 0.3) < 0.02
    for part in np.split(keys, 8):
        assert np.array_equal(second.train_rows(part, 1000), rows[part])
    later = first.train_rows(keys, 1000) >= 0
    assert abs(later.mean() - (1 - 0.7**2)) < 0.02


def test_each_sighting_of_a_batch_draws_for_itself() -> None:
    table = EmbeddingTable(1, "sgd", admission=probability(0.25))
    rows = table.train_rows(np.arange(20_000).repeat(4), 0).reshape(-1, 4) >= 0
    assert (rows[:, 1:] >= rows[:, :-1]).all()
    np.testing.assert_allclose(rows.mean(axis=0), 1 - 0.75 ** np.arange(1, 5), atol=0.02)


def test_draws_go_on_after_a_load(tmp_path: Path) -> None:
    table = EmbeddingTable(1, "sgd", admission=probability(0.1))
    table.train_rows(np.arange(1000), 0)
    table.save(tmp_path / "t")
    loaded = EmbeddingTable.load(tmp_path / "t")
    assert np.array_equal(loaded.train_rows(np.arange(1000), 0), table.train_rows(np.arange(1000), 0))


def test_keys_without_a_row_share_a_trained_default() -> None:
    table = EmbeddingTable(2, SGD(lr=1.0), admission=after(2), name="x")
    table.train_rows([1, 1, 2], 0)
    known = table.lookup([1])
    assert not table.lookup([2, 3]).any()
    table.apply_gradients([2, 3], np.array([[1, 0], [1, 4]], np.float32))
    np.testing.assert_array_equal(table.lookup([2, 9]), [[-2, -4], [-2, -4]])
    np.testing.assert_array_equal(table.lookup([1]), known)
    delta = table.drain_touched()
    assert delta.default is not None
    replica = ReplicaTable(2, name="x")
    replica.apply_delta(delta)
    np.testing.assert_array_equal(replica.lookup([1, 2]), table.lookup([1, 2]))
    assert table.drain_touched().default is None


def test_without_admission_gradients_of_strangers_are_ignored_and_counted() -> None:
    table = EmbeddingTable(2)
    table.train_rows([1], 0)
    table.apply_gradients([1, 5, 5], np.ones((3, 2), np.float32))
    assert table.ignored == 2
    assert len(table) == 1
    assert not table.lookup([5]).any()


@pytest.mark.parametrize("k", [0, 256])
def test_after_names_a_bad_k(k: int) -> None:
    with pytest.raises(ValueError, match=f"k={k}"):
        after(k)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: after(1.5), r"after\(\): k is 1.5, must be a whole number of sightings"),  # type: ignore[arg-type]
        (lambda: after(True), "k is True"),
        (lambda: after("2"), "k is '2'"),  # type: ignore[arg-type]
        (lambda: after(2, window=1000.0), "window is 1000.0"),  # type: ignore[arg-type]
        (lambda: probability(True), "p is True, must be a number"),
        (lambda: probability("0.5"), "p is '0.5'"),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_number_is_named(make: Callable[[], object], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        make()


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan")])
def test_probability_names_a_bad_p(p: float) -> None:
    with pytest.raises(ValueError, match="p must lie in 0 to 1"):
        probability(p)
