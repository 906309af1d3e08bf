"""Versions are consecutive, and no change is lost however the channel behaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from stream_reco import metrics
from stream_reco.embedding import EmbeddingTable
from stream_reco.sync import (
    ChannelRefused,
    ChannelUnreachable,
    InProcessChannel,
    Publication,
    Publisher,
    Replica,
    drain_tables,
)

if TYPE_CHECKING:
    from tests.sync.conftest import Toy


class MoodyChannel(InProcessChannel):
    """Fails as told: "refuses" takes nothing, "vanishes" takes it but does not say so, "away" takes nothing in."""

    mood = ""

    def snapshot_wanted(self) -> bool:
        if self.mood == "away":
            raise ChannelUnreachable("away")
        return super().snapshot_wanted()

    def send(self, publication: Publication) -> None:
        if self.mood == "refuses":
            raise ChannelRefused("full")
        super().send(publication)
        if self.mood == "vanishes":
            raise ChannelUnreachable("timed out")


def test_an_epoch_begins_with_a_snapshot_and_goes_on_in_deltas(toy: Toy, rng: np.random.Generator) -> None:
    trainer, channel = toy.trainer(epoch=4), InProcessChannel()
    published = []
    for _ in range(3):
        trainer.learn(rng)
        published.append(trainer.publisher.publish(channel, trainer.collect))
    assert [(p.epoch, p.version, p.base_version) for p in published] == [(4, 1, 0), (4, 2, 1), (4, 3, 2)]
    assert [p.watermark for p in published] == [-59_000, -58_000, -57_000]
    assert len(published[0].tables[0]) == len(published[0].tables[0].vectors) > 0
    assert trainer.publisher.version == 3


def test_a_replica_that_asks_gets_a_snapshot_once(toy: Toy) -> None:
    trainer, channel = toy.trainer(), InProcessChannel()
    kinds = []
    for asks in (False, False, True, False):
        if asks:
            channel.ask_for_snapshot()
        kinds.append(trainer.publisher.publish(channel, trainer.collect).snapshot)
    assert kinds == [True, False, True, False]


@pytest.mark.parametrize("refused_at", [0, 1])
def test_a_refused_publication_leaves_its_rows_touched_and_its_number_free(
    toy: Toy, rng: np.random.Generator, refused_at: int
) -> None:
    trainer, channel = toy.trainer(), MoodyChannel()
    for _ in range(refused_at):
        trainer.learn(rng)
        trainer.publisher.publish(channel, trainer.collect)
    channel.mood = "refuses"
    for _ in range(2):
        trainer.learn(rng)
        touched = [table.touched for table in trainer.tables]
        with pytest.raises(ChannelRefused):
            trainer.publisher.publish(channel, trainer.collect)
        assert [table.touched for table in trainer.tables] == touched
    channel.mood = ""
    publication = trainer.publisher.publish(channel, trainer.collect)
    assert (publication.version, publication.snapshot) == (refused_at + 1, refused_at == 0)
    assert [len(delta) for delta in publication.tables] == touched
    assert_follows(toy, channel)


def assert_follows(toy: Toy, channel: InProcessChannel) -> None:
    notes = toy.notes()
    replica = Replica("m", {"dense": notes})
    replica.poll(channel)
    assert not replica.waiting


def test_a_number_of_unknown_fate_is_given_up_for_a_snapshot(toy: Toy, rng: np.random.Generator) -> None:
    trainer, channel, notes = toy.trainer(), MoodyChannel(), toy.notes()
    replica = Replica("m", {"dense": notes})
    trainer.publisher.publish(channel, trainer.collect)
    channel.mood = "vanishes"
    trainer.learn(rng)
    with pytest.raises(ChannelUnreachable):
        trainer.publisher.publish(channel, trainer.collect)
    assert trainer.publisher.version == 1
    replica.poll(channel)
    assert replica.version == 2
    channel.mood = ""
    trainer.learn(rng)
    again = trainer.publisher.publish(channel, trainer.collect)
    assert (again.version, again.snapshot) == (3, True)
    trainer.remember()
    replica.poll(channel)
    assert toy.served(replica, notes) == trainer.published[(1, 3)]


def test_a_channel_that_is_away_is_told_before_anything_is_drained(toy: Toy, rng: np.random.Generator) -> None:
    trainer, channel = toy.trainer(), MoodyChannel()
    trainer.publisher.publish(channel, trainer.collect)
    trainer.learn(rng)
    touched = [table.touched for table in trainer.tables]
    failures = metrics.REGISTRY.get_sample_value("stream_reco_publication_failures_total") or 0.0
    channel.mood = "away"
    with pytest.raises(ChannelUnreachable):
        trainer.publisher.publish(channel, trainer.collect)
    assert [table.touched for table in trainer.tables] == touched
    assert metrics.REGISTRY.get_sample_value("stream_reco_publication_failures_total") == failures + 1
    channel.mood = ""
    publication = trainer.publisher.publish(channel, trainer.collect)
    assert (publication.version, publication.snapshot) == (2, False)


def test_what_fails_while_numbering_is_restored_too(toy: Toy, rng: np.random.Generator) -> None:
    trainer = toy.trainer()
    trainer.tables[1].name = "user"
    trainer.learn(rng)
    touched = [table.touched for table in trainer.tables]
    with pytest.raises(ValueError, match="names a table twice"):
        trainer.publisher.publish(InProcessChannel(), trainer.collect)
    assert [table.touched for table in trainer.tables] == touched


def test_a_failing_table_gives_back_what_others_drained(toy: Toy, rng: np.random.Generator) -> None:
    class Broken(EmbeddingTable):
        def snapshot(self) -> None:  # type: ignore[override]
            raise MemoryError

    trainer = toy.trainer()
    trainer.learn(rng)
    touched = trainer.tables[0].touched
    assert touched
    with pytest.raises(MemoryError):
        drain_tables([trainer.tables[0], Broken(2)], snapshot=True)
    assert trainer.tables[0].touched == touched


def test_what_is_published_is_counted(toy: Toy, rng: np.random.Generator) -> None:
    trainer, channel = toy.trainer(), MoodyChannel()

    def failures() -> float:
        return metrics.REGISTRY.get_sample_value("stream_reco_publication_failures_total") or 0.0

    def count(kind: str) -> float:
        return metrics.REGISTRY.get_sample_value("stream_reco_publication_bytes_count", {"kind": kind}) or 0.0

    def touched() -> list[float | None]:
        name = "stream_reco_table_touched_rows"
        return [metrics.REGISTRY.get_sample_value(name, {"table": table.name}) for table in trainer.tables]

    before = failures(), count("snapshot"), count("delta")
    trainer.learn(rng)
    changed = [table.touched for table in trainer.tables]
    trainer.publisher.publish(channel, trainer.collect)
    assert touched() == changed != [0, 0]
    trainer.publisher.publish(channel, trainer.collect)
    assert touched() == [0, 0]
    channel.mood = "refuses"
    with pytest.raises(ChannelRefused):
        trainer.publisher.publish(channel, trainer.collect)
    assert (failures(), count("snapshot"), count("delta")) == (before[0] + 1, before[1] + 1, before[2] + 1)
    assert metrics.REGISTRY.get_sample_value("stream_reco_published_version") == 2


def test_a_publisher_has_no_version_before_its_first() -> None:
    assert Publisher("m", 1).version == 0
