"""Events on their way in: accepted, refused, late, and durable in the local log."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import FAST, NEWEST, REGISTRY

EVENTS_ACCEPTED: Final = Counter(
    "stream_reco_events_accepted_total", "Distinct events accepted, by type of event.", ["type"], registry=REGISTRY
)
EVENTS_DUPLICATE: Final = Counter(
    "stream_reco_events_duplicate_total",
    "Events whose event_id had been seen before; they change nothing.",
    registry=REGISTRY,
)
EVENTS_REJECTED: Final = Counter(
    "stream_reco_events_rejected_total",
    "Events sent to the dead letters, by the short code of the reason.",
    ["reason"],
    registry=REGISTRY,
)
EVENTS_LATE: Final = Counter(
    "stream_reco_events_late_total", "Accepted events that were behind the watermark when they came.", registry=REGISTRY
)
EVENTS_FEATURES_LATE: Final = Counter(
    "stream_reco_events_features_late_total",
    "Examples whose features had to be computed when the label came, not when the slate was served.",
    registry=REGISTRY,
)

LOG_APPEND_SECONDS: Final = Histogram(
    "stream_reco_log_append_seconds",
    "Seconds from handing records to the local log until they are on disk, by append.",
    buckets=FAST,
    registry=REGISTRY,
)
LOG_APPENDED: Final = Counter(
    "stream_reco_log_records_total", "Records appended to the local log, by kind.", ["kind"], registry=REGISTRY
)
LOG_LOST: Final = Counter(
    "stream_reco_log_lost_records_total",
    "Acknowledged records of the local log that could not be read and were given up by `--accept-loss`.",
    registry=REGISTRY,
)
LOG_BYTES: Final = Gauge(
    "stream_reco_log_bytes", "Bytes that the local log takes on disk.", registry=REGISTRY, multiprocess_mode=NEWEST
)
BACKLOG: Final = Gauge(
    "stream_reco_backlog_events",
    "Events that are durable but not yet learned from.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
STREAM_TIME: Final = Gauge(
    "stream_reco_stream_time_seconds",
    "Highest event time seen, in seconds since the epoch.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
