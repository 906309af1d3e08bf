"""The memory on disk against the one of plain objects: the same examples, whatever is committed, lost and replayed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.labels import Example, LabelJoiner
from stream_reco.labels.label.delays import AdaptiveWait
from stream_reco.labels.memory.groups import Order
from stream_reco.labels.memory.keys import digest_of, of_event
from stream_reco.storage.rocksdb import Changes, RocksStore, StoreError
from stream_reco.storage.sortable_keys import of_id
from tests.labels.memory.whole_memory import whole_memory
from tests.labels.reference_join import reference_join, row, rows
from tests.labels.test_joiner_properties import (
    ADAPTIVE,
    END,
    STRONG,
    WEIGHTS,
    WINDOW,
    chains,
    logs,
    one_at_a_time,
    shifts,
    shuffled,
    takes_dislikes_back,
    ticks,
)

USERS = ("u", 7)
APART = 70


@dataclass
class Step:
    """What is done with both joiners."""

    kind: str
    event: Event | None = None
    number: int = 0


@st.composite
def streams(draw: st.DrawFn) -> list[Step]:
    """Several logs one after the other in event time, out of order, with advances, commits, crashes and deletions."""
    steps: list[Step] = []
    for part in range(draw(st.integers(1, 3))):
        for event in shuffled(draw(logs()), draw(shifts)):
            kind = draw(st.sampled_from(["none", "none", "advance", "limited", "commit", "crash", "forget", "again"]))
            if kind != "none":
                steps.append(Step(kind, None, draw(st.integers(-30, 60))))
            steps.append(Step("event", _later(event, part)))
    steps.append(Step("advance", None, draw(st.sampled_from([0, 40, END]))))
    return steps


def _later(event: Event, part: int) -> Event:
    """The same event in a later part, with ids of its own; users, items and groups come again."""
    named: dict[str, Any] = {
        name: f"{part}:{value}" for name in ("event_id", "retracts") if (value := getattr(event, name, None))
    }
    return structs.replace(event, timestamp=event.timestamp + part * APART, **named)


class Pair:
    """A joiner in memory, and one on disk that goes back to its last commit when it crashes."""

    def __init__(self, folder: Path, order: Order, presume: dict[str, Any]) -> None:
        self._folder, self._order, self._presume = folder, order, presume
        self.steady = LabelJoiner(WINDOW, order, 20, WEIGHTS, **presume)
        self.store = RocksStore(folder)
        self.tried = self._open()
        self._since: list[Step] = []
        self._time = 0

    def _open(self) -> LabelJoiner:
        return LabelJoiner(WINDOW, self._order, 20, WEIGHTS, **self._presume, store=self.store)

    def do(self, step: Step, past: list[Event]) -> None:
        if step.kind == "crash":
            self._crash()
            return
        if step.kind == "commit":
            self.tried.commit(b"here")
            self._since = []
            return
        if step.kind == "again" and past:
            step = Step("event", past[step.number % len(past)])
        if step.kind in ("advance", "limited"):
            step.number += self._time
        if step.event is not None:
            self._time = max(self._time, step.event.timestamp)
        self._since.append(step)
        tried, steady = _done(self.tried, step), _done(self.steady, step)
        assert tried == steady
        if step.kind in ("advance", "limited"):
            assert self.tried.is_behind == self.steady.is_behind
        if step.kind == "advance":
            assert self.tried.oldest == self.steady.oldest
        for name in ("pending", "duplicates", "late", "orphans", "watermark"):
            assert (name, getattr(self.tried, name)) == (name, getattr(self.steady, name))

    def _crash(self) -> None:
        self.store.flush()
        self.store.close()
        self.store = RocksStore(self._folder)
        self.tried = self._open()
        for step in self._since:
            _done(self.tried, step)


def _done(joiner: LabelJoiner, step: Step) -> list[Example]:
    if step.kind == "advance":
        return joiner.advance(step.number)
    if step.kind == "limited":
        return joiner.advance(step.number, limit=2)
    if step.kind == "forget":
        joiner.forget_user(USERS[step.number % 2])
    elif step.event is not None:
        moment = f"{step.event.timestamp}".encode()
        expected = joiner.expects_features(step.event)
        return joiner.process([step.event], [moment if expected else None])
    return []


PRESUMPTIONS: list[dict[str, Any]] = [
    {},
    *({"presume_ms": after} for after in (0, 15, 50)),
    {"adaptive": ADAPTIVE},
    {"adaptive": AdaptiveWait(least_ms=3, most_ms=8, unknown_ms=5, enough=2)},
]


@settings(max_examples=200, deadline=None)
@given(steps=streams(), order=st.sampled_from([None, "group", "slate"]), presume=st.sampled_from(PRESUMPTIONS))
def test_examples_are_those_of_the_memory_of_objects(steps: list[Step], order: Order, presume: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder:
        pair = Pair(Path(folder) / "store", order, presume)
        past: list[Event] = []
        for step in steps:
            pair.do(step, past)
            if step.event is not None:
                past.append(step.event)
        tried, steady = whole_memory(pair.tried), whole_memory(pair.steady)
        for name, value in steady.items():
            assert tried[name] == value, name
        pair.store.close()


@settings(max_examples=50, deadline=None)
@given(steps=streams(), order=st.sampled_from([None, "group", "slate"]), presume=st.sampled_from(PRESUMPTIONS))
def test_changes_make_the_same_store_elsewhere(steps: list[Step], order: Order, presume: dict[str, Any]) -> None:
    with TemporaryDirectory() as folder, ExitStack() as stores:
        store, other = (stores.enter_context(closing(RocksStore(f"{folder}/{name}"))) for name in ("one", "two"))
        joiner = LabelJoiner(WINDOW, order, 20, WEIGHTS, **presume, store=store)
        for at, step in enumerate(steps):
            _done(joiner, step)
            other.apply(joiner.commit(str(at).encode()))
        assert dict(other.scan(b"", b"z")) == dict(store.scan(b"", b"z"))
        assert other.position == store.position == str(len(steps) - 1).encode()
        elsewhere = LabelJoiner(WINDOW, order, 20, WEIGHTS, **presume, store=other)
        assert whole_memory(elsewhere) == whole_memory(joiner)


@settings(max_examples=60, deadline=None)
@given(log=logs(kinds=STRONG), ticks=ticks, moves=ticks, order=st.sampled_from([None, "slate"]))
def test_partitions_that_move_lose_and_double_nothing(
    log: list[Event], ticks: list[bool], moves: list[bool], order: Order
) -> None:
    """Two partitions by user; at times one is rebuilt elsewhere from the records of its commits, and goes on there."""
    with TemporaryDirectory() as folder, ExitStack() as stores:
        names = count()

        def begin(changes: list[Changes]) -> LabelJoiner:
            store = stores.enter_context(closing(RocksStore(f"{folder}/{next(names)}")))
            for some in changes:
                store.apply(some)
            return LabelJoiner(WINDOW, order, 0, WEIGHTS, store=store)

        joiners, logged = [begin([]), begin([])], [list[Changes](), list[Changes]()]
        examples: list[Example] = []
        for at, event in enumerate(log):
            place = int(getattr(event, "user_id", None) == 7)
            if moves[at]:
                joiners[place] = begin(logged[place])
            if ticks[at]:
                examples += joiners[place].advance(event.timestamp)
            examples += joiners[place].process([event])
            logged[place].append(joiners[place].commit(b"%d" % at))
        examples += [example for joiner in joiners for example in joiner.advance(END)]
    if order is None and one_at_a_time(log) and (all(ticks) or not takes_dislikes_back(log)):
        assert rows(examples) == Counter(reference_join(log, WINDOW, order, WEIGHTS))
    else:
        expected = chains(reference_join(log, WINDOW, order, WEIGHTS))
        assert {key: chain[-1][:2] for key, chain in chains(map(row, examples)).items()} == {
            key: chain[-1][:2] for key, chain in expected.items()
        }


def test_other_settings_than_those_of_the_store_are_refused(tmp_path: Path) -> None:
    others: list[dict[str, Any]] = [
        {"window_ms": WINDOW + 1},
        {"order": None},
        {"presume_ms": 1},
        {"adaptive": ADAPTIVE},
    ]
    with closing(RocksStore(tmp_path / "store")) as store:
        LabelJoiner(WINDOW, "slate", store=store).commit(b"")
        for other in others:
            with pytest.raises(ValueError, match="was begun with a window of 50 ms, order slate, presumed"):
                LabelJoiner(**{"window_ms": WINDOW, "order": "slate", **other}, store=store)
        LabelJoiner(WINDOW, "slate", lateness_ms=0, action_weights={"click": 2.0}, store=store)


def test_a_store_in_which_nothing_is_presumed_goes_on_where_it_is(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        begun = LabelJoiner(WINDOW, None, 0, store=store)
        begun.process([Impression(user_id=1, item_id=1, timestamp=5)])
        begun.commit(b"")
        again = LabelJoiner(WINDOW, None, 0, adaptive=ADAPTIVE, store=store)
        again.process([Impression(user_id=1, item_id=2, timestamp=6)])
        again.commit(b"")
        again = LabelJoiner(WINDOW, None, 0, adaptive=ADAPTIVE, store=store)
        given_ = [(one.item_id, one.reason, one.label_time) for one in again.advance(END)]
        assert given_ == [(2, "immediate", 16), (1, "window", 55)]
        again.commit(b"")
        with pytest.raises(ValueError, match="presumed negative by the delays of actions"):
            LabelJoiner(WINDOW, None, 0, store=store)


def test_without_a_store_nothing_can_be_committed() -> None:
    with pytest.raises(ValueError, match="nowhere to commit"):
        LabelJoiner().commit(b"")


def test_a_late_impression_is_due_once_more_after_a_restart(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, store=store)
        joiner.advance(10 * WINDOW)
        joiner.process([Impression(user_id=1, item_id=1, timestamp=5), Impression(user_id=1, item_id=2, timestamp=460)])
        joiner.commit(b"")
        again = LabelJoiner(WINDOW, store=store)
        assert again.pending == 2
        assert [(one.item_id, one.reason) for one in again.advance(10 * WINDOW)] == [(1, "window")]
        again.commit(b"")
        assert LabelJoiner(WINDOW, store=store).advance(20 * WINDOW)[0].item_id == 2


def test_an_id_that_comes_again_after_its_time_is_kept_anew(tmp_path: Path) -> None:
    day = 86_400_000
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, store=store)
        event = Action(user_id=1, item_id=1, action="click", timestamp=0, event_id="a")
        joiner.process([event])
        joiner.advance(2 * day)
        assert len(joiner.process([structs.replace(event, timestamp=2 * day)])) == 1
        for _ in range(3):
            joiner.commit(b"")
            assert joiner.seen("a")
        joiner.advance(4 * day)
        assert not joiner.seen("a")
        joiner.commit(b"")
        assert [key for key, _ in store.scan(b"e", b"z") if key[:1] in b"eux"] == []


def test_a_commit_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> None:
        raise OSError("no space")

    with closing(RocksStore(tmp_path / "store")) as store, monkeypatch.context() as broken:
        joiner = LabelJoiner(WINDOW, "slate", store=store)
        shown = [Impression(user_id=1, item_id=n, timestamp=n, event_id=n, request_id=1, position=n) for n in range(5)]
        joiner.process(shown[:2])
        joiner.commit(b"1")
        joiner.process(shown[2:])
        broken.setattr(store, "_db", Refusing(store._db, refuse))
        with pytest.raises(StoreError, match="no space"):
            joiner.commit(b"2")
        broken.undo()
        assert joiner.duplicates == 0
        assert joiner.process(shown) == []
        click = Action(user_id=1, item_id=3, action="click", timestamp=9, request_id=1)
        assert [one.reason for one in joiner.process([click])] == ["action"]
        joiner.commit(b"3")
        again = LabelJoiner(WINDOW, "slate", store=store)
        assert sorted(one.item_id for one in again.advance(END)) == [0, 1, 2, 4]


class Refusing:
    """A database that takes no writes."""

    def __init__(self, db: object, write: Callable[[object], None]) -> None:
        self._db, self.write = db, write

    def __getattr__(self, name: str) -> object:
        return getattr(self._db, name)


def test_an_id_that_comes_again_and_again_is_kept_each_time(tmp_path: Path) -> None:
    day = 86_400_000
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, store=store)
        for time in (0, 3 * day, 6 * day):
            joiner.advance(time)
            joiner.process([Action(user_id=1, item_id=1, action="c", timestamp=time, event_id="a")])
        for _ in range(3):
            joiner.commit(b"")
            assert joiner.seen("a")


def test_a_deleted_user_leaves_nothing_in_the_store(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, "slate", store=store)
        joiner.advance(1000)
        late = Impression(user_id="bob", item_id=1, timestamp=5, request_id="r", position=1)
        joiner.process([late], [b"SECRET"])
        joiner.commit(b"")
        joiner.forget_user("bob")
        joiner.commit(b"")
        joiner = LabelJoiner(WINDOW, "slate", store=store)
        joiner.advance(1000)
        joiner.commit(b"")
        assert [key for key, _ in store.scan(b"a", b"z") if key != b"m"] == []


def test_what_an_earlier_release_has_kept_is_known_and_erased(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, lateness_ms=0, store=store)
        joiner.process([Action(user_id="ann", item_id=1, action="c", timestamp=5, event_id="mine")])
        joiner.commit(b"")
        in_old_form(store, {"ann": "mine"})
        joiner = LabelJoiner(WINDOW, lateness_ms=0, store=store)
        assert joiner.seen("mine")
        assert not joiner.seen("other")
        assert joiner.seen_among(["mine", "other"]) == {"mine"}
        joiner.forget_user("bob")
        joiner.commit(b"")
        assert not [key for key, _ in store.scan(b"e", b"f")]
        assert not [key for key, _ in store.scan(b"u", b"v")]
        assert not any(b"mine" in key + value for key, value in store.scan(b"x", b"y"))
        assert joiner.seen("mine")
        (back,) = joiner.process([Retraction(retracts="mine", timestamp=6, user_id="ann")])
        assert (back.reason, back.label) == ("retraction", 0)
        joiner.forget_user("ann")
        joiner.commit(b"")
        assert not any(b"ann" in key + value for key, value in store.scan(b"a", b"z"))


def in_old_form(store: RocksStore, events: dict[str, str]) -> None:
    """Put ids where digests are, as releases before did."""
    named = {of_event(event_id): b"e" + of_id(event_id) for event_id in events.values()}
    for key, value in list(store.scan(b"v", b"w")):
        user = next(user for user in events if key.startswith(b"v" + digest_of(user)))
        named[key] = b"u" + of_id(user) + key[-8:]
        store.put(named[key], value)
        store.delete(key)
    for key, value in list(store.scan(b"h", b"i")):
        store.put(named[key], value[:8] + named.get(value[8:], value[8:]))
        store.delete(key)
    for key, value in list(store.scan(b"x", b"y")):
        store.put(key, msgspec.msgpack.encode([named.get(one, one) for one in msgspec.msgpack.decode(value)]))
    store.commit(b"")


def test_stopping_within_a_moment_leaves_nothing_behind(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, store=store)
        joiner.process([Impression(user_id=user, item_id=1, timestamp=0) for user in ("ann", "bob")])
        joiner.commit(b"")
        joiner.advance(WINDOW + 1)
        joiner.advance(2 * WINDOW + 1, limit=1)
        joiner.forget_user("bob")
        joiner.commit(b"")
        assert [key for key, _ in store.scan(b"a", b"z") if key != b"m"] == []


def test_a_group_keeps_only_those_that_are_not_over(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, "group", lateness_ms=0, store=store)
        sizes = []
        for time in range(0, 20_000, 20):
            joiner.advance(time)
            joiner.process([Impression(user_id=time, item_id=1, timestamp=time, group_id="g")])
            joiner.commit(b"")
            sizes.append(sum(len(value) for key, value in store.scan(b"g", b"h")))
        assert max(sizes[500:]) <= 1.2 * max(sizes[150:300])


def test_many_that_go_within_one_commit_are_swept(tmp_path: Path) -> None:
    day = 86_400_000
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(5 * day, "group", 0, {"zero": 0.0}, store=store)
        joiner.process([Impression(user_id=1, item_id=1, timestamp=0, event_id="i", group_id="g")])
        joiner.commit(b"")
        joiner.process([Action(user_id=1, item_id=1, action="zero", timestamp=5 * day, event_id=n) for n in range(100)])
        shown = [Impression(user_id=1, item_id=n, timestamp=0, group_id=n) for n in range(50)]
        joiner.process(shown)
        for days in (30, 31, 32, 33):
            joiner.advance(days * day)
            joiner.commit(b"")
        assert [key for key, _ in store.scan(b"a", b"z") if key != b"m"] == []


def test_late_members_of_groups_are_swept_too(tmp_path: Path) -> None:
    with closing(RocksStore(tmp_path / "store")) as store:
        joiner = LabelJoiner(WINDOW, "group", store=store)
        joiner.advance(1000)
        joiner.process([Impression(user_id=n, item_id=n, timestamp=5, group_id=n) for n in range(5)])
        joiner.commit(b"")
        for time in (2000, 10**9, 10**10, 10**11):
            joiner.advance(time)
            joiner.commit(b"")
        assert [key for key, _ in store.scan(b"a", b"z") if key != b"m"] == []


def test_waiting_actions_keep_their_order_over_a_restart(tmp_path: Path) -> None:
    actions = [
        Action(user_id=1, item_id=1, action=kind, timestamp=at, value=value, event_id=name, request_id=1)
        for kind, at, value, name in (("like", 20, 2.0, "x"), ("like", 10, 1.0, "y"), ("buy", 15, 3.0, "b"))
    ]
    values = []
    for restarts in (False, True):
        with closing(RocksStore(tmp_path / f"store {restarts}")) as store:
            joiner = LabelJoiner(WINDOW, None, 0, WEIGHTS, store=store)
            joiner.process(actions)
            joiner.commit(b"")
            if restarts:
                joiner = LabelJoiner(WINDOW, None, 0, WEIGHTS, store=store)
            joiner.process([Impression(user_id=1, item_id=1, timestamp=0, request_id=1)])
            values.append([one.value for one in joiner.process([Retraction(retracts="b", timestamp=30)])])
    assert values[0] == values[1]
