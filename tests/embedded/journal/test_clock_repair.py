"""A folder whose stream time ran away, before and after `stream-reco repair clock`."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedded.checkpoint_parts import parts_of
from stream_reco.embedded.journal.clock_repair import ClockRepair, repair_clock
from stream_reco.embedded.journal.recovery import Storage, recover
from stream_reco.events import Action, Event, Id, Impression, ItemEvent, Retraction
from stream_reco.labels.settings import LabelSettings
from stream_reco.storage.event_log import LogBusyError
from stream_reco.train.settings import TrainSettings

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NOW = 1_760_000_000_000
AHEAD = NOW + 400 * DAY
WINDOW = 14 * DAY
SETTINGS = Settings(labels=LabelSettings(policy="conclusive", order="group"), training=TrainSettings(wait_seconds=0.0))


def click(user: Id, item: Id, time: int, **more: Any) -> Action:
    return Action(user_id=user, item_id=item, action="click", timestamp=time, **more)


def shown(user: Id, item: Id, time: int, request: Id | None = None, **more: Any) -> Impression:
    return Impression(user_id=user, item_id=item, timestamp=time, request_id=request, **more)


def opened(folder: Path, now: int = NOW) -> Engine:
    return Engine(folder, SETTINGS, clock=ManualClock(now))


def before_the_jump() -> list[Event]:
    listed = ItemEvent(item_id="i0", features={"year": 1999}, timestamp=NOW - 2 * DAY)
    clicks = [click(f"u{number % 5}", f"i{number % 4}", NOW - DAY + number * MINUTE) for number in range(30)]
    return [listed, *clicks, shown("u1", "i1", NOW - HOUR, "before")]


def run_away(folder: Path, *, of_the_jump: list[Event] | None = None) -> None:
    """A folder of a server whose clock was 400 days ahead for a moment."""
    with opened(folder) as engine:
        engine.ingest(before_the_jump())
    with opened(folder, AHEAD) as engine:
        engine.ingest(of_the_jump or [click("u0", "i0", AHEAD)])
        engine.tick(AHEAD + 1000)
        engine.checkpoint()


def repaired(folder: Path, to: int | None = None) -> ClockRepair:
    return repair_clock(folder, SETTINGS, NOW, to)


def negatives_at_once(engine: Engine) -> bool:
    """Whether an impression of now is a negative at once, and whether its click comes too late for it."""
    before = engine.status()["examples"]
    engine.ingest([shown("u2", "i2", NOW + 1000, "asked", event_id=f"shown-{engine.stream_time}")])
    engine.ingest([click("u3", "i3", NOW + 2000)])
    return engine.status()["examples"] != (before or 0) + 1


def test_without_repair_everything_new_is_late_and_negative_and_the_status_says_so(tmp_path: Path) -> None:
    run_away(tmp_path)
    with opened(tmp_path) as engine:
        assert negatives_at_once(engine)
        assert engine.learner.joiner.late == 2
        problem = str(engine.status()["clock_problem"])
        assert "400.0 days ahead" in problem
        assert f"stream-reco repair clock {tmp_path}" in problem


def test_after_repair_impressions_wait_their_window_and_events_are_in_time(tmp_path: Path) -> None:
    run_away(tmp_path)
    done = repaired(tmp_path)
    assert (done.before, done.after) == (AHEAD + 1000, NOW)
    assert done.later.items == 1
    assert done.later.users == 1
    with opened(tmp_path) as engine:
        assert engine.stream_time == NOW
        assert engine.status()["clock_problem"] is None
        assert not negatives_at_once(engine)
        assert engine.learner.joiner.late == 0
        assert engine.learner.joiner.pending == 1
        examples = engine.status()["examples"] or 0
        engine.tick(NOW + 1000 + WINDOW + MINUTE)
        assert engine.learner.joiner.pending == 1
        engine.tick(NOW + 1001 + WINDOW + MINUTE)
        assert engine.learner.joiner.pending == 0
        assert engine.status()["examples"] == examples + 1


def test_what_came_while_the_clock_was_ahead_goes_on_from_now(tmp_path: Path) -> None:
    shows = [
        shown(f"v{number}", "i1", AHEAD + number, f"r{number}", group_id="g", event_id=f"s{number}")
        for number in range(4)
    ]
    clicked = click("v1", "i1", AHEAD + 10, request_id="r1", event_id="c1")
    waits = click("v9", "i3", AHEAD + 20, request_id="not yet", event_id="c9")
    unprompted = click("v7", "i2", AHEAD + 15, event_id="c7")
    item = ItemEvent(item_id="i0", features={"year": 2077}, timestamp=AHEAD)
    run_away(tmp_path, of_the_jump=[*shows, clicked, unprompted, item, waits])
    done = repaired(tmp_path)
    assert done.later.impressions == 4
    with opened(tmp_path) as engine:
        joiner, examples = engine.learner.joiner, engine.learner.queue.examples
        assert joiner.pending == 3
        assert joiner.oldest == NOW
        # Ids are known still, retractions find their actions, clicks their impressions.
        assert all(joiner.seen(event_id) for event_id in ("s0", "c1", "c7", "c9"))
        found = joiner.process(
            [
                Retraction(retracts="c1", user_id="v1", timestamp=NOW + 10),
                Retraction(retracts="c7", user_id="v7", timestamp=NOW + 20),
                click("v2", "i1", NOW + DAY, request_id="r2"),
            ]
        )
        assert [(one.reason, one.label) for one in found] == [("retraction", 0), ("retraction", 0), ("action", 1)]
        # The item that was described in the future can be described again.
        engine.ingest([ItemEvent(item_id="i0", features={"year": 2001}, timestamp=NOW + 10)])
        catalogue = engine.learner.state.signals.catalogue
        assert catalogue.features[catalogue.slot_of("i0")] == {"year": 2001}
        # What waited for its impression waits no longer than its own time.
        assert engine.learner.queue.examples == examples
        engine.tick(NOW + 2 * MINUTE)
        assert engine.learner.queue.examples == examples + 1
        rest = joiner.advance(NOW + WINDOW + 1)
        assert [(one.user_id, one.reason, one.label) for one in rest] == [("v0", "window", 0), ("v3", "window", 0)]


def state_of(folder: Path) -> dict[str, object]:
    with closing(Storage(folder)) as storage:
        learner, _ = recover(storage, SETTINGS)
        labels = learner.joiner.store
        assert labels is not None
        learner.commit_labels()
        parts = parts_of(learner)
        tables = {
            name: (sorted(table.keys().tolist()), table.lookup(sorted(table.keys().tolist())).tobytes())
            for name, table in learner.queue.trainer.tables.items()
        }
        arrays = {
            f"{part}.{name}": array.tobytes()
            for part in ("signals", "histories", "interests", "trainer")
            for name, array in parts[part].items()  # type: ignore[union-attr]
        }
        kept = dict(labels.everything(b"d") + labels.everything(b"i") + labels.everything(b"e"))
        return {"progress": parts["progress"], **tables, **arrays, "labels": kept}


def test_a_replay_of_the_log_ends_with_the_same_bits(tmp_path: Path) -> None:
    folder, again = tmp_path / "a", tmp_path / "b"
    run_away(folder)
    repaired(folder)
    with opened(folder) as engine:
        engine.ingest([click("u3", "i1", NOW + 5), shown("u4", "i2", NOW + 6)])
    wanted = state_of(folder)
    shutil.copytree(folder, again)
    shutil.rmtree(max((again / "checkpoints").iterdir()))
    assert state_of(again) == wanted


def test_a_folder_that_is_not_ahead_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as engine:
        engine.ingest(before_the_jump())
        engine.checkpoint()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "checkpoints").rglob("*"))
    done = repaired(tmp_path)
    assert not done.is_needed
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "checkpoints").rglob("*")) == before
    with opened(tmp_path) as engine:
        assert engine.stream_time == done.before


def test_a_folder_in_use_and_a_folder_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no data folder"):
        repaired(tmp_path / "nothing")
    with opened(tmp_path), pytest.raises(LogBusyError):
        repaired(tmp_path)


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(tmp_path: Path) -> None:
    run_away(tmp_path)
    said: list[tuple[int, int]] = []
    done = repair_clock(tmp_path, SETTINGS, NOW, announce=lambda *times: said.append(times), dry=True)
    assert said == [(AHEAD + 1000, NOW)]
    assert done.later.users == 1
    with opened(tmp_path) as engine:
        assert engine.stream_time == AHEAD + 1000
