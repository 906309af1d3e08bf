"""The trainer's signals against the whole log by formula; a replica and a restarted trainer against the trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from stream_reco.events import key_of
from stream_reco.signals.counters import DECAY_RATES, windowed
from stream_reco.signals.decayed_lists import EMPTY, Lists
from stream_reco.signals.history import Histories
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.observe import tallied
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import FRESH_WIDTH, Signals
from stream_reco.signals.trends import TrendFinder
from tests.signals.reference_signals import (
    ACTIONS,
    CONTEXTS,
    DAY,
    HOUR,
    MINUTE,
    NEXT,
    PAIRS,
    SHOWN,
    TOGETHER,
    WINDOWS,
    Item,
    ReferenceHistory,
    ReferenceSignals,
    Value,
    decayed,
)
from tests.signals.reference_signals import windowed as expected_window

START = 1_600_000_000_000
SETTINGS = SignalSettings(context_values=3, item_idle_days=2.0, user_idle_days=2.0, history_days=30.0)
ITEMS: list[Item] = [0, -1, -(2**63), 2**63 - 1, 2**53 + 1, "0", "😀", "e\u0301", "\u00e9", "a" * 512]
ITEM = st.sampled_from(ITEMS)
USER = st.sampled_from(["u", "v", 7])
LATE = st.sampled_from([0, 0, 0, 1, 4 * MINUTE, 11 * HOUR, 13 * HOUR, 3 * DAY])
GAP = st.sampled_from([0, 1, 999, 5 * MINUTE, HOUR, 12 * HOUR + 1, DAY])
CONTEXT = st.dictionaries(st.sampled_from([f"field{n}" for n in range(10)]), st.sampled_from("abcde"), max_size=3)


def equal(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].dtype == other[name].dtype, name
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


class SignalsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.trainer = Signals(SETTINGS)
        self.twin = Signals(SETTINGS)
        self.replica = Signals(SETTINGS)
        self.histories = Histories(SETTINGS)
        self.model = ReferenceSignals(2 * DAY, SETTINGS.context_values)
        self.past: dict[Item, ReferenceHistory] = {}
        self.now = START

    @property
    def both(self) -> tuple[Signals, Signals]:
        return self.trainer, self.twin

    @rule(user=USER, item=ITEM, context=CONTEXT, gap=GAP, late=LATE)
    def act(self, user: Item, item: Item, context: dict[str, str], gap: int, late: int) -> None:
        self.now += gap
        time = self.now - late
        row = self.histories.row_of(user)
        recent = self.histories.items[row].copy() if row >= 0 else np.full(RECENT, -1, dtype=np.int32)
        times = self.histories.times[row].copy() if row >= 0 else np.zeros(RECENT, dtype=np.int64)
        for signals in self.both:
            slot = signals.admit(item)
            signals.learn_context(context)
            signals.act(slot, recent, times, signals.coder.encode(context, time), time)
        self.histories.add(user, slot, time)
        past = self.past.setdefault(user, ReferenceHistory())
        self.model.act(item, past.recent(), context, time)
        past.add(item, time, SETTINGS.history_length)

    @rule(item=ITEM, gap=GAP, late=LATE)
    def show(self, item: Item, gap: int, late: int) -> None:
        self.now += gap
        for signals in self.both:
            signals.show(signals.admit(item), self.now - late)
        self.model.show(item, self.now - late)

    @rule(item=ITEM, year=st.integers(0, 5), available=st.booleans(), late=LATE)
    def describe(self, item: Item, year: int, available: bool, late: int) -> None:
        features: dict[str, Any] = {"year": year, "tags": ["a", "é"]}
        for signals in self.both:
            signals.describe(item, Statement(self.now - late, features, available))
        self.model.describe(item, features, available, self.now - late)

    @rule(item=ITEM, price=st.integers(0, 5))
    def reprice(self, item: Item, price: int) -> None:
        for signals in self.both:
            signals.describe(item, Statement(self.now, {"price": price, "tags": None}))
        self.model.describe(item, {"price": price, "tags": None}, None, self.now)

    @rule(item=ITEM)
    def name(self, item: Item) -> None:
        for signals in self.both:
            signals.admit(item)
        self.model.admit(item)

    @rule(gap=st.sampled_from([0, DAY, 3 * DAY]))
    def evict(self, gap: int) -> None:
        self.now += gap
        ids = list(self.trainer.catalogue.ids)
        slots = [signals.evict(self.now) for signals in self.both]
        np.testing.assert_array_equal(slots[0], slots[1])
        self.histories.forget_items(slots[0])
        gone = self.model.evict(self.now)
        assert {ids[slot] for slot in slots[0]} == gone
        for past in self.past.values():
            past.actions = [action for action in past.actions if action[2] not in gone]
        for lists in (self.trainer.trends.trending, self.trainer.trends.fresh, self.trainer.trends.active):
            assert not np.isin(slots[0], lists).any()

    @rule()
    def publish(self) -> None:
        signals, catalogue = self.trainer.drain()
        equal(self.twin.drain()[0], signals)
        self.replica.apply(signals)
        self.replica.apply_catalogue(catalogue)
        self.replica_mirrors()

    @rule()
    def fail_to_publish(self) -> None:
        for signals in self.both:
            signals.restore_touched(signals.drain()[0])

    @rule()
    def publish_a_snapshot(self) -> None:
        for one in self.both:
            one.drain()
        signals, catalogue = self.trainer.snapshot()
        self.replica.clear()
        self.replica.apply(signals)
        self.replica.apply_catalogue(catalogue)
        self.replica_mirrors()

    @rule()
    def restart(self) -> None:
        self.twin = Signals.from_state(SETTINGS, {name: part.copy() for name, part in self.trainer.state().items()})

    @rule(gap=st.sampled_from([0, 14_999, 15_000]))
    def refresh(self, gap: int) -> None:
        self.now += gap
        for signals in self.both:
            signals.refresh(self.now)

    def replica_mirrors(self) -> None:
        mine, other = self.trainer, self.replica
        # Rows of free slots are equal too: nothing of an item that left stays behind.
        equal(other.snapshot()[0], mine.snapshot()[0])
        equal(other.snapshot()[1], mine.snapshot()[1])
        size = mine.catalogue.size
        for name in ("keys", "available", "live", "described"):
            one, two = getattr(mine.catalogue, name)[:size], getattr(other.catalogue, name)[:size]
            np.testing.assert_array_equal(one, two)
        assert other.catalogue.ids == mine.catalogue.ids
        assert [other.catalogue.slot_of(item) for item in ITEMS] == [mine.catalogue.slot_of(item) for item in ITEMS]
        for context in ({f"field{n}": text for n in range(10)} for text in "abcde"):
            for one, two in zip(mine.coder.encode(context, 0), other.coder.encode(context, 0), strict=True):
                np.testing.assert_array_equal(one, two)
        trends = [
            TrendFinder(SETTINGS.trending_width, FRESH_WIDTH).find(
                signals.counts.items,
                signals.catalogue.available,
                signals.catalogue.size,
                self.now,
                np.zeros(signals.catalogue.size, dtype=np.bool_),
            )
            for signals in (mine, other)
        ]
        equal(trends[0]._asdict(), trends[1]._asdict())

    @invariant()
    def restarted_twin_is_the_same_to_the_bit(self) -> None:
        equal(self.twin.state(), self.trainer.state())

    @invariant()
    def catalogue_agrees(self) -> None:
        catalogue = self.trainer.catalogue
        assert len(catalogue) == len(self.model.items)
        assert {item for item in catalogue.ids if item is not None} == set(self.model.items)
        for item, record in self.model.items.items():
            slot = catalogue.slot_of(item)
            assert catalogue.ids[slot] == item
            assert type(catalogue.ids[slot]) is type(item)
            assert catalogue.features[slot] == record.features
            assert catalogue.available[slot] == record.available
            assert catalogue.keys[slot] == key_of(item, "item")
            assert catalogue.slots_of_keys([key_of(item, "item")]).tolist() == [slot]
        free = [slot for slot, item in enumerate(catalogue.ids) if item is None]
        for array in (catalogue.available, catalogue.live, self.trainer.counts.items.stamps):
            assert not array[free].any()
            assert not array[catalogue.size :].any()

    @invariant()
    def counters_agree(self) -> None:
        items, now = self.trainer.counts.items, self.now
        for item, record in self.model.items.items():
            slot = self.trainer.catalogue.slot_of(item)
            assert items.first_seen[slot] == record.first
            assert items.stamps[slot] == record.stamp
            assert items.totals[slot] == len(record.acted)
            assert items.impressions[slot] == len(record.shown)
            got = items.decayed[items.numbers[slot]] * np.exp2(-(now - items.stamps[slot]) * DECAY_RATES)
            wanted = [decayed([(time, 1.0) for time in record.acted], half_life, now) for half_life in ACTIONS]
            wanted += [decayed([(time, 1.0) for time in record.shown], half_life, now) for half_life in SHOWN]
            np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-200)
            for window, span in enumerate(WINDOWS):
                assert windowed(items, slot, window, now) == pytest.approx(expected_window(record.acted, span, now))
        assert self.trainer.counts.everything.totals[0] == len(self.model.everything)

    @invariant()
    def pairs_and_contexts_agree(self) -> None:
        counts, catalogue = self.trainer.counts, self.trainer.catalogue
        numbers = self.numbers()
        for item, record in self.model.items.items():
            slot = catalogue.slot_of(item)
            pairs = {catalogue.slot_of(other): times for other, times in record.pairs.items()}
            self.list_agrees(counts.pairs, slot, pairs, PAIRS)
            following = {catalogue.slot_of(other): times for other, times in record.following.items()}
            self.list_agrees(counts.following, slot, following, NEXT)
            together = {catalogue.slot_of(other): times for other, times in record.together.items()}
            self.list_agrees(counts.together, slot, together, TOGETHER)
            inside = {numbers[value]: times for value, times in record.contexts.items() if value in numbers}
            # The numbers of a dropped field stay in the lists until the next eviction; nobody can ask for them.
            listed = counts.contexts.keys[counts.contexts.numbers[slot]].tolist()
            hidden = [number for number in listed if number not in inside]
            self.list_agrees(counts.contexts, slot, inside, CONTEXTS, ignored={*hidden} - {int(EMPTY)})
        for value, number in numbers.items():
            keyed = {catalogue.slot_of(item): times for item, times in self.model.popular.get(value, {}).items()}
            self.list_agrees(counts.popular, number, keyed, CONTEXTS)
            assert tallied(counts.values, number, self.now) == pytest.approx(
                decayed(self.model.values[value], DAY, self.now), rel=1e-9, abs=1e-200
            )

    def numbers(self) -> dict[Value, int]:
        """The numbers of all values that can be asked for."""
        found = {}
        for name, text in self.model.values:
            encoded = self.trainer.coder.encode({name: text}, 0).values
            assert ((encoded >= 0).sum() == 1) == (name not in self.model.dropped)
            if name not in self.model.dropped:
                found[name, text] = int(encoded.max())
        assert len(set(found.values())) == len(found)
        return found

    def list_agrees(
        self,
        lists: Lists,
        row: int,
        wanted: dict[int, list[tuple[int, float]]],
        half_lives: tuple[int, ...],
        ignored: set[int] | None = None,
    ) -> None:
        number = lists.numbers[row]
        keys = [key for key in lists.keys[number].tolist() if key != EMPTY]
        assert len(set(keys)) == len(keys)
        assert set(keys) - (ignored or set()) == set(wanted)
        for place, key in enumerate(keys):
            for kind, half_life in enumerate(half_lives if key in wanted else ()):
                fade = 2.0 ** (-(self.now - int(lists.stamps[number])) / half_life)
                got = float(lists.weights[number, place, kind]) * fade
                assert got == pytest.approx(decayed(wanted[key], half_life, self.now), rel=1e-4, abs=1e-30)


TestSignals = SignalsMachine.TestCase
TestSignals.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)


def test_a_slot_changes_hands_only_after_everyone_could_see_it_free() -> None:
    signals, replica = Signals(SETTINGS), Signals(SETTINGS)
    signals.show(signals.admit("old"), START)
    for parts in (signals.drain(),):
        replica.apply(parts[0])
        replica.apply_catalogue(parts[1])
    assert signals.evict(START + 3 * DAY).tolist() == [0]
    assert signals.admit("between") == 1
    signals.show(1, START + 3 * DAY)
    assert not len(signals.evict(START + 4 * DAY))
    assert signals.admit("new") == 0
    # The replica saw nothing of all this; one delta brings it from the old item to the new one.
    rows, catalogue = signals.drain()
    replica.apply(rows)
    replica.apply_catalogue(catalogue)
    assert [replica.catalogue.slot_of(item) for item in ("old", "new", "between")] == [-1, 0, 1]
    assert replica.counts.items.stamps[0] == 0


def test_parts_of_other_settings_are_refused_by_name() -> None:
    signals = Signals(SignalSettings(pair_width=5))
    signals.show(signals.admit(1), START)
    with pytest.raises(ValueError, match=r"pairs\.keys.*other settings"):
        Signals.from_state(SignalSettings(pair_width=6), signals.state())


def test_a_state_is_not_moved_by_what_comes_after() -> None:
    signals = Signals(SETTINGS)
    signals.show(signals.admit(1), START)
    state = signals.state()
    before = {name: array.copy() for name, array in state.items()}
    signals.show(signals.admit(2), START + 1)
    signals.show(signals.admit(1), START + DAY)
    signals.drain()
    equal(state, before)


def test_everything_grows() -> None:
    signals, replica = Signals(SignalSettings(context_values=1500)), Signals(SignalSettings(context_values=1500))
    for number in range(1300):
        slot = signals.admit(number)
        signals.learn_context({"page": number})
        context = signals.coder.encode({"page": number}, START)
        recent = np.array([slot - 1] + [-1] * (RECENT - 1), dtype=np.int32)
        signals.act(slot, recent, np.full(RECENT, START, dtype=np.int64), context, START)
    rows, catalogue = signals.drain()
    replica.apply(rows)
    replica.apply_catalogue(catalogue)
    equal(replica.snapshot()[0], signals.snapshot()[0])
    pairs, popular = replica.counts.pairs, replica.counts.popular
    assert pairs.keys[pairs.numbers[1299], 0] == 1298
    assert (popular.keys[popular.numbers[:1300], 0] == np.arange(1300)).all()
