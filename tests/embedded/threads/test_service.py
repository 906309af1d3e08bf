"""The threads around the log: what was acknowledged, in which order, and what a restart makes of it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from stream_reco.clock import SystemClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.journal.deduplicate import IngestDeduplicator
from stream_reco.embedded.journal.journal import Journal
from stream_reco.embedded.threads import log_writer
from stream_reco.embedded.threads.log_writer import Arrival, LogWriterThread
from stream_reco.embedded.threads.request_priority import RequestPriority
from stream_reco.embedded.threads.service import EngineService
from stream_reco.events import Action, Event, Id, decode_batch, packed
from stream_reco.events.packed import MOST_EVENTS, PackedEvents
from stream_reco.serve.service import Accepted, UnavailableError
from stream_reco.serve.slate.request import Request
from stream_reco.storage.event_log import EventLog
from stream_reco.storage.event_log_errors import LogFull
from tests.serve.status_shape import check_status

NOW = 1_700_000_000_000
TIMEOUT = 60.0
"""Seconds that a test waits for a thread, on a busy machine."""


def click(number: int, *, user: Id | None = None, item: Id | None = None, at: int | None = None) -> Action:
    return Action(
        user_id=number % 10 if user is None else user,
        item_id=number * 7 % 30 if item is None else item,
        action="click",
        timestamp=NOW + number * 100 if at is None else at,
        event_id=f"e{number}",
    )


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def started(folder: Path | None, sync_seconds: float = 0.1) -> EngineService:
    service = EngineService(lambda: Engine(folder, Settings()), sync_seconds=sync_seconds)
    service.start()
    service.opened.result(TIMEOUT)
    return service


@pytest.fixture(scope="module")
def service() -> Iterator[EngineService]:
    service = started(None)
    yield service
    service.close()


class FullLog(EventLog):
    """A log that has room for so many bytes."""

    room = 10**9

    def append_many(self, records: Sequence[tuple[str, bytes]]) -> range:
        if sum(len(payload) for _, payload in records) > self.room:
            raise LogFull("no room: free some")
        return super().append_many(records)


class Seen:
    """What was learned from, and what the writer said about arrivals."""

    def __init__(self, log: EventLog) -> None:
        self.ids: set[Id] = set()
        self.arrivals: list[Arrival] = []
        self.journal = Journal(log, log.last)
        self.deduplicator = IngestDeduplicator(self.ids.intersection)
        self.writer = LogWriterThread(self.journal.append_many, self.deduplicator, self.arrivals.extend)

    def written(self) -> list[tuple[str, list[Event]]]:
        return [
            (one.kind, decode_batch(one.payload) if one.kind == "events" else [])
            for one in self.journal.read(0, 10_000)
        ]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FullLog]:
    with FullLog(tmp_path) as log:
        yield log


def test_the_log_has_what_was_submitted_in_its_order(log: FullLog) -> None:
    seen = Seen(log)
    waiting = [
        seen.writer.submit([click(1), click(2)]),
        seen.writer.record("finish"),
        seen.writer.submit([click(number) for number in range(3, 3 + 2 * MOST_EVENTS)]),
        seen.writer.submit([click(1000)]),
        seen.writer.record("tick", b"5"),
    ]
    seen.writer.start()  # all of them share one commit
    assert [one.result(TIMEOUT).accepted for one in waiting] == [2, 0, 2 * MOST_EVENTS, 1, 0]
    seen.writer.close()
    written = seen.written()
    assert [kind for kind, _ in written] == ["events", "finish", "events", "events", "events", "tick"]
    assert [one.event_id for _, events in written for one in events] == [
        *(f"e{number}" for number in range(1, 3 + 2 * MOST_EVENTS)),
        "e1000",
    ]
    assert [(one.position, one.events) for one in seen.arrivals] == [(1, 2), (4, 2 * MOST_EVENTS), (5, 1)]


def test_a_full_disk_takes_nothing_and_what_depends_on_it_fails_too(log: FullLog) -> None:
    seen = Seen(log)
    log.room = 1500
    big = [click(number) for number in range(100)]
    refused, repeated = seen.writer.submit(big), seen.writer.submit([click(5), click(500)])
    small = seen.writer.submit([click(600)])
    seen.writer.start()
    for future in (refused, repeated):
        with pytest.raises(UnavailableError) as caught:
            future.result(TIMEOUT)
        assert caught.value.reason == "disk_full"
    assert small.result(TIMEOUT).accepted == 1
    log.room = 10**9
    # Their ids are free again: the same events are new, not duplicates that were never kept.
    again = seen.writer.submit([*big, click(5), click(500)]).result(TIMEOUT)
    assert (again.accepted, again.duplicates) == (101, 1)
    seen.writer.close()
    ids = [one.event_id for _, events in seen.written() for one in events]
    assert len(ids) == len(set(ids)) == 102
    with pytest.raises(UnavailableError):
        seen.writer.submit([click(7)])


def test_a_duplicate_is_not_acknowledged_before_the_first(log: FullLog) -> None:
    seen = Seen(log)
    first, second = seen.writer.submit([click(1)]), seen.writer.submit([click(1)])
    assert not first.done()
    assert not second.done()
    seen.writer.start()
    assert second.result(TIMEOUT).duplicates == 1
    assert first.done()
    seen.writer.close()


def test_clients_that_were_answered_together_share_the_next_commit_and_one_alone_does_not_wait(
    log: FullLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "GATHER_SHARE", 1e9)
    monkeypatch.setattr(log_writer, "GATHER_SECONDS", 1.0)
    seen, sizes = Seen(log), list[int]()
    writer = LogWriterThread(seen.journal.append_many, seen.deduplicator, lambda new: sizes.append(len(new)))
    numbers = itertools.count()

    def submit(count: int) -> list[Future[Accepted]]:
        return [writer.submit([click(next(numbers))]) for _ in range(count)]

    first = submit(3)
    writer.start()
    assert [one.result(TIMEOUT).accepted for one in first] == [1, 1, 1]
    # Three were under way: the next commit waits for as many, though the first of them comes before the others.
    second = submit(1)
    time.sleep(0.02)
    second += submit(2)
    assert [one.result(TIMEOUT).accepted for one in second] == [1, 1, 1]
    assert sizes == [3, 3]
    submit(1)[0].result(TIMEOUT)  # the others have left, which is waited for once
    start = time.monotonic()
    for _ in range(3):
        submit(1)[0].result(TIMEOUT)
    assert time.monotonic() - start < 1
    writer.close()


def test_many_threads_at_once_lose_and_double_nothing(service: EngineService) -> None:
    before = service.status()["events"]
    assert isinstance(before, int)
    answers: list[tuple[int, int]] = []

    def post(offset: int) -> None:
        for number in range(10):
            events = [click(100_000 + (offset * 5 + number) * 10 + each) for each in range(10)]
            taken = service.submit(events).result(TIMEOUT)
            answers.append((taken.accepted, taken.duplicates))

    threads = [threading.Thread(target=post, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Ranges of neighbours overlap by half.
    assert sum(accepted for accepted, _ in answers) == 250
    assert sum(map(sum, answers)) == 400
    wait_for(lambda: service.backlog == 0)
    assert service.status()["events"] == before + 250


def test_answers_change_within_the_sync_interval(service: EngineService) -> None:
    at = max(NOW + 20_000_000, int(str(service.status()["stream_time"])))
    service.submit([click(number, at=at) for number in range(300_000, 300_300)]).result(TIMEOUT)
    wait_for(lambda: service.backlog == 0)
    posted = time.monotonic()
    service.submit([click(400_000 + number, user=f"v{number}", item="new", at=at + 1) for number in range(20)])
    wait_for(lambda: "new" in [one.item_id for one in service.recommend_many([Request("stranger", 20)])[0].items])
    assert time.monotonic() - posted < 5.0  # 0.3 s on an idle machine
    # A publication may come between two events of a record.
    wait_for(lambda: service.status()["backlog"] == 0)


def test_accept_and_forget_on_an_event_loop(service: EngineService) -> None:
    async def talk() -> int:
        taken = await service.accept(
            [
                click(500_000, user="gone", item=3),
                click(500_000, user="gone", item=3),
            ]
        )
        await asyncio.to_thread(wait_for, lambda: service.backlog == 0)
        assert service.interests("gone")
        await service.forget("gone")
        return taken.accepted * 10 + taken.duplicates

    assert asyncio.run(talk()) == 11
    wait_for(lambda: not service.interests("gone"))


def test_negatives_mature_with_no_events_once_time_is_live(service: EngineService) -> None:
    now = SystemClock().now_ms()
    service.submit([click(600_000, at=now - 10_000)]).result(TIMEOUT)
    wait_for(lambda: int(str(service.status()["stream_time"])) >= now)


def test_a_restart_ends_where_an_undisturbed_replay_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = started(tmp_path)
    acknowledged = 0
    for start in range(0, 400, 20):
        acknowledged += service.submit([click(number) for number in range(start, start + 20)]).result(TIMEOUT).accepted
        time.sleep(0.01)
    wait_for(lambda: service.backlog == 0)
    engine = service.opened.result()
    with monkeypatch.context() as patch:
        patch.setattr(Engine, "checkpoint", lambda _: None)
        service.close()
    with Engine(tmp_path, Settings()) as replayed:  # the whole log again, ticks and all
        assert replayed.status()["events"] == acknowledged == 400
        assert_same(engine, replayed)
        replayed.checkpoint()
    with Engine(tmp_path, Settings()) as restored:
        assert restored.status()["events"] == 400
        assert_same(engine, restored)


def assert_same(one: Engine, other: Engine) -> None:
    for name, table in one.learner.queue.trainer.tables.items():
        ours, theirs = table.snapshot(), other.learner.queue.trainer.tables[name].snapshot()
        assert len(ours.keys) or name in ("context", "content", "encoder")
        assert np.array_equal(ours.keys, theirs.keys)
        assert np.array_equal(ours.vectors, theirs.vectors)
    mine, theirs_parts = one.learner.queue.trainer.state(), other.learner.queue.trainer.state()
    assert mine.keys() == theirs_parts.keys()
    assert all(np.array_equal(mine[name], theirs_parts[name]) for name in mine)


def test_a_folder_in_use_is_reported_by_opened(tmp_path: Path) -> None:
    with Engine(tmp_path, Settings()):
        second = EngineService(lambda: Engine(tmp_path, Settings()))
        second.start()
        assert "in use" in str(second.opened.exception(TIMEOUT))
        assert not second.ready()
        assert second.status()["state"] == "failed"
        second.close()


def test_the_status_has_one_shape_before_during_and_after_the_opening() -> None:
    may_open = threading.Event()

    def open_engine() -> Engine:
        assert may_open.wait(TIMEOUT)
        return Engine()

    service = EngineService(open_engine, sync_seconds=0.1)
    service.start()
    starting = service.status()
    check_status(starting)
    assert (starting["state"], starting["version"], starting["tables"]) == ("starting", 0, {})
    may_open.set()
    engine = service.opened.result(TIMEOUT)
    service.submit([click(1), click(2)]).result(TIMEOUT)
    wait_for(lambda: service.status()["backlog"] == 0)
    for status in (service.status(), engine.status()):
        check_status(status)
        assert (status["state"], status["events"], status["log_position"]) == ("ready", 2, 1)
    service.close()


def test_an_engine_whose_journal_is_followed_takes_nothing_by_itself() -> None:
    service = started(None)
    engine = service.opened.result(TIMEOUT)
    position = engine.journaled.position
    for write in (lambda: engine.ingest([click(1)]), lambda: engine.forget(1), engine.finish):
        with pytest.raises(RuntimeError, match="followed by threads"):
            write()
    assert engine.journaled.position == position
    answer = service.submit([click(1)]).result(TIMEOUT)
    assert (answer.accepted, answer.duplicates) == (1, 0), "what was refused was not remembered"
    service.close()


def test_an_interval_that_is_too_short_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 0\.1"):
        EngineService(Engine, sync_seconds=0.01)


def test_yielding_waits_for_requests_but_not_for_ever() -> None:
    priority = RequestPriority(most_seconds=0.05)
    started_at = time.monotonic()
    priority.yield_to_requests()
    assert time.monotonic() - started_at < 0.04
    with priority.serving(), priority.serving():
        started_at = time.monotonic()
        priority.yield_to_requests()
        assert time.monotonic() - started_at >= 0.04
    started_at = time.monotonic()
    priority.yield_to_requests()
    assert time.monotonic() - started_at < 0.04


def test_each_batch_pauses_learning_once_however_long_it_takes() -> None:
    priority = RequestPriority(batch_seconds=0.05)
    with priority.taking_batch(), priority.taking_batch():
        for _ in range(2):
            started_at = time.monotonic()
            priority.yield_to_requests()
            assert 0.03 <= time.monotonic() - started_at < 0.08
        started_at = time.monotonic()
        for _ in range(100):
            priority.yield_to_requests()  # its disk is slow
        assert time.monotonic() - started_at < 0.04
    with priority.taking_batch():
        waiting = threading.Thread(target=priority.yield_to_requests)
        waiting.start()
    waiting.join(TIMEOUT)
    started_at = time.monotonic()
    priority.yield_to_requests()
    assert time.monotonic() - started_at < 0.04


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 60), max_size=9) | st.none(), min_size=1, max_size=6))
def test_records_are_short_and_know_their_submissions(sizes: list[list[int] | None]) -> None:
    """Each list is a submission of events of about so many bytes, None a record of another kind."""
    numbers = itertools.count()
    with pytest.MonkeyPatch.context() as patched:
        for module in (packed, log_writer):
            patched.setattr(module, "MOST_EVENTS", 4)
            patched.setattr(module, "MOST_BYTES", 300)
        appends = [
            log_writer.Append(record=("tick", b"5"))
            if one is None
            else log_writer.Append(
                events=PackedEvents([replace(click(next(numbers)), action="x" * size) for size in one])
            )
            for one in sizes
        ]
        found, ends = log_writer._records_of(appends)
    contents = [decode_batch(payload) if kind == "events" else [kind] for kind, payload in found]
    expected = [one for append in appends for one in ([*append.events] if append.record is None else ["tick"])]
    assert [one for content in contents for one in content] == expected
    for (kind, payload), content in zip(found, contents, strict=True):
        assert kind == "tick" or len(content) == 1 or (len(content) <= 4 and len(payload) <= 300 + len(b"head"))
    last_records = list(itertools.accumulate(map(len, contents)))
    for append, end in zip(appends, ends, strict=True):
        if append.events:
            at = expected.index(append.events[-1])
            assert last_records[end - 1] > at >= last_records[end - 1] - len(contents[end - 1])
