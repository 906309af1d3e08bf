"""Examples: what was labelled and why, what waits for a label, what was refused."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import NEWEST, REGISTRY

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
    "Messages that are no valid examples and went to the dead letters, by the short code of the reason.",
    ["reason"],
    registry=REGISTRY,
)
PENDING: Final = Gauge(
    "stream_reco_pending_examples", "Impressions without a label yet.", registry=REGISTRY, multiprocess_mode=NEWEST
)
PENDING_BYTES: Final = Gauge(
    "stream_reco_pending_bytes",
    "Bytes of what labels remember, on disk or in memory: impressions that may get another label, actions, ids.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
PENDING_OLDEST_SECONDS: Final = Gauge(
    "stream_reco_pending_oldest_seconds",
    "Age in stream time of the oldest impression whose window has not passed.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
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
