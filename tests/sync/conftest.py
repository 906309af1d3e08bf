"""A trainer whose every published state is remembered, and a replica's follower that remembers its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest

from stream_reco.embedding import Delta, EmbeddingTable, ReplicaTable
from stream_reco.sync import BadPublication, Parts, Publication, PublicationDraft, Publisher, Replica, drain_tables

State = dict[str, dict[int, tuple[float, ...]]]


def rows_of(tables: Sequence[EmbeddingTable | ReplicaTable]) -> State:
    return {
        table.name: {int(key): tuple(map(float, row)) for key, row in zip(keys, table.lookup(keys), strict=True)}
        for table in tables
        for keys in [table.keys()]
    }


class Toy(NamedTuple):
    """What the tests of this room share."""

    trainer: type[Trainer]
    notes: type[Notes]
    careful_notes: type[CarefulNotes]
    served: Callable[[Replica, Notes], tuple[State, int]]
    publication: Callable[..., Publication]


class Notes:
    """A follower that keeps the arrays it was given, and refuses or fails on demand."""

    def __init__(self) -> None:
        self.parts: Parts = {}
        self.fails: Exception | None = None

    def reset(self, parts: Parts) -> None:
        self._fail()
        self.parts = dict(parts)

    def apply(self, parts: Parts) -> None:
        self._fail()
        self.parts = self.parts | parts

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


class CarefulNotes(Notes):
    """Refuses before anything has changed."""

    def check(self, parts: Parts, snapshot: bool) -> None:
        if len(parts.get("step", ())) > 1:
            raise BadPublication("schema", f"step of {parts['step'].shape} in {'snapshot' if snapshot else 'delta'}")

    def __repr__(self) -> str:
        return f"CarefulNotes({self.parts})"


class Trainer:
    """Changes two tables and one dense array at random; keeps what it was at each version it published."""

    def __init__(self, epoch: int = 1, model: str = "m") -> None:
        self.tables = [EmbeddingTable(3, name="user", ttl_ms=10), EmbeddingTable(2, name="item", ttl_ms=10)]
        self.publisher = Publisher(model, epoch)
        self.published: dict[tuple[int, int], tuple[State, int]] = {}
        self.step = 0

    def learn(self, rng: np.random.Generator) -> None:
        self.step += 1
        for table in self.tables:
            keys = rng.integers(0, 12, size=4)
            table.train_rows(keys, now=self.step * 4)
            table.apply_gradients(keys, rng.normal(size=(4, table.dim)).astype(np.float32))
            table.evict(now=self.step * 4)

    def collect(self, snapshot: bool) -> PublicationDraft:
        tables, restore = drain_tables(self.tables, snapshot)
        dense: Parts = {"step": np.array([self.step])}
        now = 1000 * self.step
        return PublicationDraft(tables, dense, {}, {}, watermark=now - 60_000, created=now, restore=restore)

    def remember(self) -> None:
        version = (self.publisher.epoch, self.publisher.version)
        self.published[version] = (rows_of(self.tables), self.step)


def served(replica: Replica, notes: Notes) -> tuple[State, int]:
    return rows_of(list(replica.tables.values())), int(notes.parts["step"][0])


def small(version: int, base: int, **changes: Any) -> Publication:
    """A publication of one table with one row whose vector holds the version."""
    keys = np.array([7], dtype=np.int64)
    delta = Delta("item", 2, keys, np.full((1, 2), version, np.float32), np.array([9], np.int64))
    parts: dict[str, Parts] = {"dense": {"w": np.array([version])}, "signals": {}, "catalogue": {}}
    head: dict[str, Any] = {"model": "m", "epoch": 1, "watermark": 5, "created": 1000 * version}
    return Publication(version=version, base_version=base, **(head | {"tables": (delta,)} | parts | changes))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.fixture(scope="session")
def toy() -> Toy:
    return Toy(Trainer, Notes, CarefulNotes, served, small)
