"""The vector index against brute force."""

import threading
import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.retrieve import exact_rows, vector_index
from stream_reco.retrieve.inverted_lists import InvertedLists
from stream_reco.retrieve.list_kernels import PAGE
from stream_reco.retrieve.vector_index import NO_KEY, AskedQuery, VectorIndex

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


def with_lists(vectors: Vectors, share: float = 1.0) -> VectorIndex:
    """Keys 0, 1, 2, … in lists, of which a search looks at a share."""
    index = VectorIndex(vectors.shape[1])
    index.upsert(np.arange(len(vectors)), vectors)
    index.build()
    index.searches_lists, index.share = True, share
    return index


def check_lists(index: VectorIndex) -> None:
    """Each row is in the list of the centroid nearest to it, once, and nothing else is in any list."""
    lists = index._lists
    if lists is None:
        return
    pages, found, in_use = lists._pages, Counter[tuple[int, int]](), set()
    for which in range(len(pages.used)):
        page, width = int(pages.head[which]), int(pages.used[which])
        while page >= 0:
            in_use.add(page)
            assert width > 0
            assert pages.owner[page] == which
            for entry, row in enumerate(pages.rows[page, :width].tolist()):
                found[row, which] += 1
                assert pages.place[row] == page * PAGE + entry
            page, width = int(pages.next[page]), PAGE
    nearest = lists.centroids.nearest(index._all.vectors[: len(index)])
    assert found == Counter(enumerate(nearest.tolist()))
    assert (pages.place[len(index) :] < 0).all()
    free, page = set(), int(pages.head[-1])
    while page >= 0:
        free.add(page)
        page = int(pages.next[page])
    assert free.isdisjoint(in_use)
    assert len(free) + len(in_use) == len(pages.owner)


class IndexMachine(RuleBasedStateMachine):
    """Random changes and builds; searches look at all lists, which makes them exact."""

    def __init__(self) -> None:
        super().__init__()
        self.index = VectorIndex(4)
        self.rows: dict[int, Vectors] = {}
        self.rng = np.random.default_rng(0)

    @rule(keys=st.lists(st.integers(-20, 200), max_size=60))
    def upsert(self, keys: list[int]) -> None:
        vectors = unit(self.rng, len(keys), 4)
        self.index.upsert(np.array(keys, np.int64), vectors)
        self.rows.update(zip(keys, vectors, strict=True))

    @rule(keys=st.lists(st.integers(-20, 200), max_size=60))
    def remove(self, keys: list[int]) -> None:
        self.index.remove(np.array(keys, np.int64))
        for key in keys:
            self.rows.pop(key, None)

    @rule()
    def build(self) -> None:
        self.index.build()
        self.index.searches_lists = True
        assert self.index.changed == 0

    @rule()
    def drop(self) -> None:
        self.index.drop_lists()

    @rule(data=st.data())
    def find_what_is_allowed(self, data: st.DataObject) -> None:
        self.index.remove(np.arange(-20, 0))
        self.rows = {key: vector for key, vector in self.rows.items() if key >= 0}
        allowed = np.array(data.draw(st.lists(st.booleans(), max_size=201)), np.bool_)
        queries = unit(self.rng, 3, 4)
        found, scores = self.index.search(queries, 7, allowed)
        rows = {key: vector for key, vector in self.rows.items() if key < len(allowed) and allowed[key]}
        keys, expected = brute_force(rows, queries, 7)
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        np.testing.assert_array_equal(found, keys)

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
        keys = np.arange(-20, 201)
        expected = np.array([self.rows.get(int(key), np.zeros(4, np.float32)) for key in keys])
        np.testing.assert_array_equal(self.index.vectors_of(keys), expected)

    @invariant()
    def every_row_is_in_its_list(self) -> None:
        check_lists(self.index)


IndexMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestIndexMachine = IndexMachine.TestCase


def test_lists_recall_what_brute_force_finds_before_and_after_changes() -> None:
    rng = np.random.default_rng(2)
    n, dim, k = 12_000, 32, 20
    vectors, queries = topics(rng, n, dim), topics(rng, 200, dim)
    index = with_lists(vectors, 0.25)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :k]
    assert recall(index.search(queries, k)[0], truth) >= 0.95

    changed = rng.choice(n, n // 5, replace=False)
    vectors[changed] = topics(rng, len(changed), dim)
    for some in np.array_split(changed, 7):
        index.upsert(some, vectors[some])
    gone = np.setdiff1d(rng.choice(n, n // 10, replace=False), changed)
    index.remove(gone)
    product = queries @ vectors.T
    product[:, gone] = -np.inf
    truth = np.argsort(-product, axis=1)[:, :k]
    # A fifth is about other topics now, which no centroid was made for: worse, until lists are built again.
    for least in (0.85, 0.95):
        found, scores = index.search(queries, k)
        assert recall(found, truth) >= least
        assert not np.isin(found, gone).any()
        np.testing.assert_allclose(np.take_along_axis(product, found, axis=1), scores, atol=1e-5)
        check_lists(index)
        index.build()


def test_a_smaller_share_finds_less() -> None:
    rng = np.random.default_rng(3)
    vectors, queries = unit(rng, 6_000, 32), unit(rng, 50, 32)
    index = with_lists(vectors)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :50]
    found = []
    for index.share in (0.01, 0.1, 1.0):
        found.append(recall(index.search(queries, 50)[0], truth))
    assert found[0] < found[1] < found[2]
    assert found[2] > 0.999
    asked = [AskedQuery(query[None], None) for query in queries]
    compared = [index.recalls(one, 50, (0.01, 0.1, 1.0)) for one in asked]
    np.testing.assert_allclose(np.mean([one for one in compared if one], axis=0), found, atol=1e-6)


def test_longer_vectors_are_found_for_all_queries() -> None:
    """The inner product, and not the cosine, decides."""
    rng = np.random.default_rng(8)
    vectors = topics(rng, 8_000, 16) * np.exp(0.5 * rng.normal(size=(8_000, 1))).astype(np.float32)
    queries = topics(rng, 100, 16)
    index = with_lists(vectors, 0.35)
    truth = np.argsort(-(queries @ vectors.T), axis=1)[:, :50]
    assert recall(index.search(queries, 50)[0], truth) >= 0.95


def test_lists_are_the_same_every_time() -> None:
    def answers() -> tuple[Keys, Vectors]:
        rng = np.random.default_rng(3)
        return with_lists(unit(rng, 3_000, 16), 0.1).search(unit(rng, 50, 16), 10)

    for once, again in zip(answers(), answers(), strict=True):
        np.testing.assert_array_equal(once, again)


def test_an_index_that_nobody_builds_lists_for_is_exact_however_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in `Engine` and `replay`."""
    monkeypatch.setattr(InvertedLists, "search", None)
    rng = np.random.default_rng(9)
    vectors = unit(rng, 200_000, 4)
    index = VectorIndex(4)
    index.upsert(np.arange(len(vectors)), vectors)
    truth = np.argsort(-(vectors @ vectors[17]))[:10]
    assert index.search(vectors[17:18], 10)[0][0].tolist() == truth.tolist()
    assert index.recalls(AskedQuery(vectors[:1], None), 10, [1.0]) is None


def test_removing_nearly_all_of_the_lists_still_finds_the_rest() -> None:
    rng = np.random.default_rng(4)
    vectors = unit(rng, 2_000, 8)
    index = with_lists(vectors, 0.01)
    index.remove(np.arange(1_990))
    found, scores = index.search(vectors[:5], 20)
    assert all(set(row.tolist()) == {*range(1_990, 2_000), NO_KEY} for row in found)
    assert (scores[:, 10:] == -np.inf).all()
    index.remove(np.arange(2_000))
    assert (index.search(vectors[:5], 20)[0] == NO_KEY).all()
    index.build()
    assert index.built == 0
    index.upsert(np.arange(5), vectors[:5])
    assert index.search(vectors[:1], 1)[0].tolist() == [[0]]


def test_changes_during_a_build_are_in_the_new_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    vectors = unit(rng, 500, 8)
    index = with_lists(vectors)
    calls: list[int] = []
    put = InvertedLists.put

    def change_then_put(lists: InvertedLists, rows: Keys, numbers: Vectors, into: Keys | None = None) -> None:
        if into is not None and not calls:  # a part of a build, and not what the change itself puts
            calls.append(1)
            index.upsert(np.array([7, 1_000]), -vectors[[7, 8]])
            index.remove(np.array([9, 499]))
        put(lists, rows, numbers, into)

    monkeypatch.setattr(InvertedLists, "put", change_then_put)
    index.build()
    assert calls
    check_lists(index)
    assert index.changed > 0
    assert index.search(vectors[[9]], 1)[0][0, 0] != 9
    assert index.search(-vectors[[7]], 1)[0][0, 0] == 7
    assert index.search(-vectors[[8]], 1)[0][0, 0] == 1_000
    assert index.search(vectors[[7]], 1)[0][0, 0] != 7


def test_a_failed_build_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    vectors = unit(rng, 300, 8)
    index = with_lists(vectors)
    index.upsert(np.array([1]), -vectors[[0]])
    index.remove(np.arange(200, 240))
    changed = index.changed

    def fail(*_: object) -> InvertedLists:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(vector_index, "build_lists", fail)
        with pytest.raises(MemoryError):
            index.build()
    assert index.changed == changed
    assert index.built == 300
    assert index.search(-vectors[[0]], 1)[0][0, 0] == 1
    index.build()
    assert index.changed == 0
    assert index.built == 260
    assert index.search(-vectors[[0]], 1)[0][0, 0] == 1


def test_a_comparison_gives_way_to_a_change(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(10)
    vectors = unit(rng, 300, 8)
    index = with_lists(vectors)
    monkeypatch.setattr(vector_index, "_COMPARED_AT_ONCE", 100)
    changed: list[threading.Thread] = []
    fold, about_to = exact_rows.ExactRows.fold, threading.Event()

    def change() -> None:
        about_to.set()
        index.upsert(np.array([5]), -vectors[[5]])

    def change_then_fold(*args: object) -> None:
        fold(*args)  # type: ignore[arg-type]
        if not changed:
            changed.append(threading.Thread(target=change))
            changed[0].start()
            assert about_to.wait(60)
            time.sleep(0.2)  # until it waits for the piece that is being read

    asked = AskedQuery(vectors[:1], None)
    assert index.recalls(asked, 10, [1.0]) == [1.0]
    monkeypatch.setattr(exact_rows.ExactRows, "fold", change_then_fold)
    assert index.recalls(asked, 10, [1.0]) is None
    changed[0].join()
    assert index.recalls(asked, 10, [1.0]) == [1.0]


def test_lists_are_built_and_swapped_while_others_search_and_change() -> None:
    rng = np.random.default_rng(7)
    vectors = unit(rng, 4_000, 16)
    index = with_lists(vectors[:2_000])
    stop, problems = threading.Event(), []

    def search() -> None:
        own = np.random.default_rng(threading.get_ident() % 2**32)
        while not stop.is_set():
            asked = own.choice(2_000, 3)
            found, scores = index.search(vectors[asked], 5)
            # These never change, and nothing is as near to them as they are themselves.
            if found[:, 0].tolist() != asked.tolist() or not np.isfinite(scores).all():
                problems.append((asked, found))

    searchers = [threading.Thread(target=search) for _ in range(3)]
    for thread in searchers:
        thread.start()

    def build() -> None:
        for _ in range(15):
            index.build()

    builder = threading.Thread(target=build)
    builder.start()
    for turn in range(60):
        some = 2_000 + rng.choice(2_000, 200)
        index.upsert(some, vectors[some])
        index.remove(some[: 50 + turn])
    builder.join()
    stop.set()
    for thread in searchers:
        thread.join()
    assert not problems
    check_lists(index)


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
def test_lists_find_as_many_of_the_allowed_as_there_are(share: float) -> None:
    """Few of them are searched exactly; where they are many, more lists are looked at."""
    rng = np.random.default_rng(7)
    vectors, queries = topics(rng, 6_000, 16), topics(rng, 20, 16)
    index = with_lists(vectors, 0.25)
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


def test_availability_that_changes_shows_in_the_next_search() -> None:
    """Who may be found is asked of each key that is near, and not built in."""
    rng = np.random.default_rng(11)
    vectors, queries = topics(rng, 6_000, 16), topics(rng, 20, 16)
    index = with_lists(vectors, 0.3)
    available = np.ones(6_000, np.bool_)
    for _ in range(4):
        available[rng.choice(6_000, 1_000)] ^= True
        found, _ = index.search(queries, 50, available)
        truth, _ = brute_force({key: vectors[key] for key in np.flatnonzero(available).tolist()}, queries, 50)
        assert available[found].all()
        assert recall(found, truth) > 0.95
