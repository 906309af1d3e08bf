"""Every Prometheus metric of the loop, each declared once with its unit and its meaning, by what it watches.

Stages import the constant they feed and call `inc`, `observe` or `set` on it; `/metrics` renders `REGISTRY`. That
registry is our own, so that a host application's metrics never mix with ours. Label values come from small fixed sets
(a reason code, a route's template, a table's or a source's name), never from ids or texts that people send.
"""

from __future__ import annotations

from prometheus_client import Counter
from prometheus_client.core import Metric

from stream_reco.metrics.checkpoints import (
    CHECKPOINT_BYTES,
    CHECKPOINT_FAILURES,
    CHECKPOINT_SECONDS,
)
from stream_reco.metrics.features import FEATURE_MISFITS, FEATURES_REFUSED
from stream_reco.metrics.ingest import (
    BACKLOG,
    EVENTS_ACCEPTED,
    EVENTS_DUPLICATE,
    EVENTS_FEATURES_LATE,
    EVENTS_LATE,
    EVENTS_REJECTED,
    LOG_APPEND_SECONDS,
    LOG_APPENDED,
    LOG_BYTES,
    LOG_LOST,
    STREAM_TIME,
)
from stream_reco.metrics.labels import (
    EXAMPLES,
    EXAMPLES_REJECTED,
    LABEL_SECONDS,
    ORPHANS,
    PENDING,
    PENDING_BYTES,
    PENDING_OLDEST_SECONDS,
    SERVED_FEATURES,
)
from stream_reco.metrics.quality import (
    CALIBRATION_BY_AGE,
    HEAD_CALIBRATION,
    HEAD_LOGLOSS,
    HEAD_SHARE,
    PROGRESSIVE,
    PROGRESSIVE_EXAMPLES,
)
from stream_reco.metrics.registry import REGISTRY
from stream_reco.metrics.serving import (
    BODY_BYTES,
    CANDIDATES,
    NEAR_DUPLICATES,
    QUEUE_SECONDS,
    QUEUED_REQUESTS,
    REQUEST_SECONDS,
    REQUESTS,
    SERVED_SLATES,
    SHARED_USERS,
    SHED_REQUESTS,
    SLATE_ITEMS,
    USER_COPIES,
    USER_COPIES_LOST,
    USER_STATES,
    VECTOR_BUILD_SECONDS,
    VECTOR_BUILDS,
    VECTOR_COMPARISONS,
    VECTOR_LIST_BYTES,
    VECTOR_RECALL,
    VECTOR_SEARCHES,
    VECTOR_SHARE,
    VECTORS,
)
from stream_reco.metrics.sync import (
    CHANNEL_BYTES,
    CHANNEL_PUBLICATIONS,
    CHANNEL_REPLICAS,
    CHANNEL_UNREAD,
    FRESHNESS_SECONDS,
    LEARNER_SILENT_SECONDS,
    PROCESS_RESTARTS,
    PUBLICATION_BYTES,
    PUBLICATION_FAILURES,
    PUBLICATION_SECONDS,
    PUBLISHED_VERSION,
    REDIS_FAILURES,
    REPLICA_APPLIED,
    REPLICA_APPLY_SECONDS,
    REPLICA_REFUSED,
    REPLICA_SNAPSHOT_REQUESTS,
    REPLICA_STALENESS_SECONDS,
    REPLICA_SYNC_SECONDS,
    REPLICA_VERSION,
)
from stream_reco.metrics.tables import (
    TABLE_BYTES,
    TABLE_EVICTED,
    TABLE_REFUSED,
    TABLE_ROWS,
    TABLE_TOUCHED,
)
from stream_reco.metrics.topologies import (
    STAGE_SECONDS,
    STATE_RESTORED,
    WORK_COMMIT_SECONDS,
    WORK_FAILURES,
    WORK_LAG,
    WORK_MISSED,
    WORK_PARTITIONS,
    WORK_RECORDS,
)
from stream_reco.metrics.training import (
    LEARN_SECONDS,
    STEP_SECONDS,
    TRAIN_LOSS,
    TRAIN_REFUSED,
    TRAINED_EXAMPLES,
    TRAINER_EPOCH,
)

__all__ = [  # noqa: RUF022 - in the order of the table in docs/operations.md
    "REGISTRY",
    "EVENTS_ACCEPTED",
    "EVENTS_DUPLICATE",
    "EVENTS_REJECTED",
    "EVENTS_LATE",
    "EVENTS_FEATURES_LATE",
    "LOG_APPEND_SECONDS",
    "LOG_APPENDED",
    "LOG_BYTES",
    "LOG_LOST",
    "BACKLOG",
    "STREAM_TIME",
    "EXAMPLES",
    "LABEL_SECONDS",
    "EXAMPLES_REJECTED",
    "PENDING",
    "PENDING_BYTES",
    "PENDING_OLDEST_SECONDS",
    "ORPHANS",
    "SERVED_FEATURES",
    "LEARN_SECONDS",
    "STEP_SECONDS",
    "TRAINED_EXAMPLES",
    "TRAIN_LOSS",
    "TRAIN_REFUSED",
    "TRAINER_EPOCH",
    "TABLE_ROWS",
    "TABLE_TOUCHED",
    "TABLE_BYTES",
    "TABLE_EVICTED",
    "TABLE_REFUSED",
    "FEATURE_MISFITS",
    "FEATURES_REFUSED",
    "PUBLICATION_BYTES",
    "PUBLICATION_SECONDS",
    "PUBLISHED_VERSION",
    "PUBLICATION_FAILURES",
    "CHANNEL_PUBLICATIONS",
    "CHANNEL_BYTES",
    "CHANNEL_REPLICAS",
    "CHANNEL_UNREAD",
    "REDIS_FAILURES",
    "REPLICA_VERSION",
    "REPLICA_STALENESS_SECONDS",
    "REPLICA_SYNC_SECONDS",
    "REPLICA_APPLY_SECONDS",
    "REPLICA_APPLIED",
    "REPLICA_REFUSED",
    "REPLICA_SNAPSHOT_REQUESTS",
    "FRESHNESS_SECONDS",
    "LEARNER_SILENT_SECONDS",
    "PROCESS_RESTARTS",
    "REQUESTS",
    "REQUEST_SECONDS",
    "BODY_BYTES",
    "QUEUED_REQUESTS",
    "QUEUE_SECONDS",
    "SHED_REQUESTS",
    "CALIBRATION_BY_AGE",
    "HEAD_CALIBRATION",
    "HEAD_LOGLOSS",
    "HEAD_SHARE",
    "CANDIDATES",
    "SLATE_ITEMS",
    "NEAR_DUPLICATES",
    "SERVED_SLATES",
    "SHARED_USERS",
    "USER_COPIES",
    "USER_COPIES_LOST",
    "USER_STATES",
    "VECTORS",
    "VECTOR_LIST_BYTES",
    "VECTOR_SEARCHES",
    "VECTOR_RECALL",
    "VECTOR_COMPARISONS",
    "VECTOR_SHARE",
    "VECTOR_BUILDS",
    "VECTOR_BUILD_SECONDS",
    "CHECKPOINT_SECONDS",
    "CHECKPOINT_BYTES",
    "CHECKPOINT_FAILURES",
    "WORK_PARTITIONS",
    "WORK_RECORDS",
    "WORK_LAG",
    "WORK_COMMIT_SECONDS",
    "WORK_FAILURES",
    "WORK_MISSED",
    "STAGE_SECONDS",
    "STATE_RESTORED",
    "PROGRESSIVE",
    "PROGRESSIVE_EXAMPLES",
    "reset_counters",
]


def reset_counters() -> None:
    """Set every counter back to 0, as after a warm-up; counters of one label's values stay those that others hold."""
    for metric in list(globals().values()):
        if isinstance(metric, Counter):
            for family in metric.collect():
                for labels in _labels_of(family):
                    (metric.labels(**labels) if labels else metric).reset()


def _labels_of(family: Metric) -> list[dict[str, str]]:
    """The labels of each counter of a family; of one without labels, none at all."""
    return [sample.labels for sample in family.samples if sample.name.rpartition("_")[2] == "total"]
