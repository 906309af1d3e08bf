"""A replica serves exactly what was published at its version, or refuses and says so."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_reco import metrics
from stream_reco.embedding import PRECISIONS, Precision
from stream_reco.sync import (
    BadPublication,
    ChannelUnreachable,
    Delivery,
    InProcessChannel,
    Publication,
    Replica,
    decode,
    encode,
)

if TYPE_CHECKING:
    from tests.sync.conftest import CarefulNotes, Notes, Toy, Trainer


class Hands:
    """A channel into which a test puts what it likes, in the order it likes."""

    def __init__(self, *entries: Publication | BadPublication) -> None:
        self.entries = deque(entries)
        self.asked = 0
        self.away = False

    def send(self, publication: Publication) -> None:
        self.entries.append(publication)

    def read(self, after: str, limit: int) -> list[Delivery]:
        if self.away:
            raise ChannelUnreachable("away")
        start = int(after or 0)
        return [
            Delivery(str(number), entry)
            for number, entry in enumerate(list(self.entries)[start : start + limit], start + 1)
        ]

    def ask_for_snapshot(self) -> None:
        self.asked += 1

    def snapshot_wanted(self) -> bool:
        return self.asked > 0


def refused(reason: str) -> float:
    return metrics.REGISTRY.get_sample_value("stream_reco_replica_refused_total", {"reason": reason}) or 0.0


def vector(replica: Replica, key: int = 7) -> list[float]:
    row: list[float] = replica.tables["item"].lookup(np.array([key]))[0].tolist()
    return row


def test_it_follows_deltas_with_rows_tombstones_and_parts(toy: Toy) -> None:
    notes = toy.notes()
    replica = Replica("m", {"dense": notes})
    keys = np.array([7, 9], np.int64)
    delta = toy.publication(1, 0).tables[0]
    both = type(delta)("item", 2, keys, np.ones((2, 2), np.float32), np.empty(0, np.int64))
    hands = Hands(toy.publication(1, 0, tables=(both,)))
    assert replica.poll(hands) == 1
    assert sorted(replica.tables["item"].keys()) == [7, 9]
    hands.send(toy.publication(2, 1, dense={}))
    assert replica.poll(hands) == 1
    assert (replica.epoch, replica.version, replica.watermark, replica.created) == (1, 2, 5, 2000)
    assert sorted(replica.tables["item"].keys()) == [7]
    assert vector(replica) == [2.0, 2.0]
    assert notes.parts["w"].tolist() == [1]
    assert replica.poll(hands) == 0
    assert hands.asked == 0


def test_a_snapshot_is_the_whole_truth(toy: Toy) -> None:
    notes = toy.notes()
    replica = Replica("m", {"dense": notes})
    user = (
        toy.publication(1, 0)
        .tables[0]
        .__class__("user", 1, np.array([1], np.int64), np.ones((1, 1), np.float32), np.empty(0, np.int64))
    )
    replica.poll(Hands(toy.publication(1, 0, tables=(user,), dense={"old": np.ones(1)}), toy.publication(2, 0)))
    assert list(replica.tables) == ["item"]
    assert list(notes.parts) == ["w"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_rows_are_kept_in_the_precision_asked_for(toy: Toy, rng: np.random.Generator, precision: Precision) -> None:
    trainer, replica, exact = toy.trainer(), Replica("m", precision=precision), Replica("m")
    channel = InProcessChannel()
    for step in range(12):
        trainer.learn(rng)
        if step == 6:
            channel.ask_for_snapshot()
        trainer.publisher.publish(channel, trainer.collect)
        assert replica.poll(channel) == exact.poll(channel) == 1
        for name, table in exact.tables.items():
            keys, kept = table.keys(), replica.tables[name]
            assert kept.precision == precision
            assert kept.keys().tolist() == keys.tolist()
            np.testing.assert_allclose(kept.lookup(keys), table.lookup(keys), rtol=0.02, atol=0.01)
    alike = all(
        (replica.tables[name].lookup(table.keys()) == table.lookup(table.keys())).all()
        for name, table in exact.tables.items()
    )
    assert alike == (precision == "float32")


def test_the_default_row_travels(toy: Toy) -> None:
    first = toy.publication(1, 0).tables[0]
    delta = type(first)("item", 2, first.keys, first.vectors, first.tombstones, np.array([3, 4], np.float32))
    replica = Replica("m")
    replica.poll(Hands(decode(encode(toy.publication(1, 0, tables=(delta,))))))
    assert vector(replica, key=12345) == [3.0, 4.0]


@pytest.mark.parametrize(
    ("reason", "change", "asks"),
    [
        ("gap", {"version": 3, "base": 2}, True),
        ("gap", {"version": 2, "base": 1, "epoch": 3}, True),
        ("model", {"version": 2, "base": 1, "model": "other"}, True),
        ("model", {"version": 2, "base": 0, "model": "other", "epoch": 9}, True),
        ("epoch", {"version": 2, "base": 1, "epoch": 1}, False),
        ("epoch", {"version": 9, "base": 0, "epoch": 1}, False),
        ("repeated", {"version": 1, "base": 0}, False),
    ],
)
def test_what_does_not_follow_is_refused_counted_and_changes_nothing(
    toy: Toy, reason: str, change: dict[str, int], asks: bool
) -> None:
    notes = toy.notes()
    replica = Replica("m", {"dense": notes})
    hands = Hands(toy.publication(1, 0, epoch=2))
    replica.poll(hands)
    before = refused(reason)
    hands.send(toy.publication(**({"epoch": 2} | change)))
    assert replica.poll(hands) == 0
    assert refused(reason) == before + 1
    assert (replica.epoch, replica.version, vector(replica), notes.parts["w"].tolist()) == (2, 1, [1.0, 1.0], [1])
    assert (replica.waiting, hands.asked) == (asks, int(asks))


def test_a_table_that_changed_its_dim_is_refused(toy: Toy) -> None:
    replica, delta = Replica("m"), toy.publication(1, 0).tables[0]
    other = type(delta)("item", 3, delta.keys, np.ones((1, 3), np.float32), delta.tombstones)
    replica.poll(Hands(toy.publication(1, 0), toy.publication(2, 1, tables=(other,))))
    assert (replica.version, replica.waiting) == (1, True)
    replica.poll(Hands(toy.publication(1, 0), toy.publication(2, 1), toy.publication(3, 0, tables=(other,))))
    assert replica.tables["item"].dim == 3


def test_damage_on_the_way_costs_a_snapshot_and_nothing_else(toy: Toy) -> None:
    replica = Replica("m")
    hands = Hands(toy.publication(1, 0), BadPublication("checksum", "damaged"))
    assert replica.poll(hands) == 1
    assert replica.poll(hands) == 0
    assert hands.asked == 2, "it asks at every poll, since a channel may forget"
    hands.send(toy.publication(3, 2))
    hands.send(toy.publication(4, 0))
    assert replica.poll(hands) == 1
    assert (replica.version, replica.waiting, hands.asked) == (4, False, 2)


def test_a_snapshot_from_before_the_gap_does_not_close_it(toy: Toy) -> None:
    replica = Replica("m")
    hands = Hands(toy.publication(3, 2), toy.publication(1, 0))
    assert replica.poll(hands) == 1
    assert (replica.version, replica.waiting, hands.asked) == (1, True, 1)


def test_a_new_epoch_counts_from_one_again(toy: Toy) -> None:
    replica = Replica("m")
    replica.poll(Hands(toy.publication(1, 0), toy.publication(2, 1), toy.publication(1, 0, epoch=2)))
    assert (replica.epoch, replica.version) == (2, 1)


def test_a_channel_that_is_away_leaves_the_replica_serving(toy: Toy) -> None:
    replica = Replica("m")
    hands = Hands(toy.publication(1, 0))
    replica.poll(hands)
    hands.away, before = True, refused("unreachable")
    assert replica.poll(hands) == 0
    assert refused("unreachable") == before + 1
    assert vector(replica) == [1.0, 1.0]


def test_followers_of_nothing_are_a_mistake(toy: Toy) -> None:
    with pytest.raises(ValueError, match="has only the parts"):
        Replica("m", {"weights": toy.notes()})


def test_a_careful_follower_refuses_before_its_siblings_change(toy: Toy) -> None:
    dense, signals = toy.notes(), toy.careful_notes()
    replica = Replica("m", {"dense": dense, "signals": signals})
    hands = Hands(toy.publication(1, 0), toy.publication(2, 1, signals={"step": np.array([1, 2])}))
    assert replica.poll(hands) == 1
    assert dense.parts["w"].tolist() == [1]
    assert (replica.version, replica.waiting, replica.torn) == (1, True, False)


@pytest.mark.parametrize(("failing", "torn"), [("dense", False), ("signals", True)])
def test_a_follower_that_refuses_midway_lets_only_a_snapshot_in(toy: Toy, failing: str, torn: bool) -> None:
    followers = {"dense": toy.notes(), "signals": toy.notes()}
    replica = Replica("m", followers)
    hands = Hands(toy.publication(1, 0, signals={"s": np.ones(1)}))
    replica.poll(hands)
    followers[failing].fails = BadPublication("schema", "cannot take this")
    hands.send(toy.publication(2, 1, signals={"s": np.ones(1)}))
    assert replica.poll(hands) == 0
    assert (replica.version, replica.torn, hands.asked) == (1, torn, 1)
    assert vector(replica) == [1.0, 1.0], "tables come last"
    followers[failing].fails = None
    hands.send(toy.publication(2, 1))
    assert replica.poll(hands) == (0 if torn else 1)
    hands.send(toy.publication(3, 0))
    assert replica.poll(hands) == 1
    assert (replica.version, replica.torn, replica.waiting) == (3, False, False)


def test_a_bug_in_a_follower_is_loud_and_healed_by_a_snapshot(toy: Toy) -> None:
    notes = toy.notes()
    replica = Replica("m", {"dense": notes})
    hands = Hands(toy.publication(1, 0), toy.publication(2, 1))
    replica.poll(Hands(toy.publication(1, 0)))
    notes.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        replica.poll(hands)
    assert replica.torn
    notes.fails = None
    assert replica.poll(hands) == 0
    assert hands.asked == 1
    hands.send(toy.publication(3, 0))
    assert replica.poll(hands) == 1


def test_staleness_is_the_age_of_what_is_served(toy: Toy) -> None:
    replica = Replica("m")
    assert replica.staleness(5) == float("inf")
    replica.poll(Hands(toy.publication(1, 0)))
    assert replica.staleness(3500) == 2.5
    assert metrics.REGISTRY.get_sample_value("stream_reco_replica_staleness_seconds") == 2.5
    assert replica.staleness(10) == 0.0


def test_a_replica_that_fell_out_of_the_channel_finds_back(toy: Toy, rng: np.random.Generator) -> None:
    trainer, channel, notes = toy.trainer(), InProcessChannel(3), toy.notes()
    replica = Replica("m", {"dense": notes})
    for _ in range(6):
        publish(trainer, channel, rng)
    assert replica.poll(channel) == 0
    publish(trainer, channel, rng)
    assert replica.poll(channel) == 1
    publish(trainer, channel, rng)
    assert replica.poll(channel) == 1
    assert toy.served(replica, notes) == trainer.published[(1, 8)]


def publish(trainer: Trainer, channel: InProcessChannel, rng: np.random.Generator) -> Publication:
    trainer.learn(rng)
    publication = trainer.publisher.publish(channel, trainer.collect)
    trainer.remember()
    return publication


FATES = st.sampled_from(["arrives", "arrives", "arrives", "lost", "twice", "late", "damaged"])


@settings(max_examples=60, deadline=None)
@given(
    fates=st.lists(FATES, min_size=1, max_size=25),
    restarts=st.sets(st.integers(0, 24), max_size=2),
    seed=st.integers(0, 2**32 - 1),
)
def test_however_the_way_loses_doubles_or_mixes_it_serves_some_published_version(
    toy: Toy, fates: list[str], restarts: set[int], seed: int
) -> None:
    rng, notes = np.random.default_rng(seed), toy.careful_notes()
    trainer, replica, way = toy.trainer(), Replica("m", {"dense": notes}), Way()
    for number, fate in enumerate(fates):
        if number in restarts:
            published, trainer = trainer.published, toy.trainer(epoch=trainer.publisher.epoch + 1)
            trainer.published = published
        way.carry(publish(trainer, way.channel, rng), fate, rng)
        before = (replica.epoch, replica.version)
        replica.poll(way.hands)
        way.pass_on_questions()
        assert (replica.epoch, replica.version) >= before
        check_served(toy, replica, notes, trainer)
    # Once the way is good again, one question brings it back for certain.
    for _ in range(2):
        way.carry(publish(trainer, way.channel, rng), "arrives", rng)
        replica.poll(way.hands)
        way.pass_on_questions()
    assert replica.version == trainer.publisher.version
    check_served(toy, replica, notes, trainer)


class Way:
    """Between a trainer's channel and a replica: loses, doubles, delays and damages the encoded publications."""

    def __init__(self) -> None:
        self.channel = InProcessChannel()
        self.hands = Hands()
        self.held: list[bytes] = []

    def carry(self, publication: Publication, fate: str, rng: np.random.Generator) -> None:
        data = encode(publication)
        if fate == "late":
            self.held.append(data)
            return
        if fate == "damaged":
            place = int(rng.integers(len(data)))
            data = data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
        for _ in range({"lost": 0, "twice": 2}.get(fate, 1)):
            self._deliver(data)
        if self.held and rng.random() < 0.5:
            self._deliver(self.held.pop(int(rng.integers(len(self.held)))))

    def pass_on_questions(self) -> None:
        if self.hands.asked:
            self.channel.ask_for_snapshot()
            self.hands.asked = 0

    def _deliver(self, data: bytes) -> None:
        try:
            self.hands.send(decode(data))
        except BadPublication as error:
            self.hands.entries.append(error)


def check_served(toy: Toy, replica: Replica, notes: Notes | CarefulNotes, trainer: Trainer) -> None:
    if replica.version:
        assert toy.served(replica, notes) == trainer.published[(replica.epoch, replica.version)]
        for table in replica.tables.values():
            table.check_invariants()
