"""The upkeep of a vector index: when lists are built, how recall is watched, and when exact search takes over."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from stream_reco import metrics
from stream_reco.retrieve import index_upkeep, vector_index
from stream_reco.retrieve.index_upkeep import IndexUpkeep
from stream_reco.retrieve.inverted_lists import Centroids
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.retrieve.vector_index import VectorIndex
from tests.retrieve.test_vector_index import topics

Vectors = npt.NDArray[np.float32]
DIM, COUNT = 16, 6_000
SETTINGS = RetrieveSettings(exact_below=1_000)


class Shelf:
    """An index of a few thousand vectors, its upkeep, and people who ask."""

    def __init__(self, settings: RetrieveSettings = SETTINGS) -> None:
        self.rng = np.random.default_rng(1)
        self.vectors = topics(self.rng, COUNT, DIM)
        self.index = VectorIndex(DIM)
        self.index.upsert(np.arange(COUNT), self.vectors)
        self.upkeep = IndexUpkeep(lambda: self.index, settings)

    def ask(self, count: int) -> None:
        for _ in range(count):
            self.index.search(self.vectors[self.rng.choice(COUNT, 3)], 20)

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.ask(4)
            self.upkeep.turn()

    def recall(self) -> float:
        """Of what `search` gives, over many queries, by brute force."""
        asked = self.vectors[:100]
        truth = np.argsort(-(asked @ self.vectors.T), axis=1)[:, :50]
        found = self.index.search(asked, 50)[0]
        return float(np.mean([np.isin(true, mine).mean() for true, mine in zip(truth, found, strict=True)]))


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setattr(index_upkeep, "RECALL_AT", 50)
    return Shelf()


def counted(outcome: str) -> float:
    return float(metrics.VECTOR_BUILDS.labels(outcome)._value.get())


def worst_first(self: Centroids, queries: Vectors) -> npt.NDArray[np.int64]:
    return np.argsort(queries @ self.points.T, axis=1)


def test_few_vectors_have_no_lists(shelf: Shelf) -> None:
    few = replace(SETTINGS, exact_below=COUNT + 1)
    upkeep = IndexUpkeep(lambda: shelf.index, few)
    upkeep.turn()
    assert not shelf.index.built
    shelf.index.upsert(np.array([COUNT]), shelf.vectors[:1])
    upkeep.turn()
    assert shelf.index.built == COUNT + 1
    shelf.index.remove(np.arange(COUNT // 2 + 10))
    upkeep.turn()
    assert not shelf.index.built
    assert not shelf.index.searches_lists


def test_lists_are_built_and_look_at_as_much_as_it_takes(shelf: Shelf) -> None:
    shelf.ask(5)
    shelf.upkeep.turn()
    assert shelf.index.searches_lists
    assert 0.0 < shelf.index.share < 0.5
    assert shelf.recall() >= 0.95
    assert metrics.VECTORS._value.get() == COUNT
    assert metrics.VECTOR_LIST_BYTES._value.get() == shelf.index.lists_nbytes > COUNT * DIM
    assert metrics.VECTOR_SHARE._value.get() == shelf.index.share


def test_the_recall_that_is_published_is_that_of_the_queries(shelf: Shelf) -> None:
    done = metrics.VECTOR_COMPARISONS.labels("done")._value.get()
    shelf.turns(20)
    assert metrics.VECTOR_COMPARISONS.labels("done")._value.get() > done + 20
    assert metrics.VECTOR_RECALL._value.get() == pytest.approx(shelf.recall(), abs=0.03)


def test_exact_search_takes_over_while_lists_miss_too_many(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shelf.turns(2)
    assert shelf.index.searches_lists
    shares = [shelf.index.share]
    with monkeypatch.context() as patched:
        patched.setattr(Centroids, "order", worst_first)
        shelf.turns(12)
        shares.append(shelf.index.share)
        assert not shelf.index.searches_lists
        assert metrics.VECTOR_RECALL._value.get() < 0.95
        assert metrics.VECTOR_SHARE._value.get() == 1.0
        assert shelf.recall() == 1.0
    assert "exact search takes over" in caplog.text
    shelf.turns(12)
    assert shelf.index.searches_lists
    assert shelf.recall() >= 0.95
    assert shares[0] < shares[1]
    shelf.turns(60)  # more than is needed is looked at no longer
    assert shelf.index.share < shares[1]


def test_recall_holds_while_vectors_change(shelf: Shelf) -> None:
    """One in a hundred between two turns, six in ten in the end."""
    shelf.turns(1)
    recalls = []
    for _ in range(60):
        changed = shelf.rng.choice(COUNT, COUNT // 100, replace=False)
        noise = 0.1 * shelf.rng.normal(size=(len(changed), DIM)).astype(np.float32)
        shelf.vectors[changed] = shelf.vectors[shelf.rng.choice(COUNT, len(changed))] + noise
        shelf.index.upsert(changed, shelf.vectors[changed])
        shelf.turns(1)
        recalls.append(shelf.recall())
    assert np.mean(recalls) >= 0.95
    assert min(recalls) >= 0.92


def test_lists_are_built_again_where_they_have_degraded(shelf: Shelf) -> None:
    shelf.turns(1)
    done = counted("done")
    shelf.turns(3)
    assert counted("done") == done
    for _ in range(3):  # each vector has changed once more
        shelf.index.upsert(np.arange(COUNT), shelf.vectors)
        shelf.turns(1)
    assert counted("done") == done + 1
    shelf.index.upsert(np.arange(COUNT, 3 * COUNT), np.tile(shelf.vectors, (2, 1)))
    shelf.turns(1)
    assert counted("done") == done + 2
    assert shelf.index.built == 3 * COUNT


def test_another_index_is_looked_after_at_the_next_turn(shelf: Shelf) -> None:
    """A snapshot makes another one."""
    shelf.turns(3)
    shelf.index = VectorIndex(DIM)
    shelf.turns(1)
    assert metrics.VECTORS._value.get() == 0
    assert metrics.VECTOR_RECALL._value.get() == 1.0
    shelf.index.upsert(np.arange(COUNT), shelf.vectors)
    shelf.turns(1)
    assert shelf.index.built == COUNT


def test_a_build_that_fails_is_counted_and_exact_search_goes_on(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(index_upkeep, "_TURN_SECONDS", 0.01)
    monkeypatch.setattr(index_upkeep, "_AFTER_FAILURE_SECONDS", 0.01)
    failed = counted("failed")

    def fail(*_: object) -> object:
        raise MemoryError("no room for lists")

    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(vector_index, "build_lists", fail)
        shelf.upkeep.start()
        wait_until(lambda: counted("failed") > failed + 1)
        assert shelf.recall() == 1.0
    assert "no room for lists" in caplog.text
    wait_until(lambda: shelf.index.searches_lists)
    shelf.upkeep.close()
    assert not any(thread.name == "vector-index" for thread in threading.enumerate())


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
