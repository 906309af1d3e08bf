"""Progressive quality: predict first, learn after."""

from __future__ import annotations

from typing import Final

from prometheus_client import Gauge

from stream_reco.metrics.registry import REGISTRY

PROGRESSIVE: Final = Gauge(
    "stream_reco_progressive_quality",
    "Rolling quality of what was served before it was learned from, by metric (auc, logloss, calibration, hr@10, …;"
    " in the demo share_of_oracle).",
    ["metric"],
    registry=REGISTRY,
)
