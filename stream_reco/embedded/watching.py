"""What the version that is served predicts of what the learner sees, for those who measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedded.learner import Learner
from stream_reco.events import Impression
from stream_reco.serve.served import Served
from stream_reco.train.trainer import Labelled, TrainingBatch, predictions, training_batch

_AT_ONCE = 256


class Observer(Protocol):
    """Measures the loop from inside."""

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Labels and what the served version predicted, before the trainer learns from them; float32[n] each.

        `sampled`: negatives were drawn, and the predictions are of the sample.
        """
        ...


class Viewer(Protocol):
    """Measures what is shown as it is shown, before anybody has responded."""

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        """New impressions and the probabilities, float32[n], of the version that was served then."""
        ...


class Watching:
    """Stands between a learner and those who measure it; without a version that is served nothing is told."""

    def __init__(self, learner: Learner, served: Served, observer: Observer | None, viewer: Viewer | None) -> None:
        self._served, self._observer, self._viewer = served, observer, viewer
        self._waiting: list[tuple[Impression, bytes]] = []
        if observer is not None:
            learner.lessons.watch = self._learns
        if viewer is not None:
            learner.watch_shown = self._shows

    def settle(self) -> None:
        """Tell what waits to be told: another version is about to be served."""
        if self._waiting and self._viewer is not None:
            impressions = [impression for impression, _ in self._waiting]
            batch = training_batch([Labelled(inputs, 0, 1.0, 0, 0) for _, inputs in self._waiting])
            self._waiting = []
            self._viewer.shown(impressions, self._predictions(batch))

    def _shows(self, impression: Impression, inputs: bytes) -> None:
        if self._served.replica.version:
            self._waiting.append((impression, inputs))
            if len(self._waiting) == _AT_ONCE:
                self.settle()

    def _learns(self, batch: TrainingBatch) -> None:
        if self._served.replica.version and self._observer is not None:
            weights = batch.weights.numpy()[batch.batch.owners]
            # Of negatives drawn for an action, or of those shown.
            fewer = bool((batch.log_rates.numpy() < np.log(batch.batch.rates)).any())
            sampled = fewer or len(batch.labels) > len(batch.weights)
            self._observer.examples(batch.labels.numpy(), self._predictions(batch), weights, sampled)

    def _predictions(self, batch: TrainingBatch) -> NDArray[np.float32]:
        return predictions(self._served.ranker, batch, dict(self._served.replica.tables))
