"""Latency from an event's own time to each stage."""

from __future__ import annotations

from stream_reco import metrics

LIVE_MS = 3_600_000
"""Nearer to the clock than this a log is no old one that is replayed."""


def observe_stage(stage: str, time: int, now: int) -> None:
    """Note that a stage has at `now` (ms, wall clock) what happened at `time`; replayed logs do not count."""
    if abs(now - time) < LIVE_MS:
        metrics.STAGE_SECONDS.labels(stage).observe(max(0, now - time) / 1000)
