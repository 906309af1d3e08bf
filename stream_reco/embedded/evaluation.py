"""What the version that is served predicts of what the learner sees, for those who measure it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedded.learner import Learner
from stream_reco.events import Impression
from stream_reco.learner.progressive_evaluation import EvaluationSink, evaluate_before_training
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.trainer import predictions

_AT_ONCE = 256


class ImpressionSink(Protocol):
    """Measures what is shown as it is shown, before anybody has responded."""

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        """New impressions and the probabilities, float32[n], of the version that was served then."""
        ...


class EvaluationHooks:
    """Stands between a learner and those who measure it; without a version that is served nothing is told."""

    def __init__(
        self, learner: Learner, served: ServingState, observer: EvaluationSink | None, viewer: ImpressionSink | None
    ) -> None:
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
            evaluate_before_training(self._observer, batch, self._served.model, self._served.replica.tables)

    def _predictions(self, batch: TrainingBatch) -> NDArray[np.float32]:
        return predictions(self._served.model, batch, self._served.replica.tables)
