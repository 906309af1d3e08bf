"""Processes that share the partitions of a topic."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import NEWEST, REGISTRY, SLOW

WORK_PARTITIONS: Final = Gauge(
    "stream_reco_work_partitions",
    "Partitions that this worker has been given, by kind of work.",
    ["work"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
WORK_RECORDS: Final = Counter(
    "stream_reco_work_records_total",
    "Records that were read and processed, by kind of work.",
    ["work"],
    registry=REGISTRY,
)
WORK_LAG: Final = Gauge(
    "stream_reco_work_lag_records",
    "Offsets up to the last stable one that are not read yet, by kind of work and partition; 0 where all is read.",
    ["work", "partition"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
WORK_COMMIT_SECONDS: Final = Histogram(
    "stream_reco_work_commit_seconds", "Seconds of one transaction, by kind of work.", ["work"], registry=REGISTRY
)
WORK_FAILURES: Final = Counter(
    "stream_reco_work_failures_total",
    "Times that work on a partition restarted from its last transaction, by kind of work and what had happened.",
    ["work", "why"],
    registry=REGISTRY,
)
WORK_MISSED: Final = Counter(
    "stream_reco_work_missed_total",
    "Records that had been deleted before they were read, by kind of work: the topic's retention is too short.",
    ["work"],
    registry=REGISTRY,
)
STAGE_SECONDS: Final = Histogram(
    "stream_reco_stage_seconds",
    "Seconds from an event's own time until a stage has it: example, trained, published, served.",
    ["stage"],
    buckets=SLOW,
    registry=REGISTRY,
)
STATE_RESTORED: Final = Counter(
    "stream_reco_work_state_records_total",
    "Records of a state's topic that were read to bring a local store up to date, by kind of work.",
    ["work"],
    registry=REGISTRY,
)
