"""What leaves for idleness, and what neither an old log nor a clock that ran ahead for one event makes leave."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id, Impression, ItemEvent
from stream_reco.interests import InterestSettings
from stream_reco.signals.settings import SignalSettings
from stream_reco.train.settings import TrainSettings

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_760_000_000_000
USERS, ITEMS = 100, 40
SETTINGS = Settings(training=TrainSettings(wait_seconds=0.0))
SHORT = Settings(
    signals=SignalSettings(item_idle_days=1.0, user_idle_days=1.0, history_days=1.0),
    interests=InterestSettings(history_days=1.0),
    training=TrainSettings(wait_seconds=0.0, row_idle_days=1.0),
)


def click(user: Id, item: Id, time: int) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=time)


def clicks_of_everyone(start: int, every: int = MINUTE) -> list[Event]:
    """Three clicks of each user, and all items among them."""
    pairs = [(f"u{number % USERS}", f"i{number * 7 % ITEMS}") for number in range(3 * USERS)]
    return [click(user, item, start + number * every) for number, (user, item) in enumerate(pairs)]


def opened(folder: Path | None, now: int = NOW, settings: Settings = SETTINGS) -> Engine:
    return Engine(folder, settings, clock=ManualClock(now))


def sizes(engine: Engine) -> tuple[int, int, dict[str, int]]:
    status = engine.status()
    return status["items"], status["users"] or 0, status["tables"]


def all_are_served(engine: Engine, now: int | None = None) -> None:
    engine.sync()
    for number in range(USERS):
        slate = engine.recommend(f"u{number}", 10, now=now)
        assert len(slate.items) == 10
        assert len(engine.interests(f"u{number}")) > 0


def histories_of(engine: Engine) -> list[int]:
    histories = engine.learner.state.histories
    return [len(histories.seen(histories.row_of(f"u{number}"))) for number in range(USERS)]


def test_a_click_of_today_erases_nothing_of_a_log_of_200_days_ago(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        assert engine.ingest(clicks_of_everyone(NOW - 200 * DAY)).accepted == 3 * USERS
        before, histories = sizes(engine), histories_of(engine)
        assert before[:2] == (ITEMS, USERS)
        engine.ingest([click("new", "i1", NOW - MINUTE), click("new", "i2", NOW)])
        engine.ingest([click("u1", "i3", NOW + MINUTE)])
        items, users, tables = sizes(engine)
        assert (items, users) == (ITEMS, USERS + 1)
        assert all(tables[name] >= rows for name, rows in before[2].items())
        assert [now - then for now, then in zip(histories_of(engine), histories, strict=True)] == [
            int(number == 1) for number in range(USERS)
        ]
        all_are_served(engine)


def test_a_clock_that_runs_ahead_for_one_event_erases_nothing() -> None:
    clock = ManualClock(NOW)
    with Engine(None, SETTINGS, clock=clock) as engine:
        engine.ingest(clicks_of_everyone(NOW - 10 * HOUR))
        before = sizes(engine)
        clock.set(NOW + 400 * DAY)
        assert engine.ingest([click("u0", "i0", NOW + 400 * DAY)]).accepted == 1
        engine.ingest([click("u0", "i1", NOW + 400 * DAY + 1000)])
        clock.set(NOW)
        engine.ingest([click(f"u{number}", f"i{number % ITEMS}", NOW + number) for number in range(10)])
        assert sizes(engine)[:2] == before[:2]
        assert all(sizes(engine)[2][name] >= rows for name, rows in before[2].items())
        all_are_served(engine)


def test_what_is_idle_for_longer_than_its_active_days_leaves() -> None:
    with opened(None, settings=SHORT) as engine:
        start = NOW - 30 * DAY
        listed = ItemEvent(item_id="listed", features={}, timestamp=start)
        out_of_stock = ItemEvent(item_id="out", features={}, available=False, timestamp=start)
        engine.ingest([listed, out_of_stock, click("idle", "old", start)])
        busy = [click("busy", f"b{number % 3}", start + number * 50 * MINUTE) for number in range(1, 100)]
        engine.ingest(busy)
        catalogue = engine.learner.state.signals.catalogue
        assert catalogue.slot_of("old") < 0
        assert catalogue.slot_of("listed") >= 0
        assert catalogue.slot_of("out") >= 0
        assert engine.learner.state.histories.users() == ["busy"]
        assert "idle" not in engine.learner.interests
        rows = engine.learner.queue.trainer.tables["item"]
        assert len(rows) == 3


@pytest.mark.parametrize("gap_hours", [0.5, 30.0])
def test_gaps_count_an_hour_and_what_is_shorter_counts_in_full(gap_hours: float) -> None:
    """40 gaps of 30 hours are 40 active hours, of half an hour 20: a day of idleness lies in between."""
    with opened(None, settings=SHORT) as engine:
        start = NOW - 100 * DAY
        gap = round(gap_hours * HOUR)
        engine.ingest([click("idle", "old", start)])
        engine.ingest([click("busy", "b", start + number * gap) for number in range(1, 42)])
        stays = gap_hours < 1
        assert (engine.learner.state.histories.row_of("idle") >= 0) == stays
        assert (engine.learner.state.signals.catalogue.slot_of("old") >= 0) == stays


def test_ticks_alone_make_nothing_idle() -> None:
    with opened(None, settings=SHORT) as engine:
        engine.ingest([click("u", "i", NOW - 20 * DAY)])
        for hour in range(10 * 24):
            engine.tick(NOW - 20 * DAY + hour * HOUR)
        engine.ingest([click("v", "j", NOW)])
        assert sorted(map(str, engine.learner.state.histories.users())) == ["u", "v"]


def parts(engine: Engine) -> dict[str, bytes]:
    learner = engine.learner
    tables = learner.queue.trainer.tables
    found: dict[str, bytes] = {}
    for name, table in tables.items():
        keys = sorted(table.keys().tolist())
        found[name] = repr(keys).encode() + table.lookup(keys).tobytes()
    for arrays in (learner.state.signals.state(), learner.state.histories.state(), learner.interests.state()):
        # What waits for a publication depends on when the engine was opened.
        kept = {name: array for name, array in arrays.items() if "touched" not in name}
        found |= {f"{len(found)} {name}": array.tobytes() for name, array in kept.items()}
    return found | {"active": repr(learner.state.active_time.state()).encode()}


def with_gaps() -> list[Event]:
    start = NOW - 300 * DAY
    first = [click(f"u{number % 9}", f"i{number % 7}", start + number * 20 * MINUTE) for number in range(60)]
    late = [click("late", "i1", start - 5 * DAY)]
    shown = [Impression(user_id="u1", item_id="i2", request_id="r", timestamp=NOW - 90 * DAY)]
    last = [click(f"v{number % 9}", f"i{number % 5}", NOW - DAY + number * 10 * MINUTE) for number in range(100)]
    return [*first, *late, *shown, *last]


def chunks(events: list[Event], size: int) -> Iterable[list[Event]]:
    return (events[at : at + size] for at in range(0, len(events), size))


def test_a_restart_and_a_replay_end_with_the_same_bits_however_the_log_is_split(tmp_path: Path) -> None:
    events = with_gaps()
    with opened(None, settings=SHORT) as whole:
        whole.ingest(events)
        wanted = parts(whole)
    for number, (size, checkpoints) in enumerate([(1, False), (17, True)]):
        folder = tmp_path / str(number)
        for chunk in (events[:70], events[70:]):
            with opened(folder, settings=SHORT) as engine:
                for some in chunks(chunk, size):
                    engine.ingest(some)
                if checkpoints:
                    engine.checkpoint()
        with opened(folder, settings=SHORT) as engine:
            assert parts(engine) == wanted
