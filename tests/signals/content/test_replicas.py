"""A replica, and a restarted trainer, read of every item what the trainer reads."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import UNSET

from stream_reco.signals.content import entry_store, items
from stream_reco.signals.content.encode import encoded
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.values import values_of
from stream_reco.signals.content.words import code_of
from stream_reco.signals.growing import Parts
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.settings import DAY_MS, SignalSettings
from stream_reco.signals.signals import Signals

SETTINGS = SignalSettings(item_idle_days=2.0)
START = 1_600_000_000_000
ITEM = st.sampled_from([1, 2, 3, "1", "long", "gone"])
VALUE = st.one_of(
    st.sampled_from(["tea", "mug", "2026-01-01", 3, 3.5, True, 1, False, None, 1.0]),
    st.lists(st.sampled_from(["a", "b", "c", 1, True, None]), max_size=4),
    st.sampled_from(["a text about tea and tea and mugs", "this text is about something else"]),
    st.sampled_from([[0.5] * 16, [0.25] * 9, [math.nan] + [0.5] * 15]),
)
VECTOR = st.sampled_from([UNSET, UNSET, None, [1.0, 2.0], [3.0, 4.0], [5.0], [math.nan], [1e300, 1.0]])
FEATURES = st.dictionaries(st.sampled_from(["kind", "tags", "text", "size"]), VALUE, max_size=4)


def assert_alike(one: Signals, other: Signals) -> None:
    """Everything that a model reads of items, and of users where it has their features."""
    slots = np.arange(-1, one.catalogue.size + 1, dtype=np.int32)
    counts, values = one.catalogue.content.read(slots, START)
    other_counts, other_values = other.catalogue.content.read(slots, START)
    np.testing.assert_array_equal(counts, other_counts)
    for mine, its in zip(values, other_values, strict=True):
        np.testing.assert_array_equal(mine, its)
    profile = {"kind": "tea", "text": "a text about tea", "size": 4, "tags": [1, "a"]}
    for mine, its in zip(
        values_of(one.user_fields, profile, START), values_of(other.user_fields, profile, START), strict=True
    ):
        np.testing.assert_array_equal(mine, its)
    fields, size = one.catalogue.content.fields, len(one.catalogue.content.fields)
    for name in ("present", "distinct"):
        theirs = getattr(other.catalogue.content.fields, name)
        np.testing.assert_array_equal(getattr(fields, name)[:size], theirs[:size])
    vectors, theirs = one.catalogue.content.vectors, other.catalogue.content.vectors
    assert vectors.names == theirs.names
    for name in vectors.names:
        mine, its = vectors.array(name), theirs.array(name)
        assert mine is not None
        assert its is not None
        assert mine.count == its.count == mine.present.sum()
        np.testing.assert_array_equal(mine.present, its.present)
        np.testing.assert_array_equal(mine.rows, its.rows)
    assert one.catalogue.content.fields.everyone == other.catalogue.content.fields.everyone


def assert_same_lists(one: Signals, other: Signals) -> None:
    """Which items say what, and in which order they came to it."""
    mine, theirs = one.catalogue.content, other.catalogue.content
    for value in mine.categories_of(np.arange(one.catalogue.size, dtype=np.int32), words=True):
        assert mine.frequency(*value) == theirs.frequency(*value)
        assert mine.having(*value, 9) == theirs.having(*value, 9)


def without_content(state: Parts) -> Parts:
    """As earlier releases wrote it."""
    return {name: part for name, part in state.items() if not name.startswith("catalogue.content.")}


class ContentReplicas(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.trainer, self.replica = Signals(SETTINGS, lists_items=False), Signals(SETTINGS)
        self.near = Signals(SETTINGS, beside=self.trainer)
        """A replica that holds what it can in common with the trainer."""
        self.told = Signals(SETTINGS)
        """A replica whose snapshots say what the content says, instead of having it read."""
        self.now = START
        self.spare, entry_store._SPARE = entry_store._SPARE, 8

    def teardown(self) -> None:
        entry_store._SPARE = self.spare

    @rule(item=ITEM, features=FEATURES, replace=st.booleans(), late=st.sampled_from([0, 5000]), vector=VECTOR)
    def describe(self, item: Any, features: dict[str, Any], replace: bool, late: int, vector: Any) -> None:
        self.now += 1000
        self.trainer.describe(item, Statement(self.now - late, features, replace=replace, vector=vector))

    @rule(features=FEATURES)
    def describe_a_user(self, features: dict[str, Any]) -> None:
        fields = self.trainer.user_fields
        encoded(fields, features, learn=True)
        fields.turned.clear()

    @rule(item=ITEM)
    def an_item_leaves(self, item: Any) -> None:
        slot = self.trainer.catalogue.slot_of(item)
        if slot >= 0:
            self.trainer.catalogue.release([slot])
            self.trainer._touched[slot] = True

    @rule()
    def a_day_passes(self) -> None:
        self.now += 3 * DAY_MS
        self.trainer.evict(self.now)

    @rule()
    def publish(self) -> None:
        signals, catalogue = self.trainer.drain()
        for one in (self.replica, self.near, self.told):
            one.apply(signals)
            one.apply_catalogue(catalogue)
        assert_alike(self.trainer, self.replica)

    @rule()
    def publish_a_snapshot(self) -> None:
        self.trainer.drain()
        signals, catalogue = self.trainer.snapshot()
        for one in (self.replica, self.near):
            one.clear()
            one.apply(signals)
            one.apply_catalogue(catalogue)
        signals, catalogue = self.trainer.snapshot(as_read=True)
        self.told.clear()
        self.told.apply(signals)
        self.told.apply_catalogue(catalogue)
        assert_alike(self.trainer, self.replica)

    @rule(back=st.sampled_from([1000, 5000]))
    def turn_back(self, back: int) -> None:
        self.now -= back
        self.trainer.turn_back(self.now)

    @rule()
    def restart(self) -> None:
        state = {name: part.copy() for name, part in self.trainer.state().items()}
        restarted = Signals.from_state(SETTINGS, state, lists_items=False)
        assert_alike(self.trainer, restarted)
        read_anew = Signals.from_state(SETTINGS, without_content(state))
        assert_alike(self.trainer, read_anew)
        assert_same_lists(Signals.from_state(SETTINGS, state), read_anew)
        self.trainer = restarted
        self.near = Signals(SETTINGS, beside=restarted)
        self.publish_a_snapshot()

    @rule()
    def fail_to_publish(self) -> None:
        self.trainer.restore_touched(self.trainer.drain()[0])

    @invariant()
    def near_and_far_replicas_are_alike_whatever_the_trainer_has_learned_since(self) -> None:
        assert_alike(self.replica, self.near)
        far, near = self.replica.catalogue, self.near.catalogue
        assert far.features._packed == near.features._packed
        assert far.ids == near.ids
        assert_same_lists(self.replica, self.near)

    @invariant()
    def what_a_snapshot_says_of_content_is_what_is_read_of_it(self) -> None:
        assert_alike(self.replica, self.told)
        assert_same_lists(self.replica, self.told)


TestContentReplicas = ContentReplicas.TestCase
TestContentReplicas.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def published(trainer: Signals, replica: Signals) -> None:
    signals, catalogue = trainer.drain()
    replica.apply(signals)
    replica.apply_catalogue(catalogue)
    assert_alike(trainer, replica)


def test_words_weigh_the_same_on_both_sides_whatever_came_first() -> None:
    trainer, replica = Signals(SETTINGS), Signals(SETTINGS)
    for number in range(30):
        trainer.describe(number, Statement(START + number, {"text": f"tea is the word of item {number % 5} here"}))
        if number % 7 == 0:
            published(trainer, replica)
    published(trainer, replica)
    late = Signals(SETTINGS)
    late.apply(trainer.snapshot()[0])
    late.apply_catalogue(trainer.snapshot()[1])
    assert_alike(trainer, late)


def test_a_change_of_a_kind_alone_reaches_the_replica() -> None:
    trainer, replica = Signals(SETTINGS), Signals(SETTINGS)
    trainer.describe(1, Statement(START, {"kind": "green tea"}))
    published(trainer, replica)
    trainer.describe(2, Statement(START, {"kind": "the tea of many words"}))
    published(trainer, replica)
    tea = replica.catalogue.content.fields.find("kind")
    assert replica.catalogue.content.fields.names[tea] == "kind"
    assert replica.catalogue.content.read(np.array([0], dtype=np.int32), START)[0][0] == 3  # green, gree*, tea


def test_true_and_one_are_told_apart_when_one_follows_the_other() -> None:
    trainer, replica = Signals(SETTINGS), Signals(SETTINGS)
    trainer.describe(2, Statement(START, {"kind": "tea"}))
    for kind in (1, True, 1.0, [1], [True]):
        trainer.describe(1, Statement(START, {"kind": kind}))
        published(trainer, replica)
        (stored,) = [*(trainer.catalogue.features[1] or {}).values()]
        assert repr(stored) == repr(kind)


def test_items_with_one_value_stand_in_the_order_in_which_they_were_described() -> None:
    trainer = Signals(SETTINGS)
    for item, at in ((1, 30), (2, 10), (3, 20)):
        trainer.describe(item, Statement(START + at, {"kind": "tea"}))
    for one in (Signals.from_state(SETTINGS, trainer.state()), Signals(SETTINGS)):
        if not one.catalogue.size:
            published(trainer, one)
        content = one.catalogue.content
        code = int(content.read(np.array([0], dtype=np.int32), START)[1].codes[0])
        assert content.having(0, code, 9) == [0, 2, 1]


def test_not_a_number_is_stored_and_says_nothing() -> None:
    trainer, replica = Signals(SETTINGS), Signals(SETTINGS)
    trainer.describe(1, Statement(START, {"size": math.nan, "kind": "tea"}))
    published(trainer, replica)
    assert trainer.catalogue.content.fields.names == ["kind"]


def test_vectors_travel_once_and_again_where_no_channel_took_them() -> None:
    trainer, replica = Signals(SETTINGS), Signals(SETTINGS)
    trainer.describe(1, Statement(START, {}, vector=[1.0, 2.0]))
    lost = trainer.drain()
    assert lost[1]["vectors.data"].tolist() == [1.0, 2.0]
    trainer.restore_touched(lost[0])
    published(trainer, replica)
    trainer.show(trainer.admit(1), START)
    signals, catalogue = trainer.drain()
    assert len(catalogue["vectors.data"]) == 0
    replica.apply(signals)
    replica.apply_catalogue(catalogue)
    assert_alike(trainer, replica)
    assert trainer.snapshot()[1]["vectors.data"].tolist() == [1.0, 2.0]


def test_what_a_trainer_and_its_replica_have_in_common_is_held_once() -> None:
    trainer = Signals(SETTINGS, lists_items=False)
    replica = Signals(SETTINGS, beside=trainer)
    for number in range(3000):
        trainer.describe(f"item {number}", Statement(START, {"kind": "tea", "tags": ["a", f"b{number}"], "size": 1.5}))
    published(trainer, replica)
    ours, theirs = trainer.catalogue, replica.catalogue
    assert ours.content.store is theirs.content.store
    assert ours.content.store.written == 3000 * 4
    assert theirs.content.entries.codes is ours.content.entries.codes
    assert all(one is other for one, other in zip(ours.ids, theirs.ids, strict=True))
    assert all(one is other for one, other in zip(ours.features._packed, theirs.features._packed, strict=True))
    assert len(ours.content._links.slots) == 0
    for _ in range(3):
        for number in range(3000):
            trainer.describe(f"item {number}", Statement(START + 1, {"kind": f"mug {number % 2}"}))
        published(trainer, replica)
    assert ours.content.store.written <= 2 * 3000 * 4 + 4096
    assert len(replica.catalogue.content.having(0, code_of("mug 1"), 5000)) == 1500


def described() -> Signals:
    signals = Signals(SETTINGS, lists_items=False)
    for number in range(80):
        said = {
            "kind": f"kind {number % 7}",
            "text": f"what is said of item {number} and {number // 3}",
            "price": number,
        }
        signals.describe(number, Statement(START + number, said))
    return signals


def test_what_items_say_is_not_read_again_at_a_restart_but_where_it_would_be_read_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signals = described()
    read = list[object]()

    def noted(fields: Any, features: Any, *, learn: bool) -> Any:
        read.append(features)
        return encoded(fields, features, learn=learn)

    monkeypatch.setattr(items, "encoded", noted)
    state = signals.state()
    assert_alike(signals, Signals.from_state(SETTINGS, state, lists_items=False))
    assert not read
    state["catalogue.content.reading"] = np.array([items.READING + 1])
    assert_alike(signals, Signals.from_state(SETTINGS, state, lists_items=False))
    assert len(read) == len(signals.catalogue)


def test_a_checkpoint_takes_more_items_over_than_cells_are_made_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "_AT_ONCE", 3)
    monkeypatch.setattr(items, "_FEWEST_CELLS", 16)
    signals = described()
    restarted = Signals.from_state(SETTINGS, signals.state())
    assert_alike(signals, restarted)
    assert_same_lists(restarted, Signals.from_state(SETTINGS, without_content(signals.state())))


def test_features_are_read_as_this_number_of_the_reading_says() -> None:
    """Where this fails, what checkpoints say that items say holds no longer: add one to `READING`, and pin it anew."""
    fields = FeatureFields("item")
    said = {
        "kind": "Tea",
        "tags": ["a", "b"],
        "text": "Green tea, tea and the greenest of teas",
        "price": 3.5,
        "since": "2026-01-01",
        "new": True,
    }
    found = encoded(fields, said, learn=True)
    digest = hashlib.sha256(found.tobytes()).hexdigest()[:16]
    assert (items.READING, digest) == (1, "4cabaa0c7f608616")
