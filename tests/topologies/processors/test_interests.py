"""What interests make of the records of one partition, without a broker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.events import Action, Event, Id, encode
from stream_reco.redis.connection import RedisUnreachable
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.storage.rocksdb import RocksStore
from tests.waiting import until
from topologies.processors.interests import InterestsProcessor
from topologies.processors.item_vectors import ItemVectors
from topologies.processors.redis_copies import UserCopies

NOW = 1_800_000_000_000
START = 1_700_000_000_000


class Copies:
    """Redis in memory: it can be away, and lose everything while it is written to."""

    def __init__(self) -> None:
        self.states: dict[Id, bytes] = {}
        self.marks: set[str] = set()
        self.away = False
        self.seconds = 0.0
        self.lose_at: int | None = None

    def put_many(self, states: Mapping[Id, bytes]) -> None:
        if self.away:
            raise RedisUnreachable("away")
        time.sleep(self.seconds)
        if self.lose_at is not None and len(self.states) + len(states) >= self.lose_at:
            self.states, self.marks, self.lose_at = {}, set(), None
            return
        self.states.update(states)

    def has_mark(self, writer: str) -> bool:
        if self.away:
            raise RedisUnreachable("away")
        return writer in self.marks

    def mark(self, writer: str) -> None:
        self.marks.add(writer)

    def forget(self, user: Id) -> bool:
        return self.states.pop(user, None) is not None


class Vectors:
    """Nothing is known of any item."""

    def of(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.zeros((len(keys), 4), dtype=np.float32)


@dataclass(frozen=True)
class Read:
    value: bytes
    topic: str = "events"
    partition: int = 0
    offset: int = 0
    key: bytes | None = None


def click(user: Id, number: int, event_id: str | None = None) -> Action:
    return Action(user_id=user, item_id=number, action="click", timestamp=START + number * 1000, event_id=event_id)


def work(copies: Copies, store: RocksStore, session_seconds: float = 60.0) -> InterestsProcessor:
    settings = Settings()
    users, vectors = cast(RedisUsers, copies), cast(ItemVectors, Vectors())
    return InterestsProcessor(
        (settings.signals, settings.interests), 300_000, vectors, users, session_seconds, 0, store
    )


def take(interests: InterestsProcessor, events: Sequence[Event]) -> None:
    records: Any = [Read(encode(event)) for event in events]
    interests.process(records, NOW)
    interests.advance(NOW, caught_up=False)
    interests.prepare()
    interests.commit(b"here")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RocksStore]:
    opened = RocksStore(tmp_path / "store")
    yield opened
    opened.close()


def counts(copies: Copies) -> dict[Id, int]:
    return {user: len(UserState.from_bytes(state).items) for user, state in copies.states.items()}


def test_the_very_first_action_is_known_when_it_comes_again(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [click("ann", 0, "first")])
    take(interests, [click("ben", 3 * 3600, "later")])
    take(interests, [click("ann", 0, "first")])
    interests.close()
    assert counts(copies) == {"ann": 1, "ben": 1}


def test_copies_that_were_owed_at_the_end_are_written_by_whoever_is_next(store: RocksStore) -> None:
    copies = Copies()
    copies.away = True
    interests = work(copies, store)
    take(interests, [click("ann", 0)])
    take(interests, [click("ben", 40 * 86_400)])
    interests.close()
    assert copies.states == {}
    copies.away, copies.marks = False, {"0", "0 begun"}
    next_one = work(copies, store)
    until(lambda: len(copies.states) == 2)
    next_one.close()
    assert counts(copies) == {"ann": 1, "ben": 1}


def test_a_worker_that_has_slept_writes_nothing(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store, session_seconds=0.0)
    take(interests, [click("ann", 0)])
    interests.close()
    assert copies.states == {}


@pytest.mark.parametrize("since", [None, 0], ids=["lost", "owed"])
@pytest.mark.parametrize("why", ["closed", "slept"])
def test_writing_everything_anew_ends_where_others_may_go_on(why: str, since: int | None) -> None:
    copies, states = Copies(), dict.fromkeys(range(100_000), b"state")
    copies.seconds = 0.05
    copies.marks = set() if since is None else {"0", "0 begun"}
    seconds = 60.0 if why == "closed" else 0.3
    slow = UserCopies(cast(RedisUsers, copies), "0", lambda _: iter(states.items()), since, seconds)
    while not copies.states:
        slow.put({}, None)
        time.sleep(0.01)
    began = time.monotonic()
    if why == "slept":
        time.sleep(0.5)
        written = len(copies.states)
        assert written < 50_000
        time.sleep(0.3)
        assert len(copies.states) == written
    slow.put({"ann": b"new"}, 0)
    slow.close()
    assert time.monotonic() - began < 2.5
    assert copies.states["ann"] == b"new"
    assert len(copies.states) < 50_000
    # Whoever is next writes all of it: it is owed, or the mark is not there.
    assert copies.marks == {"0 begun"} if since is None else slow.owed_since == 0


def test_what_is_lost_while_everything_is_written_is_written_again() -> None:
    copies = Copies()
    copies.lose_at = 1500
    states = dict.fromkeys(range(3000), b"state")
    writing = UserCopies(cast(RedisUsers, copies), "0", lambda _: iter(states.items()), None, 60.0)
    for _ in range(400):
        if copies.states == states and copies.marks == {"0", "0 begun"}:
            break
        writing._thread.join(0.01)
    writing.close()
    assert copies.states == states
