"""What a published version predicts of a batch before the trainer learns from it, for those who measure that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from stream_reco import metrics
from stream_reco.embedding import Precision, ReplicaTable
from stream_reco.learner.even_sample import EvenSample
from stream_reco.learner.example_queue import Watcher
from stream_reco.model.content.pairs import priors_of
from stream_reco.model.heads import without_heads
from stream_reco.model.lookup import Lookup
from stream_reco.model.served import ServedModel
from stream_reco.model.settings import ModelSettings
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.sync import Publication
from stream_reco.train.batch import is_finite
from stream_reco.train.predictions import predictions


class EvaluationSink(Protocol):
    """Measures the loop from inside."""

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Labels and what the served version predicted, before the trainer learns from them; float32[n] each.

        `sampled`: negatives were drawn, and the predictions are of the sample.
        """
        ...


def evaluate_before_training(
    observer: EvaluationSink,
    batch: TrainingBatch,
    model: ServedModel,
    tables: Mapping[str, Lookup],
    shift: float = 0.0,
    priors: NDArray[np.float32] | None = None,
) -> None:
    """Report to the observer what this model predicts of a batch that is about to be learned from.

    `shift`: what its version adds to the log-odds of impressions; `priors` as `predictions` takes them.
    A batch that the trainer will refuse is left out.
    """
    if not is_finite(batch):
        return
    metrics.PROGRESSIVE_EXAMPLES.labels("measured").inc(len(batch.weights))
    weights = batch.weights[batch.batch.owners]
    # Of negatives drawn for an action, or of those shown.
    fewer = bool((batch.log_rates < np.log(batch.batch.rates)).any())
    sampled = fewer or len(batch.labels) > len(batch.weights)
    observer.examples(batch.labels, predictions(model, batch, tables, shift, priors), weights, sampled)


class PublishedModel:
    """A copy of the version that a channel has taken last, on which what the trainer learns next is predicted.

    Scorers may serve a version that is older by as long as they take to follow, so this is as new as any of them. The
    copy is of the rows and of the dense weights, which follows each publication that is passed to `take`.
    """

    def __init__(
        self, model: ModelSettings, observer: EvaluationSink, most: int | None = None, precision: Precision = "float32"
    ) -> None:
        """`most`: candidates that the observer is told of between two versions, at even distances; None: all.

        precision: what scorers keep the rows in.
        """
        self._observer, self._precision = observer, precision
        self._sample = None if most is None else EvenSample(most)
        self._model, self._priors = model.build_served(), priors_of(model.content)
        self._tables: dict[str, ReplicaTable] = {}
        self._version, self._shift = 0, 0.0

    def take(self, publication: Publication) -> None:
        """Measure what waits to be, and bring the copy to this version.

        Versions come in their order, beginning with a snapshot.
        """
        if self._sample is not None:
            for batch in self._sample.take():
                self._measure(batch)
        if publication.snapshot:
            self._tables = {}
        for delta in publication.tables:
            if delta.name not in self._tables:
                self._tables[delta.name] = ReplicaTable(delta.dim, name=delta.name, precision=self._precision)
            self._tables[delta.name].apply_delta(delta)
        if publication.dense:
            self._model.load(without_heads(publication.dense)[0])
        self._version, self._shift = publication.version, publication.shift

    @property
    def watch(self) -> Watcher:
        """Called with each batch before training on it; before a first version nothing is evaluated."""
        return self._learns

    def _learns(self, batch: TrainingBatch) -> None:
        if not self._version or not is_finite(batch):
            return
        if self._sample is None:
            self._measure(batch)
        else:
            self._sample.add(batch)

    def _measure(self, batch: TrainingBatch) -> None:
        evaluate_before_training(self._observer, batch, self._model, self._tables, self._shift, self._priors)
