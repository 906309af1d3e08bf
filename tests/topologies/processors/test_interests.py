"""What interests make of the records of one partition, without a broker."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.events import Action, Event, Id, Impression, Retraction, UserEvent, encode, key_of
from stream_reco.redis.connection import RedisUnreachable
from stream_reco.redis.user_store import RedisUsers
from stream_reco.serve.replica.user_state import UserState
from stream_reco.storage.rocksdb import RocksStore
from tests.waiting import until
from topologies.messages.user_deletion import Deletion, encode_deletion
from topologies.processors.deleted_users import DeletedUsers
from topologies.processors.interests import InterestsProcessor
from topologies.processors.item_vectors import ItemVectors
from topologies.processors.redis_copies import Copy, CopySource, OwedCopies, UserCopies

NOW = 1_800_000_000_000
START = 1_700_000_000_000


class Copies:
    """Redis in memory: it can be away, and lose everything while it is written to."""

    ttl_ms = 90 * 86_400_000

    def __init__(self) -> None:
        self.states: dict[Id, bytes] = {}
        self.number = 0
        self.away = False
        self.seconds = 0.0
        self.lose_at: int | None = None

    def put_many(self, states: Mapping[Id, bytes | None]) -> None:
        if self.away:
            raise RedisUnreachable("away")
        time.sleep(self.seconds)
        if self.lose_at is not None and len(self.states) + len(states) >= self.lose_at:
            self.states, self.number, self.lose_at = {}, 0, None
            return
        for user, state in states.items():
            if state is None:
                self.states.pop(user, None)
            else:
                self.states[user] = state

    def put_numbered(self, states: Mapping[Id, bytes | None], writer: str, held: Sequence[int], number: int) -> bool:
        assert writer == "0"
        self.put_many(states)
        if [self.number] != held:
            return False
        self.number = number
        return True

    def ages(self, writer: str) -> list[int]:
        assert writer == "0"
        if self.away:
            raise RedisUnreachable("away")
        return [self.number]

    def begin_all(self, writer: str, number: int) -> list[int]:
        assert writer == "0"
        self.number = -number
        return [self.number]


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
        (settings.labels, settings.signals, settings.interests), 300_000, vectors, users, session_seconds, 0, store
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
    return {user: len(UserState.from_bytes(state).items) for user, state in copies.states.copy().items()}


def test_the_very_first_action_is_known_when_it_comes_again(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [click("ann", 0, "first")])
    take(interests, [click("ben", 3 * 3600, "later")])
    take(interests, [click("ann", 0, "first")])
    interests.close()
    assert counts(copies) == {"ann": 1, "ben": 1}


def impression(user: Id, number: int, seconds: int, event_id: str | None = None) -> Impression:
    return Impression(user_id=user, item_id=number, timestamp=START + seconds * 1000, event_id=event_id)


def shown(copies: Copies, user: Id) -> dict[int, tuple[int, int]]:
    """Item → how often, and seconds after the start."""
    state = UserState.from_bytes(copies.states[user]).shown
    columns = zip(state.items, state.counts, state.times, strict=True)
    return {item: (count, (time - START) // 1000) for item, count, time in columns}


def test_what_was_passed_over_is_counted_until_the_user_acts_on_it(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [impression("ann", item, item, f"shown {item}") for item in (1, 2, 3)])
    take(interests, [impression("ann", 2, 5), impression("ann", 1, 1, "shown 1")])
    until(lambda: "ann" in copies.states and shown(copies, "ann") == {1: (1, 1), 3: (1, 3), 2: (2, 5)})
    # An action on 2 ends it, and an impression from before the action does not begin it again; a later one does.
    take(interests, [Action(user_id="ann", item_id=2, action="click", timestamp=START + 6_000)])
    take(interests, [impression("ann", 2, 4), impression("ann", 3, 7)])
    until(lambda: shown(copies, "ann") == {1: (1, 1), 3: (2, 7)})
    interests.close()
    # The next owner of the partition goes on from the store.
    interests = work(copies, store)
    take(interests, [impression("ann", 2, 8)])
    until(lambda: shown(copies, "ann") == {1: (1, 1), 3: (2, 7), 2: (1, 8)})
    assert counts(copies) == {"ann": 1}
    interests.close()


def test_who_was_only_shown_things_leaves_when_idle_and_when_deleted(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [impression("idle", 1, 0), impression("gone", 1, 0)])
    until(lambda: len(copies.states) == 2)
    forget(interests, "gone")
    until(lambda: list(copies.states) == ["idle"])
    # Ninety days of a stream that never rests.
    take(interests, [impression("ann", 1, hour * 3600) for hour in range(0, 24 * 92, 1)])
    assert interests._records.of("idle").last == 0
    assert interests._records.of("ann").last == START + (24 * 92 - 1) * 3_600_000
    interests.close()


def about(user: Id, seconds: int, event_id: str | None = None, **features: Any) -> UserEvent:
    return UserEvent(user_id=user, timestamp=START + seconds * 1000, features=features, event_id=event_id)


def profile_of(copies: Copies, user: Id) -> list[tuple[str, Any]] | None:
    return list(state_of(copies, user).profile.items()) if user in copies.states else None


def test_the_newest_statement_of_each_feature_holds_after_a_restart_too(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [about("ann", 5, "first", likes=["tea", None], age=30, city="Ulm"), about("ben", 5)])
    until(lambda: profile_of(copies, "ann") == [("likes", ["tea", None]), ("age", 30), ("city", "Ulm")])
    assert "ben" not in copies.states, "nothing is said of ben"
    # One that was stated earlier comes late, and one comes twice; what is null is gone, what is not named stays.
    take(interests, [about("ann", 6, age=None), about("ann", 4, city="Bonn", plan="b"), click("ann", 7)])
    take(interests, [about("ann", 5, "first", likes=["tea", None], age=30, city="Rome")])
    until(lambda: profile_of(copies, "ann") == [("likes", ["tea", None]), ("city", "Ulm"), ("plan", "b")])
    interests.close()
    interests = work(copies, store)
    # What was taken away was taken away at its time: what is older does not bring it back.
    take(interests, [about("ann", 5, age=31), about("ann", 9, plan="c")])
    until(lambda: profile_of(copies, "ann") == [("likes", ["tea", None]), ("city", "Ulm"), ("plan", "c")])
    take(interests, [about("ann", 10, age=32)])
    until(lambda: profile_of(copies, "ann") == [("likes", ["tea", None]), ("age", 32), ("city", "Ulm"), ("plan", "c")])
    assert counts(copies) == {"ann": 1}
    interests.close()


def test_who_was_only_described_leaves_when_idle_and_when_deleted(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [about("idle", 0, age=1), about("gone", 0, age=2), about("back", 0, age=3)])
    until(lambda: len(copies.states) == 3)
    forget(interests, "gone", "back")
    until(lambda: list(copies.states) == ["idle"])
    take(interests, [about("back", 1, age=4)])
    until(lambda: profile_of(copies, "back") == [("age", 4)])
    interests.close()
    # An older Redis comes back: the next owner writes who is there, and takes out who is not.
    copies.states, copies.number = {"gone": copies.states["idle"]}, 0
    interests = work(copies, store)
    until(lambda: sorted(copies.states, key=str) == ["back", "idle"])
    take(interests, [impression("ann", 1, hour * 3600) for hour in range(0, 24 * 92, 1)])
    assert interests._records.of("idle").profile == {}
    interests.close()


def test_records_of_releases_without_profiles_are_read(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [click("ann", 3)])
    interests.close()
    key, data = next(iter(store.scan(b"U", b"V")))
    assert len(msgspec.msgpack.decode(data)) == 10
    store.put(key, msgspec.msgpack.encode(msgspec.msgpack.decode(data)[:9]))
    store.commit(b"here")
    interests = work(copies, store)
    take(interests, [about("ann", 4, age=1)])
    until(lambda: profile_of(copies, "ann") == [("age", 1)])
    assert counts(copies) == {"ann": 1}
    interests.close()


def test_copies_that_were_owed_at_the_end_are_written_by_whoever_is_next(store: RocksStore) -> None:
    copies = Copies()
    copies.away = True
    interests = work(copies, store)
    take(interests, [click("ann", 0)])
    take(interests, [click("ben", 40 * 86_400)])
    interests.close()
    assert copies.states == {}
    copies.away, copies.number = False, 1
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
    copies, states = Copies(), states_of(100_000)
    copies.seconds = 0.05
    copies.number = 0 if since is None else 1
    seconds = 60.0 if why == "closed" else 0.3
    slow = UserCopies(cast(RedisUsers, copies), "0", source_of(states), OwedCopies(since), seconds)
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
    slow.put({"ann": lambda _: b"new"}, 0)
    slow.close()
    assert time.monotonic() - began < 2.5
    assert copies.states["ann"] == b"new"
    assert len(copies.states) < 50_000
    # Whoever is next writes all of it: it is owed, or the number says that it was only begun.
    assert copies.number < 0 if since is None else slow.owed.since == 0


def test_what_is_lost_while_everything_is_written_is_written_again() -> None:
    copies = Copies()
    copies.lose_at = 1500
    states = states_of(3000)
    writing = UserCopies(cast(RedisUsers, copies), "0", source_of(states), OwedCopies(), 60.0)
    for _ in range(400):
        if len(copies.states) == 3000 and copies.number > 0:
            break
        writing._thread.join(0.01)
    writing.close()
    assert copies.states == dict.fromkeys(range(3000), b"state")


def test_a_number_above_all_before_it_is_in_every_copy(store: RocksStore) -> None:
    copies = Copies()
    copies.number = 10**15  # of a worker whose clock was ahead
    interests = work(copies, store)
    take(interests, [click("ann", 0)])
    until(lambda: copies.states)
    first = UserState.from_bytes(copies.states["ann"]).written
    take(interests, [click("ann", 1)])
    until(lambda: UserState.from_bytes(copies.states["ann"]).written > first)
    interests.close()
    assert 10**15 < first < copies.number < 10**15 + 10


def test_deleted_users_are_remembered_as_long_as_a_copy_may_live(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [click("gone", 0), click("back", 0)])
    until(lambda: len(copies.states) == 2)
    old, number = dict(copies.states), copies.number
    forget(interests, "gone", "back")
    take(interests, [click("back", 1)])
    until(lambda: list(copies.states) == ["back"])
    copies.states, copies.number = dict(old), number
    until(lambda: list(copies.states) == ["back"] and counts(copies) == {"back": 1})
    interests.close()
    # The next owner of the partition knows it too, until a copy would have expired.
    copies.states, copies.number = dict(old), number
    interests = work(copies, store)
    until(lambda: list(copies.states) == ["back"])
    interests.advance(NOW + 92 * 86_400_000, caught_up=True)
    interests.prepare()
    interests.commit(b"later")
    interests.close()
    assert list(DeletedUsers(store, copies.ttl_ms).all()) == []


class Rewound(Copies):
    """Now and then it is as it was after some earlier command; what was connected finds out, or connects again."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.rng, self.past = rng, [(dict[Id, bytes](), 0)]
        self.calm = False

    def put_numbered(self, states: Mapping[Id, bytes | None], writer: str, held: Sequence[int], number: int) -> bool:
        for user, state in states.items():
            self.put_many({user: state})
            self.step(0.03)
        found = super().put_numbered({}, writer, held, number)
        self.step(0.1)
        return found

    def step(self, chance: float) -> None:
        self.past.append((dict(self.states), self.number))
        if self.calm or self.rng.random() > chance:
            return
        self.states, self.number = self.past[self.rng.integers(len(self.past))]
        self.states = dict(self.states)
        if self.rng.random() < 0.5:
            raise RedisUnreachable("connection lost")


@pytest.mark.parametrize("seed", range(4))
def test_whatever_comes_back_older_everything_is_there_in_the_end(
    store: RocksStore, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("topologies.processors.redis_copies._LOOK_SECONDS", 0.01)
    rng = np.random.default_rng(seed)
    copies, wanted = Rewound(np.random.default_rng(seed + 100)), dict[Id, int]()
    interests = work(copies, store)
    for number in range(120):
        user = int(rng.integers(12))
        if rng.random() < 0.25:
            forget(interests, user)
            wanted.pop(user, None)
        else:
            take(interests, [click(user, number)])
            wanted[user] = wanted.get(user, 0) + 1
        if rng.random() < 0.1:
            interests.close()
            interests = work(copies, store)
        time.sleep(0.002)
    copies.calm = True
    until(lambda: counts(copies) == wanted and copies.number > 0, 10)
    interests.close()


def forget(interests: InterestsProcessor, *users: Id) -> None:
    records: Any = [Read(encode_deletion(Deletion(user_id=user, timestamp=START))) for user in users]
    interests.process(records, NOW)
    interests.advance(NOW, caught_up=False)
    interests.prepare()
    interests.commit(b"here")


def source_of(states: Mapping[Id, Copy]) -> CopySource:
    return CopySource(lambda _: iter(states.items()), lambda: iter(()))


def states_of(count: int) -> dict[Id, Copy]:
    return {user: lambda _: b"state" for user in range(count)}


def state_of(copies: Copies, user: Id) -> UserState:
    return UserState.from_bytes(copies.states[user])


def take_back(event_id: str, number: int, user: Id | None = "ann") -> Retraction:
    return Retraction(retracts=event_id, timestamp=START + number * 1000, user_id=user, event_id=f"-{event_id}")


def of_kind(kind: str, number: int, event_id: str | None = None) -> Action:
    return Action(user_id="ann", item_id=number, action=kind, timestamp=START + number * 1000, event_id=event_id)


def test_negative_actions_are_disliked_and_ignored_ones_are_nothing(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    rating = Action(user_id="ann", item_id=9, action="rating", value=3.0, timestamp=START + 9000)
    take(interests, [click("ann", 1), of_kind("dislike", 2), of_kind("hide", 3), rating])
    interests.close()
    state = state_of(copies, "ann")
    assert state.items.tolist() == [key_of(1, "item")]
    assert state.disliked.tolist() == [key_of(3, "item"), key_of(2, "item")]
    interests = work(copies, store)
    take(interests, [of_kind("skip", 4)])
    interests.close()
    assert len(state_of(copies, "ann").disliked) == 3


def test_what_is_taken_back_leaves_history_interests_and_dislikes_after_a_restart_too(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [click("ann", 1, "click"), click("ann", 2, "other"), of_kind("dislike", 3, "dislike")])
    interests.close()
    interests = work(copies, store)
    take(interests, [take_back("click", 5), take_back("dislike", 5), take_back("other", 5, "somebody else")])
    take(interests, [take_back("click", 6)])
    interests.close()
    state = state_of(copies, "ann")
    assert (state.items.tolist(), state.disliked.tolist()) == ([key_of(2, "item")], [])


def test_a_retraction_that_comes_first_is_held_over_a_restart_until_its_own_time_is_past(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [take_back("early", 60), take_back("never", 61)])
    interests.close()
    interests = work(copies, store)
    take(interests, [click("ann", 50, "early"), click("ann", 200, "later"), click("ann", 51, "never")])
    interests.close()
    assert state_of(copies, "ann").items.tolist() == [key_of(200, "item"), key_of(51, "item")]


def test_nothing_can_be_taken_back_of_a_user_who_was_deleted(store: RocksStore) -> None:
    copies = Copies()
    interests = work(copies, store)
    take(interests, [of_kind("dislike", 1, "dislike")])
    records: Any = [Read(encode_deletion(Deletion(user_id="ann", timestamp=START)))]
    interests.process(records, NOW)
    take(interests, [take_back("dislike", 2)])
    interests.close()
    assert "ann" not in copies.states
