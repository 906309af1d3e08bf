"""Checkpoints of everything that a process has learned."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

from stream_reco.metrics.registry import NEWEST, REGISTRY, SLOW

CHECKPOINT_SECONDS: Final = Histogram(
    "stream_reco_checkpoint_seconds", "Seconds to write one checkpoint.", buckets=SLOW, registry=REGISTRY
)
CHECKPOINT_BYTES: Final = Gauge(
    "stream_reco_checkpoint_bytes",
    "Bytes of the newest checkpoint on disk.",
    registry=REGISTRY,
    multiprocess_mode=NEWEST,
)
CHECKPOINT_FAILURES: Final = Counter(
    "stream_reco_checkpoint_failures_total",
    "Checkpoints that could not be written or read, by action (write or read); the previous one stays.",
    ["action"],
    registry=REGISTRY,
)
