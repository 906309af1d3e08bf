"""A stream whose time ran ahead and is turned back: every impression still gets one first label, then reversals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco.events import Action, Event, Impression, Retraction
from stream_reco.labels import Example, LabelJoiner
from stream_reco.labels.memory.groups import Order
from stream_reco.storage.rocksdb import RocksStore
from tests.labels.test_joiner_properties import ADAPTIVE

WINDOW = 1000
START = 1_000_000
Step = tuple[str, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["show", "click", "lone", "retract"]), st.integers(0, 7), st.integers(0, 400)),
    max_size=14,
)


class World:
    """Events by a clock that can be moved, each impression with a request of its own."""

    def __init__(self, joiner: LabelJoiner) -> None:
        self.joiner, self.now, self.out = joiner, START, list[Example]()
        self.shown: list[Impression] = []
        self.clicks: list[Action] = []
        self.number = 0

    def take(self, steps: Sequence[Step]) -> None:
        for kind, which, later in steps:
            self.now += later
            self.number += 1
            event = self._event(kind, which)
            self.out += self.joiner.process([event])
            self.pass_to(self.now)

    def pass_to(self, now: int) -> None:
        self.out += self.joiner.advance(now - self.joiner.lateness_ms)

    def _event(self, kind: str, which: int) -> Event:
        name = f"e{self.number}"
        if kind == "retract" and self.clicks:
            taken = self.clicks[-1 - which % len(self.clicks)]
            return Retraction(retracts=str(taken.event_id), user_id=taken.user_id, event_id=name, timestamp=self.now)
        if kind == "click" and self.shown:
            on = self.shown[-1 - which % len(self.shown)]
            click = Action(
                user_id="u",
                item_id=on.item_id,
                action="click",
                timestamp=self.now,
                event_id=name,
                request_id=on.request_id,
            )
            self.clicks.append(click)
            return click
        if kind == "lone":
            click = Action(user_id="u", item_id="other", action="click", timestamp=self.now, event_id=name)
            self.clicks.append(click)
            return click
        shown = Impression(
            user_id="u",
            item_id=f"i{which}",
            timestamp=self.now,
            event_id=name,
            request_id=name,
            position=0,
            group_id="g",
        )
        self.shown.append(shown)
        return shown


@contextmanager
def on_disk(order: Order, **presume: Any) -> Iterator[LabelJoiner]:
    with TemporaryDirectory() as folder:
        store = RocksStore(Path(folder) / "labels")
        yield LabelJoiner(WINDOW, order, lateness_ms=50, **presume, store=store)
        store.close()


def of_impressions(world: World) -> dict[object, list[Example]]:
    found: dict[object, list[Example]] = defaultdict(list)
    for example in world.out:
        if not example.is_unprompted:
            found[example.request_id].append(example)
    return found


@pytest.mark.parametrize("order", [None, "group"])
@given(before=STEPS, ahead=STEPS, after=STEPS, jump=st.sampled_from([300, 900, 1500, 2500, 10**6]), rest=st.data())
@settings(max_examples=12, deadline=None)
def test_one_first_label_then_only_reversals(
    order: Order, before: list[Step], ahead: list[Step], after: list[Step], jump: int, rest: st.DataObject
) -> None:
    presume: dict[str, Any] = rest.draw(st.sampled_from([{}, {"presume_ms": 100}, {"adaptive": ADAPTIVE}]))
    with on_disk(order, **presume) as joiner:
        world = World(joiner)
        world.take(before)
        right = world.now
        world.now += jump
        world.take(ahead)
        world.pass_to(world.now)
        pending, labelled = joiner.pending, set(of_impressions(world))
        world.now = right + rest.draw(st.integers(0, 200))
        joiner.turn_back(world.now)
        assert joiner.pending == pending
        world.pass_to(world.now)
        if not presume and order is None:
            # Nothing that waits became negative by turning back.
            assert set(of_impressions(world)) == labelled
        world.take(after)
        world.pass_to(world.now + 10 * WINDOW)
        found = of_impressions(world)
        assert set(found) == {shown.request_id for shown in world.shown}
        for examples in found.values():
            assert examples[0].undoes is None
            for earlier, later in pairwise(examples):
                assert later.undoes is not None
                assert later.undoes.label == earlier.label != later.label
        assert joiner.pending == 0
        world.pass_to(world.now + 20 * WINDOW)
        joiner.commit(b"")
        assert joiner.store is not None
        left = [key for letter in (b"d", b"s", b"i", b"n") for key, _ in joiner.store.everything(letter)]
        assert left == []


def test_an_impression_of_the_future_waits_its_full_window_from_now_on() -> None:
    with on_disk(None) as joiner:
        future = START + 10**6
        joiner.process([Impression(user_id="u", item_id="i", timestamp=future, event_id="s", request_id="r")])
        joiner.advance(future - 50)
        assert joiner.turn_back(START) == 1
        assert joiner.advance(START + WINDOW) == []
        assert [(one.reason, one.event_time) for one in joiner.advance(START + WINDOW + 1)] == [("window", START)]


def test_ids_are_not_kept_for_longer_than_those_of_now() -> None:
    day = 86_400_000
    with on_disk(None) as joiner:
        joiner.process([Action(user_id="u", item_id="i", action="click", timestamp=START + 400 * day, event_id="a")])
        joiner.turn_back(START)
        assert joiner.seen("a")
        joiner.advance(START + 3 * day)
        assert not joiner.seen("a")


def test_without_a_store_it_is_refused() -> None:
    with pytest.raises(ValueError, match="without a store"):
        LabelJoiner(WINDOW).turn_back(START)
