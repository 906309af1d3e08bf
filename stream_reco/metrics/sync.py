"""Publications, on the side of the trainer and on that of a replica."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import BYTES, FAST, NEWEST, REGISTRY, SLOW, UNTIL_SERVED

PUBLICATION_BYTES: Final = Histogram(
    "stream_reco_publication_bytes",
    "Bytes of the arrays of one publication, by kind (snapshot or delta).",
    ["kind"],
    buckets=BYTES,
    registry=REGISTRY,
)
PUBLICATION_SECONDS: Final = Histogram(
    "stream_reco_publication_seconds",
    "Seconds to collect one publication and hand it to the channel.",
    buckets=SLOW,
    registry=REGISTRY,
)
PUBLISHED_VERSION: Final = Gauge(
    "stream_reco_published_version",
    "Newest version that the channel has accepted.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
PUBLICATION_FAILURES: Final = Counter(
    "stream_reco_publication_failures_total",
    "Publications that the channel did not accept; their rows stay touched and go out with the next.",
    registry=REGISTRY,
)
CHANNEL_PUBLICATIONS: Final = Gauge(
    "stream_reco_channel_publications",
    "Publications that the channel in Redis keeps.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
CHANNEL_BYTES: Final = Gauge(
    "stream_reco_channel_bytes",
    "Bytes of the publications that the channel in Redis keeps.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
CHANNEL_REPLICAS: Final = Gauge(
    "stream_reco_channel_replicas",
    "Replicas that have read the channel in Redis lately.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
CHANNEL_UNREAD: Final = Gauge(
    "stream_reco_channel_unread_publications",
    "Publications that the slowest of these replicas has not read yet.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
REDIS_FAILURES: Final = Counter(
    "stream_reco_redis_failures_total",
    "Commands that Redis did not execute, by cause: refused, or unreachable.",
    ["outcome"],
    registry=REGISTRY,
)

REPLICA_VERSION: Final = Gauge(
    "stream_reco_replica_version", "Version that the replica serves.", registry=REGISTRY, multiprocess_mode=NEWEST
)
REPLICA_STALENESS_SECONDS: Final = Gauge(
    "stream_reco_replica_staleness_seconds",
    "Age of the publication that the replica serves.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
REPLICA_SYNC_SECONDS: Final = Histogram(
    "stream_reco_replica_sync_seconds",
    "Seconds from the creation of a publication until a scorer that follows a trainer served it.",
    buckets=UNTIL_SERVED,
    registry=REGISTRY,
)
REPLICA_APPLY_SECONDS: Final = Histogram(
    "stream_reco_replica_apply_seconds",
    "Seconds that requests had to wait while the replica applied one publication.",
    buckets=FAST,
    registry=REGISTRY,
)
REPLICA_APPLIED: Final = Counter(
    "stream_reco_replica_applied_total",
    "Publications applied, by kind (snapshot or delta).",
    ["kind"],
    registry=REGISTRY,
)
REPLICA_REFUSED: Final = Counter(
    "stream_reco_replica_refused_total",
    "Publications refused, by reason: gap, repeated, epoch, model, missing, checksum, format, schema, unreachable.",
    ["reason"],
    registry=REGISTRY,
)
REPLICA_SNAPSHOT_REQUESTS: Final = Counter(
    "stream_reco_replica_snapshot_requests_total", "Times the replica asked for a snapshot.", registry=REGISTRY
)
FRESHNESS_SECONDS: Final = Histogram(
    "stream_reco_freshness_seconds",
    "Seconds from the arrival of an event until the answers served take it into account.",
    buckets=UNTIL_SERVED,
    registry=REGISTRY,
)
LEARNER_SILENT_SECONDS: Final = Gauge(
    "stream_reco_learner_silent_seconds",
    "Seconds since the learner of a server of several processes gave a sign of life.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
PROCESS_RESTARTS: Final = Counter(
    "stream_reco_process_restarts_total",
    "Processes of a server that ended and were started again, by what they do.",
    ["process"],
    registry=REGISTRY,
)
