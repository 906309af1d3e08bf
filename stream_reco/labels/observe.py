"""Metrics of labels."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Histogram

from stream_reco import metrics
from stream_reco.labels.joiner import LabelJoiner
from stream_reco.labels.label.example import Example


def observe_example(example: Example, stream_time: int) -> None:
    """Count an example that is given at `stream_time`, ms."""
    examples, seconds = _series(example.reason, example.label)
    examples.inc()
    seconds.observe(max(0, stream_time - example.event_time) / 1000)


@cache
def _series(reason: str, label: int) -> tuple[Counter, Histogram]:
    # To look series up by labels takes as long as to count four examples.
    return metrics.EXAMPLES.labels(reason, str(label)), metrics.LABEL_SECONDS.labels(str(label))


def observe_pending(joiner: LabelJoiner, stream_time: int) -> None:
    """Report what waits for a label at `stream_time`, ms."""
    oldest = joiner.oldest
    metrics.PENDING.set(joiner.pending)
    metrics.PENDING_BYTES.set(joiner.nbytes)
    metrics.PENDING_OLDEST_SECONDS.set(0.0 if oldest is None else max(0, stream_time - oldest) / 1000)
