"""Puts the stream time of a data folder right after a clock ran away.

What came with a time of the future is from then on of the time that stream time is turned back to. That is a record of
the log, so that a replay ends with the same state, and a checkpoint follows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from stream_reco.config import Settings
from stream_reco.embedded.journal import records
from stream_reco.embedded.journal.recovery import Storage, recover
from stream_reco.embedded.learner import TurnedBack
from stream_reco.signals.settings import DAY_MS


@dataclass(frozen=True)
class ClockRepair:
    """What a repair does, or would do."""

    before: int
    """Stream time as it was found, ms."""
    after: int
    """Stream time as it is then, ms; the same where nothing is to be repaired."""
    later: TurnedBack
    """What lay later than `after`."""

    @property
    def is_needed(self) -> bool:
        return self.after < self.before


def is_ahead(stream_time: int, now: int, settings: Settings) -> bool:
    """Whether stream time (ms) is further ahead of the wall clock (ms) than any event may be."""
    return stream_time > now + settings.serve.future_seconds * 1000


def repair_clock(
    folder: Path,
    settings: Settings,
    now: int,
    to: int | None = None,
    *,
    announce: Callable[[int, int], None] = lambda _before, _after: None,
    dry: bool = False,
) -> ClockRepair:
    """Turn stream time back to `to` (ms), by default to the wall clock `now` where it is ahead of that.

    `announce(before, after)` is called before anything is written; with `dry` nothing is. Raises FileNotFoundError
    where the folder holds no log, CheckpointError where the state cannot be written, and what `recover` raises:
    LogError where another process has the folder open.
    """
    if not (folder / "log").is_dir():
        raise FileNotFoundError(f"{folder} is no data folder, for it holds no log: give the folder of serve --data")
    with closing(Storage(folder)) as storage:
        learner, position = recover(storage, settings)
        before = learner.state.stream_time
        if to is None:
            to = now if is_ahead(before, now, settings) else before
        if to >= before:
            return ClockRepair(before, before, TurnedBack(0, 0, 0, 0))
        announce(before, to)
        if dry:
            return ClockRepair(before, to, learner.turn_back(to))
        position = storage.log.append_many([(records.CLOCK, b"%d" % to)]).start
        later = learner.turn_back(to)
        storage.checkpoint(learner, position, erase=storage.holds_deleted)
        return ClockRepair(before, to, later)


def as_text(time: int) -> str:
    """A time in ms for people, UTC."""
    return f"{datetime.fromtimestamp(time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def as_days(span: int) -> str:
    """A span in ms for people."""
    days, minutes = span / DAY_MS, span / 60_000
    return f"{days:,.1f} days" if days >= 1 else f"{minutes:,.1f} minutes"
