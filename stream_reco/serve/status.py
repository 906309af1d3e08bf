"""The facts that `GET /v1/status`, `Engine.status` and the dashboard share: one shape for every producer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized
from typing import Literal, TypedDict

from stream_reco.sync import Replica


class Status(TypedDict):
    """The loop in figures; null is what this kind of server does not have, or does not know yet."""

    events: int
    """Distinct events accepted in the life of the data folder; of a scorer that follows a trainer: by this process."""
    examples: int | None
    """Labelled examples; of a scorer: the trainer's as of the version served, null where its release does not say."""
    epoch: int
    """Of the publications that are served."""
    version: int
    """Of the publication that is served; 0 before the first."""
    staleness_seconds: float | None
    """Age of the publication that is served; null before the first."""
    rows: int
    """Of all embedding tables together."""
    tables: dict[str, int]
    """Rows of each embedding table."""
    items: int
    users: int | None
    """Users with a history."""
    pending: int | None
    """Impressions and actions that wait for a label."""
    stream_time: int
    """The highest event time seen, ms."""
    log_position: int | None
    """Position of the last record of the log that was learned from."""
    backlog: int
    """Events that are durable but not yet learned from."""
    state: Literal["starting", "ready", "failed"]
    problem: str | None
    """Why it has stopped learning, or cannot apply what is published."""
    checkpoint_problem: str | None
    """Why the last checkpoint that was due could not be written."""
    clock_problem: str | None
    """Why new events are late and impressions negative at once: stream time is ahead of the clock."""
    channel_away: bool
    """Whether the channel of publications cannot be reached."""
    waits_for_snapshot: bool
    """Whether a snapshot was asked for and has not come."""
    users_away: bool
    """Whether the store of users' states cannot be reached."""


def starting_status() -> Status:
    """What a server reports before there is anything to report."""
    return {
        "events": 0,
        "examples": 0,
        "epoch": 0,
        "version": 0,
        "staleness_seconds": None,
        "rows": 0,
        "tables": {},
        "items": 0,
        "users": None,
        "pending": None,
        "stream_time": 0,
        "log_position": None,
        "backlog": 0,
        "state": "starting",
        "problem": None,
        "checkpoint_problem": None,
        "clock_problem": None,
        "channel_away": False,
        "waits_for_snapshot": False,
        "users_away": False,
    }


def replica_status(replica: Replica, now: int) -> Status:
    """What a replica serves, and how old it is at `now` (ms, wall clock); the rest is that of `starting_status`."""
    staleness = replica.staleness(now)
    return {
        **starting_status(),
        "epoch": replica.epoch,
        "version": replica.version,
        "staleness_seconds": staleness if math.isfinite(staleness) else None,
    }


def rows_by_table(tables: Mapping[str, Sized]) -> dict[str, int]:
    """How many rows each embedding table has."""
    return {name: len(table) for name, table in tables.items()}
