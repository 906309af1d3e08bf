"""Progressive quality: predict first, learn after."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

from stream_reco.metrics.registry import NEWEST, REGISTRY

PROGRESSIVE: Final = Gauge(
    "stream_reco_progressive_quality",
    "Rolling quality of what was served before it was learned from, by metric (auc, logloss, calibration, hr@10, …;"
    " in the demo share_of_oracle).",
    ["metric"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
PROGRESSIVE_EXAMPLES: Final = Counter(
    "stream_reco_progressive_examples_total",
    "Examples that came while a version was served, by whether what it predicts of them was measured before they were"
    " learned from (measured, passed_over).",
    ["action"],
    registry=REGISTRY,
)
CALIBRATION_BY_AGE: Final = Gauge(
    "stream_reco_calibration_by_age",
    "What was predicted of the newest impressions as they were shown over what was observed, by age of their labels"
    " (minute, ten_minutes, hour, day, week); what is still to come by then is allowed for, so that 1 is calibrated.",
    ["age"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
HEAD_CALIBRATION: Final = Gauge(
    "stream_reco_head_calibration",
    "What was predicted of the newest that was acted on, before it was learned from, over what was observed, by kind of"
    " action, or kind.value of what it is worth; 1 is calibrated.",
    ["kind"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
HEAD_LOGLOSS: Final = Gauge(
    "stream_reco_head_logloss",
    "Logistic loss (nats) of the probability of a kind given an action, over the newest that was acted on, before it"
    " was learned from.",
    ["kind"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
HEAD_SHARE: Final = Gauge(
    "stream_reco_head_share",
    "Share, of the newest that was acted on, that had an action of a kind; one thing can have several.",
    ["kind"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
