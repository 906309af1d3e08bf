"""A training batch as tensors: what the loss of a model is computed from, where autograd learns it."""

from __future__ import annotations

import torch
from torch import Tensor

from stream_reco.model.inputs import Batch
from stream_reco.model.training_batch import TrainingBatch


class TensorBatch:
    """A `TrainingBatch` of g examples with n candidates; the tensors share its memory."""

    def __init__(self, given: TrainingBatch) -> None:
        self.given = given

    @property
    def batch(self) -> Batch:
        """What the network reads."""
        return self.given.batch

    @property
    def labels(self) -> Tensor:
        """float32[n]"""
        return torch.from_numpy(self.given.labels)

    @property
    def weights(self) -> Tensor:
        """float32[g]"""
        return torch.from_numpy(self.given.weights)

    @property
    def positions(self) -> Tensor:
        """int64[n]: place in the slate counted from 1; 0 where unknown."""
        return torch.from_numpy(self.given.positions)

    @property
    def log_rates(self) -> Tensor:
        """float32[n]: logarithm of how often sampling includes the candidate."""
        return torch.from_numpy(self.given.log_rates)

    @property
    def undone(self) -> Tensor:
        """float32[g]: weight of the opposite label that was learned before and is taken back."""
        return torch.from_numpy(self.given.undone)

    @property
    def first(self) -> Tensor:
        """int64[g]: the first candidate of each example, which the label belongs to."""
        return torch.from_numpy(self.given.first)

    @property
    def owners(self) -> Tensor:
        """int64[n]: the example of each candidate."""
        return torch.from_numpy(self.batch.owners)

    @property
    def sampled(self) -> Tensor:
        """bool[g]: whether negatives were sampled for the example."""
        return torch.from_numpy(self.given.sampled)

    @property
    def positive(self) -> Tensor:
        """bool[g]: whether the example's label is 1."""
        return self.labels[self.first] == 1

    def corrected(self, log_odds: Tensor) -> TensorBatch:
        """The batch with weights corrected for delayed feedback; no gradient goes through them.

        A loss calls it once with its own log-odds float32[n] for all candidates, before any correction for sampling.
        """
        return TensorBatch(self.given.corrected(log_odds.detach().numpy()))
