"""Counters start at 0 after a warm-up, and go on for those that hold one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import Counter

from stream_reco import metrics


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Counter, Counter]]:
    """A counter with labels and one without, declared as those of the loop are."""
    labelled = Counter("stream_reco_tried", "Tried.", ["source"], registry=metrics.REGISTRY)
    plain = Counter("stream_reco_tried_plainly", "Tried.", registry=metrics.REGISTRY)
    monkeypatch.setattr(metrics, "TRIED", labelled, raising=False)
    monkeypatch.setattr(metrics, "TRIED_PLAINLY", plain, raising=False)
    yield labelled, plain
    metrics.REGISTRY.unregister(labelled)
    metrics.REGISTRY.unregister(plain)


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def test_a_counter_that_was_taken_before_a_reset_counts_after_it(declared: tuple[Counter, Counter]) -> None:
    labelled, plain = declared
    held = labelled.labels("tower")
    held.inc(3)
    plain.inc(2)
    metrics.reset_counters()
    assert value("stream_reco_tried_total", source="tower") == value("stream_reco_tried_plainly_total") == 0.0
    held.inc(5)
    plain.inc()
    assert value("stream_reco_tried_total", source="tower") == 5.0
    assert value("stream_reco_tried_plainly_total") == 1.0
    assert labelled.labels("tower") is held
