"""A bounded sample of the training steps between two publications, at even distances."""

from __future__ import annotations

from stream_reco import metrics
from stream_reco.model.training_batch import TrainingBatch


class EvenSample:
    """Keeps every n-th batch; n begins at 1 and doubles whenever what is kept has too many candidates.

    What is kept is the same whatever the speed at which batches come.
    """

    def __init__(self, most: int) -> None:
        """`most`: candidates of all batches kept; one batch is kept however large it is."""
        self._most = most
        self._begin()

    def _begin(self) -> None:
        self._kept: list[TrainingBatch] = []
        self._every, self._seen, self._candidates = 1, 0, 0
        self._examples = 0

    def add(self, batch: TrainingBatch) -> None:
        """Take the next batch, or pass it over."""
        self._examples += len(batch.weights)
        if self._seen % self._every == 0:
            self._kept.append(batch)
            self._candidates += len(batch.labels)
            while self._candidates > self._most and len(self._kept) > 1:
                self._kept, self._every = self._kept[::2], 2 * self._every
                self._candidates = sum(len(one.labels) for one in self._kept)
        self._seen += 1

    def take(self) -> list[TrainingBatch]:
        """The batches kept since the last call; examples of the others are counted as passed over."""
        kept = self._kept
        passed_over = self._examples - sum(len(one.weights) for one in kept)
        metrics.PROGRESSIVE_EXAMPLES.labels("passed_over").inc(passed_over)
        self._begin()
        return kept
