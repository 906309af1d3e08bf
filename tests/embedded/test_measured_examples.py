"""How much of what is learned from is measured before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream_reco.clock import ManualClock
from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action
from stream_reco.metrics import REGISTRY

START, NOW = 1_600_000_000_000, 1_600_100_000_000
_CLICKS = [Action(user_id=n // 20, item_id=n * 7 % 50, action="click", timestamp=START + 500 * n) for n in range(1200)]


class Counts:
    """Counts the clicks that are measured, and all candidates."""

    def __init__(self) -> None:
        self.clicks = self.candidates = 0

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        del weights, sampled
        assert len(predictions) == len(labels)
        self.clicks += int(labels.sum())
        self.candidates += len(labels)


class Run(NamedTuple):
    counts: Counts
    measured: float
    passed_over: float
    weights: bytes


def counted(action: str) -> float:
    return REGISTRY.get_sample_value("stream_reco_progressive_examples_total", {"action": action}) or 0.0


def run(most: int | None) -> Run:
    counts, measured, passed_over = Counts(), counted("measured"), counted("passed_over")
    with Engine(None, Settings(), observer=counts, clock=ManualClock(NOW), most_measured=most) as engine:
        engine.ingest(_CLICKS[:400])
        engine.sync()
        engine.ingest(_CLICKS[400:])
        engine.sync()
        parts = engine.learner.queue.trainer.state()
    weights = b"".join(parts[name].tobytes() for name in sorted(parts))
    return Run(counts, counted("measured") - measured, counted("passed_over") - passed_over, weights)


def test_what_is_measured_between_two_publications_is_bounded_counted_and_changes_nothing_of_what_is_learned() -> None:
    everything, some = run(None), run(1000)
    assert everything.counts.clicks == everything.measured > 700
    assert everything.passed_over == 0.0
    assert 0 < some.counts.candidates <= 1000 < everything.counts.candidates
    assert some.counts.clicks == some.measured
    assert some.measured + some.passed_over == everything.measured
    assert some.weights == everything.weights
