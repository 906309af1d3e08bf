"""Every Prometheus metric of the loop, each declared once with its unit and its meaning.

Stages import the constant they feed and call `inc`, `observe` or `set` on it; `/metrics` renders `REGISTRY`. That
registry is our own, so that a host application's metrics never mix with ours. Label values come from small fixed sets
(a reason code, a route's template, a table's or a source's name), never from ids or texts that people send.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

REGISTRY: Final = CollectorRegistry(auto_describe=True)

# process_resident_memory_bytes, process_cpu_seconds_total, open files: read at scrape time, Linux only.
ProcessCollector(registry=REGISTRY)

_FAST = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_SLOW = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_BYTES = tuple(float(4**power * 1024) for power in range(11))

# --- events: the edge where they enter
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

# --- log: what makes an event durable
LOG_APPEND_SECONDS: Final = Histogram(
    "stream_reco_log_append_seconds",
    "Seconds from handing records to the local log until they are on disk, by append.",
    buckets=_FAST,
    registry=REGISTRY,
)
LOG_APPENDED: Final = Counter(
    "stream_reco_log_records_total", "Records appended to the local log, by kind.", ["kind"], registry=REGISTRY
)
LOG_BYTES: Final = Gauge("stream_reco_log_bytes", "Bytes that the local log takes on disk.", registry=REGISTRY)
BACKLOG: Final = Gauge(
    "stream_reco_backlog_events", "Events that are durable but not yet learned from.", registry=REGISTRY
)
STREAM_TIME: Final = Gauge(
    "stream_reco_stream_time_seconds", "Highest event time seen, in seconds since the epoch.", registry=REGISTRY
)

# --- labels
EXAMPLES: Final = Counter(
    "stream_reco_examples_total",
    "Labelled examples emitted, by reason and by the label that now holds.",
    ["reason", "label"],
    registry=REGISTRY,
)
LABEL_SECONDS: Final = Histogram(
    "stream_reco_label_seconds",
    "Seconds of stream time from an impression (or an action without one) until its example was given, by label.",
    ["label"],
    buckets=(1.0, 10.0, 60.0, 600.0, 3600.0, 21_600.0, 86_400.0, 259_200.0, 604_800.0, 1_209_600.0, 2_419_200.0),
    registry=REGISTRY,
)
EXAMPLES_REJECTED: Final = Counter(
    "stream_reco_examples_rejected_total",
    "Messages that the trainer took for no example and sent to the dead letters, by the short code of the reason.",
    ["reason"],
    registry=REGISTRY,
)
PENDING: Final = Gauge("stream_reco_pending_examples", "Impressions without a label yet.", registry=REGISTRY)
PENDING_BYTES: Final = Gauge(
    "stream_reco_pending_bytes",
    "Bytes of what labels remember, on disk or in memory: impressions that may get another label, actions, ids.",
    registry=REGISTRY,
)
PENDING_OLDEST_SECONDS: Final = Gauge(
    "stream_reco_pending_oldest_seconds",
    "Age in stream time of the oldest impression whose window has not passed.",
    registry=REGISTRY,
)
ORPHANS: Final = Counter(
    "stream_reco_label_orphans_total",
    "Actions that named a request whose impression never came, and retractions whose action never came, by kind.",
    ["kind"],
    registry=REGISTRY,
)
SERVED_FEATURES: Final = Counter(
    "stream_reco_served_features_total",
    "Features of the moment that scorers sent to labelling, by what became of them: joined to their impression, late"
    " (after it), or expired (it did not come within a day).",
    ["outcome"],
    registry=REGISTRY,
)

# --- train
LEARN_SECONDS: Final = Histogram(
    "stream_reco_learn_seconds",
    "Seconds to take one micro-batch of events through labels, signals and training.",
    buckets=_SLOW,
    registry=REGISTRY,
)
STEP_SECONDS: Final = Histogram(
    "stream_reco_train_step_seconds",
    "Seconds of one training step: lookup, forward, backward, update.",
    buckets=_FAST,
    registry=REGISTRY,
)
TRAINED_EXAMPLES: Final = Counter(
    "stream_reco_trained_examples_total",
    "Examples the trainer stepped on, by origin: labelled, or a negative it sampled.",
    ["origin"],
    registry=REGISTRY,
)
TRAIN_LOSS: Final = Gauge(
    "stream_reco_train_loss",
    "Mean loss of the latest training step, by part of the model (nats an example).",
    ["part"],
    registry=REGISTRY,
)
TRAIN_REFUSED: Final = Counter(
    "stream_reco_train_refused_batches_total",
    "Batches with a number that is not finite or absurdly large; nothing was learned from them.",
    registry=REGISTRY,
)

TRAINER_EPOCH: Final = Gauge(
    "stream_reco_trainer_epoch",
    "Epoch in which this process leads the training; 0 where another one does.",
    registry=REGISTRY,
)

# --- embedding
TABLE_ROWS: Final = Gauge("stream_reco_table_rows", "Rows that an embedding table holds.", ["table"], registry=REGISTRY)
TABLE_TOUCHED: Final = Gauge(
    "stream_reco_table_touched_rows", "Rows changed since the last publication.", ["table"], registry=REGISTRY
)
TABLE_BYTES: Final = Gauge(
    "stream_reco_table_bytes",
    "Bytes an embedding table has allocated, slack and index included.",
    ["table"],
    registry=REGISTRY,
)
TABLE_EVICTED: Final = Counter(
    "stream_reco_table_evicted_rows_total",
    "Rows that left: idle for longer than the TTL, or for others where memory is bounded (`budget`).",
    ["table", "reason"],
    registry=REGISTRY,
)
TABLE_REFUSED: Final = Counter(
    "stream_reco_table_refused_gradients_total",
    "Gradients of an embedding table that were refused, as they were not finite or above 1e15; the row stays as it is.",
    ["table"],
    registry=REGISTRY,
)

# --- sync: the publishing side
PUBLICATION_BYTES: Final = Histogram(
    "stream_reco_publication_bytes",
    "Bytes of the arrays of one publication, by kind (snapshot or delta).",
    ["kind"],
    buckets=_BYTES,
    registry=REGISTRY,
)
PUBLICATION_SECONDS: Final = Histogram(
    "stream_reco_publication_seconds",
    "Seconds to collect one publication and hand it to the channel.",
    buckets=_SLOW,
    registry=REGISTRY,
)
PUBLISHED_VERSION: Final = Gauge(
    "stream_reco_published_version", "Newest version that the channel has accepted.", registry=REGISTRY
)
PUBLICATION_FAILURES: Final = Counter(
    "stream_reco_publication_failures_total",
    "Publications that the channel did not accept; their rows stay touched and go out with the next.",
    registry=REGISTRY,
)
CHANNEL_PUBLICATIONS: Final = Gauge(
    "stream_reco_channel_publications", "Publications that the channel in Redis keeps.", registry=REGISTRY
)
CHANNEL_BYTES: Final = Gauge(
    "stream_reco_channel_bytes", "Bytes of the publications that the channel in Redis keeps.", registry=REGISTRY
)
CHANNEL_REPLICAS: Final = Gauge(
    "stream_reco_channel_replicas", "Replicas that have read the channel in Redis lately.", registry=REGISTRY
)
CHANNEL_UNREAD: Final = Gauge(
    "stream_reco_channel_unread_publications",
    "Publications that the slowest of these replicas has not read yet.",
    registry=REGISTRY,
)
REDIS_FAILURES: Final = Counter(
    "stream_reco_redis_failures_total",
    "Commands that Redis did not do, by what became of them: refused, or unreachable.",
    ["outcome"],
    registry=REGISTRY,
)

# --- sync: the replica's side
REPLICA_VERSION: Final = Gauge("stream_reco_replica_version", "Version that the replica serves.", registry=REGISTRY)
REPLICA_STALENESS_SECONDS: Final = Gauge(
    "stream_reco_replica_staleness_seconds", "Age of the publication that the replica serves.", registry=REGISTRY
)
REPLICA_SYNC_SECONDS: Final = Histogram(
    "stream_reco_replica_sync_seconds",
    "Seconds from the creation of a publication until a scorer that follows a trainer served it.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    registry=REGISTRY,
)
REPLICA_APPLY_SECONDS: Final = Histogram(
    "stream_reco_replica_apply_seconds",
    "Seconds that requests had to wait while the replica applied one publication.",
    buckets=_FAST,
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
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
    registry=REGISTRY,
)

# --- serve
REQUESTS: Final = Counter(
    "stream_reco_requests_total",
    "HTTP requests answered, by route template and status.",
    ["route", "status"],
    registry=REGISTRY,
)
REQUEST_SECONDS: Final = Histogram(
    "stream_reco_request_seconds",
    "Seconds from a request's last byte in to its answer's last byte out, by route template.",
    ["route"],
    buckets=_FAST,
    registry=REGISTRY,
)
CANDIDATES: Final = Counter(
    "stream_reco_candidates_total", "Candidates that a source brought into the blend.", ["source"], registry=REGISTRY
)
SLATE_ITEMS: Final = Counter(
    "stream_reco_slate_items_total",
    "Items that reached a slate, by the source that brought them.",
    ["source"],
    registry=REGISTRY,
)
SERVED_SLATES: Final = Counter(
    "stream_reco_served_slates_total",
    "Slates whose features of the moment were to go to Kafka, by what became of them: written, or dropped.",
    ["outcome"],
    registry=REGISTRY,
)
USER_COPIES: Final = Counter(
    "stream_reco_user_copies_total", "States of users that were written to Redis.", registry=REGISTRY
)
USER_STATES: Final = Counter(
    "stream_reco_user_states_total",
    "Users looked up in Redis, by where their state came from: redis, memory (Redis was away), nowhere (a stranger).",
    ["source"],
    registry=REGISTRY,
)

# --- checkpoints
CHECKPOINT_SECONDS: Final = Histogram(
    "stream_reco_checkpoint_seconds", "Seconds to write one checkpoint.", buckets=_SLOW, registry=REGISTRY
)
CHECKPOINT_BYTES: Final = Gauge(
    "stream_reco_checkpoint_bytes", "Bytes of the newest checkpoint on disk.", registry=REGISTRY
)
CHECKPOINT_FAILURES: Final = Counter(
    "stream_reco_checkpoint_failures_total",
    "Checkpoints that could not be written or read, by action (write or read); the previous one stays.",
    ["action"],
    registry=REGISTRY,
)

# --- work: processes that share the partitions of a topic
WORK_PARTITIONS: Final = Gauge(
    "stream_reco_work_partitions",
    "Partitions that this worker has been given, by kind of work.",
    ["work"],
    registry=REGISTRY,
)
WORK_RECORDS: Final = Counter(
    "stream_reco_work_records_total",
    "Records that were read and processed, by kind of work.",
    ["work"],
    registry=REGISTRY,
)
WORK_LAG: Final = Gauge(
    "stream_reco_work_lag_records",
    "Records that are written and not read yet, by kind of work and partition.",
    ["work", "partition"],
    registry=REGISTRY,
)
WORK_COMMIT_SECONDS: Final = Histogram(
    "stream_reco_work_commit_seconds", "Seconds of one transaction, by kind of work.", ["work"], registry=REGISTRY
)
WORK_FAILURES: Final = Counter(
    "stream_reco_work_failures_total",
    "Times that work on a partition began anew from its last transaction, by kind of work and what had happened.",
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
    buckets=_SLOW,
    registry=REGISTRY,
)
STATE_RESTORED: Final = Counter(
    "stream_reco_work_state_records_total",
    "Records of a state's topic that were read to bring a local store up to date, by kind of work.",
    ["work"],
    registry=REGISTRY,
)

# --- measure: progressive quality, predict first and learn after
PROGRESSIVE: Final = Gauge(
    "stream_reco_progressive_quality",
    "Rolling quality of what was served before it was learned from, by metric (auc, logloss, calibration, hr@10, …).",
    ["metric"],
    registry=REGISTRY,
)


def reset_counters() -> None:
    """Count from 0 again, as after a rehearsal."""
    for metric in list(globals().values()):
        if isinstance(metric, Counter):
            try:
                metric.reset()
            except (AttributeError, ValueError):  # it has labels, and is only the parent of what counts
                metric.clear()


def render() -> bytes:
    """The text exposition of all metrics, as `/metrics` answers it."""
    return generate_latest(REGISTRY)
