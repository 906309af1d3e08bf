"""What every answer to "has this event come before?" has in common, wherever it keeps the ids."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from stream_reco.embedded.journal.deduplicate import IngestDeduplicator
from stream_reco.events import Action, Id
from stream_reco.events.deduplication import EventDeduplicator, ExpiringEventDeduplicator
from stream_reco.labels.memory.event_ids import InMemoryEventDeduplicator
from stream_reco.labels.memory.event_ids_on_disk import OnDiskEventDeduplicator
from stream_reco.labels.memory.protocol import BEFORE_ALL, StreamProgress
from stream_reco.learner.event_deduplication import HashedEventDeduplicator
from stream_reco.storage.rocksdb import RocksStore

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 20_000 * DAY + 5 * HOUR + 1
UNTIL = NOW + DAY
# Ids that a careless key would take for each other, and the ends of their range.
IDS: list[Id] = [5, "5", -5, "-5", "", "a", "A", "a ", "é", "x" * 200, 2**63 - 1, -(2**63)]


def on_disk(folder: Path, stack: ExitStack) -> OnDiskEventDeduplicator:
    store = stack.enter_context(closing(RocksStore(folder / "store")))
    return OnDiskEventDeduplicator(store, StreamProgress(), BEFORE_ALL)


@pytest.fixture(params=["in memory", "on disk", "hashed"])
def expiring(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ExpiringEventDeduplicator]:
    with ExitStack() as stack:
        if request.param == "in memory":
            yield InMemoryEventDeduplicator()
        elif request.param == "on disk":
            yield on_disk(tmp_path, stack)
        else:
            yield HashedEventDeduplicator()


@pytest.fixture(params=["in memory", "on disk", "hashed", "ingest over memory", "ingest over disk"])
def deduplicator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventDeduplicator]:
    with ExitStack() as stack:
        if request.param == "in memory":
            yield InMemoryEventDeduplicator()
        elif request.param == "on disk":
            yield on_disk(tmp_path, stack)
        elif request.param == "hashed":
            yield HashedEventDeduplicator()
        elif request.param == "ingest over memory":
            yield IngestDeduplicator(InMemoryEventDeduplicator().known)
        else:
            yield IngestDeduplicator(on_disk(tmp_path, stack).known)


def test_an_id_is_new_once(deduplicator: EventDeduplicator) -> None:
    for event_id in IDS:
        assert event_id not in deduplicator
        assert deduplicator.add(event_id, UNTIL)
        assert event_id in deduplicator
    for event_id in IDS:
        assert event_id in deduplicator
        assert not deduplicator.add(event_id, UNTIL)


def test_asking_changes_nothing(deduplicator: EventDeduplicator) -> None:
    assert "a" not in deduplicator
    assert "a" not in deduplicator
    assert deduplicator.add("a", UNTIL)


def test_many_ids_are_told_apart(deduplicator: EventDeduplicator) -> None:
    assert all(deduplicator.add(f"e{number}", UNTIL) for number in range(5_000))
    assert all(f"e{number}" in deduplicator for number in range(5_000))
    assert not any(f"e{number}" in deduplicator for number in range(5_000, 10_000))


def test_an_id_is_kept_until_its_time_is_past(expiring: ExpiringEventDeduplicator) -> None:
    expiring.add("a", UNTIL)
    for watermark in (NOW, UNTIL - HOUR, UNTIL):
        expiring.expire(watermark)
        assert "a" in expiring
        assert not expiring.add("a", UNTIL)


def test_then_it_is_forgotten_and_new(expiring: ExpiringEventDeduplicator) -> None:
    expiring.add("a", UNTIL)
    expiring.add("b", UNTIL + 2 * DAY)
    expiring.expire(UNTIL + DAY)
    assert "a" not in expiring
    assert "b" in expiring
    assert expiring.add("a", UNTIL + 3 * DAY)
    expiring.expire(UNTIL + 2 * DAY + HOUR)
    assert "a" in expiring


def test_many_ids_are_asked_for_as_one_by_one(tmp_path: Path) -> None:
    with ExitStack() as stack:
        for kept in (InMemoryEventDeduplicator(), on_disk(tmp_path, stack)):
            for event_id in IDS[::2]:
                kept.add(event_id, UNTIL)
            kept.add("later", UNTIL + 2 * DAY)
            asked = [*IDS, "later", "other"]
            assert kept.known(asked) == {*IDS[::2], "later"} == {one for one in asked if one in kept}
            assert kept.known(()) == set()
            kept.expire(UNTIL + DAY)
            assert kept.known(asked) == {"later"}


def test_an_earlier_watermark_changes_nothing(expiring: ExpiringEventDeduplicator) -> None:
    expiring.add("a", UNTIL)
    expiring.expire(UNTIL + DAY)
    expiring.add("b", UNTIL + 3 * DAY)
    expiring.expire(NOW)
    assert "a" not in expiring
    assert "b" in expiring


def test_an_id_that_a_second_add_refused_keeps_its_time(expiring: ExpiringEventDeduplicator) -> None:
    expiring.add("a", UNTIL)
    expiring.add("a", UNTIL + 9 * DAY)
    expiring.expire(UNTIL + DAY)
    assert "a" not in expiring


def test_what_is_being_learned_is_known_until_the_learner_knows_it() -> None:
    learned = InMemoryEventDeduplicator()
    ingest = IngestDeduplicator(learned.known)
    event = Action(user_id="u", item_id="i", action="click", timestamp=NOW, event_id="a")
    nameless = Action(user_id="u", item_id="i", action="click", timestamp=NOW)
    assert ingest.admit([event, nameless, event, nameless]) == ([event, nameless, nameless], 1)
    assert ingest.admit([event]) == ([], 1)
    learned.add("a", UNTIL)
    ingest.release(["a", None])
    assert ingest.admit([event]) == ([], 1)


def test_ids_are_taken_together_only_where_all_of_them_are_new() -> None:
    learned = InMemoryEventDeduplicator()
    ingest = IngestDeduplicator(learned.known)
    learned.add("learned", UNTIL)
    assert ingest.admit_all(["a", "b", 1])
    assert ingest.admit_all([])
    for known in ("a", 1, "learned"):
        assert not ingest.admit_all(["c", known])
    assert not ingest.admit_all(["c", "c"])
    assert ingest.admit_all(["c", "1"])  # none of them was kept before
    assert "c" in ingest
    ingest.release(["c"])
    assert ingest.admit_all(["c"])


def test_what_could_not_be_made_durable_is_new_again() -> None:
    ingest = IngestDeduplicator(InMemoryEventDeduplicator().known)
    event = Action(user_id="u", item_id="i", action="click", timestamp=NOW, event_id="a")
    ingest.admit([event])
    ingest.release(["a"])
    assert ingest.admit([event]) == ([event], 0)


def test_a_batch_that_cannot_be_looked_up_leaves_its_ids_free() -> None:
    class UnreadableError(RuntimeError):
        pass

    def fail(_: object) -> set[Id]:
        raise UnreadableError

    learned = InMemoryEventDeduplicator()
    ingest = IngestDeduplicator(learned.known)
    event = Action(user_id="u", item_id="i", action="click", timestamp=NOW, event_id="a")
    ingest._learned = fail
    with pytest.raises(UnreadableError):
        ingest.admit([event])
    ingest._learned = learned.known
    assert ingest.admit([event]) == ([event], 0)
