"""Features of items and users: what is passed over of what is said."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge

from stream_reco.metrics.registry import NEWEST, REGISTRY

FEATURE_MISFITS: Final = Gauge(
    "stream_reco_feature_misfits",
    "Values of a feature, so far, that were of another kind than the feature, and were passed over.",
    ["side", "feature"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
FEATURES_REFUSED: Final = Gauge(
    "stream_reco_features_refused",
    "Values, so far, of features beyond those that are read, and vectors that are too many or not finite.",
    ["side"],
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
