"""The vector index against brute force."""

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.retrieve import exact_rows
from stream_reco.retrieve.vector_index import NO_KEY, VectorIndex

Vectors = npt.NDArray[np.float32]
Keys = npt.NDArray[np.int64]


def brute_force(rows: dict[int, Vectors], queries: Vectors, k: int) -> tuple[Keys, Vectors]:
    """The same answer by sorting everything."""
    keys = np.full((len(queries), k), NO_KEY, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for q, query in enumerate(queries):
        ranked = sorted((-float(np.dot(vector, query)), key) for key, vector in rows.items())[:k]
        for i, (score, key) in enumerate(ranked):
            keys[q, i], scores[q, i] = key, -score
    return keys, scores


def unit(rng: np.random.Generator, n: int, dim: int) -> Vectors:
    vectors = rng.normal(size=(n, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def topics(rng: np.random.Generator, n: int, dim: int) -> Vectors:
    """Vectors in groups, as learned ones are."""
    vectors = unit(rng, 50, dim)[rng.integers(0, 50, n)] + 0.6 * unit(rng, n, dim)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def recall(found: Keys, truth: Keys) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found.tolist(), truth.tolist(), strict=True)]))


def whole(number: int) -> st.SearchStrategy[list[list[int]]]:
    # Small whole numbers have exact products, so that equal scores are equal in every order of summing.
    return st.lists(st.lists(st.integers(-3, 3), min_size=4, max_size=4), max_size=number)


@given(whole(150), whole(5), st.integers(0, 40), st.booleans())
@settings(max_examples=150, deadline=None)
def test_an_exact_search_is_brute_force(data: list[list[int]], asked: list[list[int]], k: int, big: bool) -> None:
    vectors = np.array(data, np.float32).reshape(-1, 4)
    queries = np.array(asked, np.float32).reshape(-1, 4)
    keys = np.arange(len(vectors), dtype=np.int64) * (2**57 if big else -7)
    index = VectorIndex(4)
    index.upsert(keys, vectors)
    found, scores = index.search(queries, k)
    expected = brute_force(dict(zip(keys.tolist(), vectors, strict=True)), queries, k)
    np.testing.assert_array_equal(scores, expected[1])
    truth = dict(zip(keys.tolist(), vectors, strict=True))
    for q in range(len(queries)):
        held = found[q][np.isfinite(scores[q])].tolist()
        assert len(set(held)) == len(held)
        assert [float(np.dot(truth[key], queries[q])) for key in held] == scores[q][: len(held)].tolist()
        assert (found[q][len(held) :] == NO_KEY).all()


def test_many_rows_and_queries_are_searched_in_blocks() -> None:
    rng = np.random.default_rng(1)
    vectors, queries = unit(rng, 9_000, 16), unit(rng, 300, 16)
    index = VectorIndex(16)
    index.upsert(np.arange(9_000), vectors)
    found, scores = index.search(queries, 10)
    product = queries @ vectors.T
    np.testing.assert_allclose(scores, -np.sort(-product, axis=1)[:, :10], atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(product, found, axis=1), scores, atol=1e-6)


class IndexMachine(RuleBasedStateMachine):
    """Random changes and rebuilds; a graph so small and thorough that it is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex(4, exact_below=10, ef=200)
        self.rows: dict[int, Vectors] = {}
        self.rng = np.random.default_rng(0)

    @rule(keys=st.lists(st.integers(-20, 20), max_size=30))
    def upsert(self, keys: list[int]) -> None:
        vectors = unit(self.rng, len(keys), 4)
        self.index.upsert(np.array(keys, np.int64), vectors)
        self.rows.update(zip(keys, vectors, strict=True))

    @rule(keys=st.lists(st.integers(-20, 20), max_size=10))
    def remove(self, keys: list[int]) -> None:
        self.index.remove(np.array(keys, np.int64))
        for key in keys:
            self.rows.pop(key, None)

    @rule()
    def rebuild(self) -> None:
        self.index.rebuild()

    @invariant()
    def answers_as_brute_force(self) -> None:
        queries = unit(self.rng, 3, 4)
        found, scores = self.index.search(queries, 7)
        keys, expected = brute_force(self.rows, queries, 7)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        np.testing.assert_array_equal(found, keys)
        assert len(self.index) == len(self.rows)

    @invariant()
    def gives_vectors_back(self) -> None:
        keys = np.arange(-20, 21)
        expected = np.array([self.rows.get(int(key), np.zeros(4, np.float32)) for key in keys])
        np.testing.assert_array_equal(self.index.vectors_of(keys), expected)


IndexMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestIndexMachine = IndexMachine.TestCase


def test_the_graph_recalls_what_brute_force_finds_before_and_after_changes() -> None:
    rng = np.random.default_rng(2)
    n, dim, k = 12_000, 32, 20
    vectors, queries = topics(rng, n, dim), topics(rng, 200, dim)
    index = VectorIndex(dim, exact_below=5_000)
    index.upsert(np.arange(n), vectors)
    assert index.due
    index.rebuild()
    assert not index.due
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    assert recall(index.search(queries, k)[0], truth) >= 0.95

    changed = rng.choice(n, n // 5, replace=False)
    vectors[changed] = topics(rng, len(changed), dim)
    index.upsert(changed[: len(changed) // 2], vectors[changed[: len(changed) // 2]])
    index.upsert(changed[len(changed) // 2 :], vectors[changed[len(changed) // 2 :]])
    gone = np.setdiff1d(rng.choice(n, n // 10, replace=False), changed)
    index.remove(gone)
    assert index.due
    product = queries @ vectors.T
    product[:, gone] = -np.inf
    found, scores = index.search(queries, k)
    assert recall(found, np.argsort(-product, axis=1)[:, :k]) >= 0.95
    assert not np.isin(found, gone).any()
    np.testing.assert_allclose(np.take_along_axis(product, found, axis=1), scores, atol=1e-5)


def test_the_graph_is_the_same_every_time() -> None:
    def answers() -> tuple[Keys, Vectors]:
        rng = np.random.default_rng(3)
        index = VectorIndex(16, exact_below=10)
        index.upsert(np.arange(3_000), unit(rng, 3_000, 16))
        index.rebuild()
        return index.search(unit(rng, 50, 16), 10)

    for once, again in zip(answers(), answers(), strict=True):
        np.testing.assert_array_equal(once, again)


def test_removing_nearly_all_of_a_graph_still_finds_the_rest() -> None:
    rng = np.random.default_rng(4)
    vectors = unit(rng, 2_000, 8)
    index = VectorIndex(8, exact_below=1)
    index.upsert(np.arange(2_000), vectors)
    index.rebuild()
    index.remove(np.arange(1_990))
    found, scores = index.search(vectors[:5], 20)
    assert all(set(row.tolist()) == {*range(1_990, 2_000), NO_KEY} for row in found)
    assert (scores[:, 10:] == -np.inf).all()


def test_changes_during_a_rebuild_are_in_the_new_graph_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    vectors = unit(rng, 500, 8)
    index = VectorIndex(8, exact_below=1)
    index.upsert(np.arange(500), vectors)
    build: Callable[[Vectors], object] = index._build

    def change_then_build(rows: Vectors) -> object:
        index.upsert(np.array([7, 1_000]), -vectors[[7, 8]])
        index.remove(np.array([9]))
        return build(rows)

    monkeypatch.setattr(index, "_build", change_then_build)
    index.rebuild()
    assert index.search(vectors[[9]], 1)[0][0, 0] != 9
    assert index.search(-vectors[[7]], 1)[0][0, 0] == 7
    assert index.search(-vectors[[8]], 1)[0][0, 0] == 1_000
    assert index.search(vectors[[7]], 1)[0][0, 0] != 7


def test_a_failed_rebuild_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    vectors = unit(rng, 300, 8)
    index = VectorIndex(8, exact_below=1)
    index.upsert(np.arange(300), vectors)
    index.rebuild()
    index.upsert(np.array([1]), -vectors[[0]])
    index.remove(np.arange(200, 240))
    assert index.due

    def fail(_: Vectors) -> object:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(index, "_build", fail)
        with pytest.raises(MemoryError):
            index.rebuild()
    assert index.due
    assert index.search(-vectors[[0]], 1)[0][0, 0] == 1
    index.rebuild()
    assert not index.due
    assert index.search(-vectors[[0]], 1)[0][0, 0] == 1


def test_a_thread_of_the_index_rebuilds_while_others_search() -> None:
    rng = np.random.default_rng(7)
    vectors = unit(rng, 4_000, 16)
    with VectorIndex(16, exact_below=1_000, background=True) as index:
        for start in range(0, 4_000, 100):
            index.upsert(np.arange(start, start + 100), vectors[start : start + 100])
            found, _ = index.search(vectors[start : start + 5], 1)
            assert found[:, 0].tolist() == list(range(start, start + 5))
        for _ in range(500):
            if not index.due:
                break
            threading.Event().wait(0.01)
        assert not index.due
        assert recall(index.search(vectors[:500], 1)[0], np.arange(500)[:, None]) >= 0.95
    assert not any(thread.name == "vector-index" for thread in threading.enumerate())


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    index = VectorIndex(3)
    index.upsert(np.array([1]), np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="need vectors"):
        index.upsert(np.array([1, 2]), np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="key 5 is not finite"):
        index.upsert(np.array([4, 5]), np.array([[1, 2, 3], [1, np.nan, 3]], np.float32))
    with pytest.raises(ValueError, match="queries"):
        index.search(np.ones((1, 2), np.float32), 1)
    with pytest.raises(ValueError, match="dim 0"):
        VectorIndex(0)
    assert len(index) == 1
    assert 1 in index
    assert 4 not in index


@given(whole(60), whole(3), st.integers(0, 30), st.lists(st.booleans(), max_size=70))
@settings(max_examples=150, deadline=None)
def test_an_exact_search_finds_what_is_allowed_alone(
    data: list[list[int]], asked: list[list[int]], k: int, allowed: list[bool]
) -> None:
    vectors = np.array(data, np.float32).reshape(-1, 4)
    queries = np.array(asked, np.float32).reshape(-1, 4)
    index = VectorIndex(4)
    index.upsert(np.arange(len(vectors)), vectors)
    keys, scores = index.search(queries, k, np.array(allowed, np.bool_))
    for look_up in (0, 10**9):  # keys one by one, or by a mask
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(exact_rows, "_LOOK_UP", look_up)
            among = index.search_among(queries, k, np.flatnonzero(allowed))
        assert (among[0].tolist(), among[1].tolist()) == (keys.tolist(), scores.tolist())
    rows = {key: vector for key, vector in enumerate(vectors) if key < len(allowed) and allowed[key]}
    np.testing.assert_array_equal(scores, brute_force(rows, queries, k)[1])


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.3, 0.9])
def test_a_graph_finds_as_many_of_the_allowed_as_there_are(share: float) -> None:
    """Few of them are searched exactly; where they are many, more is asked of the graph."""
    rng = np.random.default_rng(7)
    vectors, queries = topics(rng, 6_000, 16), topics(rng, 20, 16)
    index = VectorIndex(16, exact_below=1_000)
    index.upsert(np.arange(6_000), vectors)
    index.rebuild()
    allowed = rng.random(6_000) < share
    allowed[17] = share > 0
    index.upsert(np.array([17]), 2.0 * vectors[17:18])
    vectors[17] *= 2.0
    rows = {key: vectors[key] for key in np.flatnonzero(allowed).tolist()}
    found, scores = index.search(queries, 100, allowed)
    truth, _ = brute_force(rows, queries, 100)
    held = np.isfinite(scores)
    assert (held.sum(axis=1) == min(100, len(rows))).all()
    assert allowed[found[held]].all()
    assert (found[~held] == NO_KEY).all()
    if share > 0.0:
        assert recall(found[:, : len(rows)], truth[:, : len(rows)]) > 0.95
