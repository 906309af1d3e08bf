"""Progressive validation: what the served version predicts of impressions and examples before they are learned from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedded.learner import Learner
from stream_reco.events import Impression
from stream_reco.learner.even_sample import EvenSample
from stream_reco.learner.progressive_evaluation import EvaluationSink, evaluate_before_training
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.train.batch import Labelled, is_finite, joined, training_batch
from stream_reco.train.predictions import predictions

_BATCH = 256
"""Impressions, or examples, that are predicted together: large enough for one pass, small enough to hold."""


class ImpressionSink(Protocol):
    """Measures predictions of impressions as these arrive, before any response."""

    def shown(self, impressions: Sequence[Impression], predictions: NDArray[np.float32]) -> None:
        """New impressions and the probabilities, float32[n], of the version that was served then."""
        ...


class EvaluationHooks:
    """Passes predictions of the served version from a learner to sinks; before the first version it passes nothing."""

    def __init__(
        self,
        learner: Learner,
        served: ServingState,
        observer: EvaluationSink | None,
        viewer: ImpressionSink | None,
        most_measured: int | None = None,
    ) -> None:
        """`most_measured`: candidates that the observer is told of between two flushes; None: all."""
        self._served, self._observer, self._viewer = served, observer, viewer
        self._waiting: list[tuple[Impression, bytes]] = []
        self._batches: list[TrainingBatch] = []
        self._sample = None if most_measured is None else EvenSample(most_measured)
        if observer is not None:
            learner.queue.watch = self._on_batch
        if viewer is not None:
            learner.on_impression = self._on_impression

    def flush(self) -> None:
        """Predict for what waits; to be called before another version is served."""
        if self._sample is not None:
            self._batches = self._sample.take()
        self._evaluate()
        if self._waiting and self._viewer is not None:
            impressions = [impression for impression, _ in self._waiting]
            examples = [Labelled(inputs, 0, 1.0, 0, 0, shown_at=one.timestamp) for one, inputs in self._waiting]
            batch, served = training_batch(examples), self._served
            self._waiting = []
            priors, tables = served.content_priors, served.replica.tables
            self._viewer.shown(impressions, predictions(served.scoring, batch, tables, served.shift, priors))

    def _on_impression(self, impression: Impression, inputs: bytes) -> None:
        if self._served.replica.version:
            self._waiting.append((impression, inputs))
            if len(self._waiting) == _BATCH:
                self.flush()

    def _on_batch(self, batch: TrainingBatch) -> None:
        # Until the next version nothing changes of what is predicted, and many batches are predicted in one pass.
        if not self._served.replica.version or not is_finite(batch):
            return
        if self._sample is not None:
            self._sample.add(batch)
        else:
            self._batches.append(batch)
            if sum(len(one.weights) for one in self._batches) >= _BATCH:
                self._evaluate()

    def _evaluate(self) -> None:
        batches, self._batches = self._batches, []
        if batches and self._observer is not None:
            served = self._served
            priors, tables = served.content_priors, served.replica.tables
            evaluate_before_training(self._observer, joined(batches), served.scoring, tables, served.shift, priors)
