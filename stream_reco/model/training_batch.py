"""Labelled examples as tensors: what a model's loss is computed from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.model.inputs import Batch

Correction = Callable[["TrainingBatch", Tensor], tuple[Tensor, Tensor]]
"""From a batch and the log-odds float32[n] of its candidates to corrected `weights` and `undone`, float32[g]."""


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of g examples with n candidates over all, ready for a model."""

    batch: Batch
    labels: Tensor
    """float32[n]"""
    weights: Tensor
    """float32[g]"""
    positions: Tensor
    """int64[n]: place in the slate counted from 1; 0 where unknown."""
    log_rates: Tensor
    """float32[n]: logarithm of how often sampling includes the candidate."""
    undone: Tensor
    """float32[g]: weight of the opposite label that was learned before and is taken back."""
    feedback: NDArray[np.int64]
    """int64[g]: kinds of delayed feedback."""
    shown: NDArray[np.bool_]
    """bool[g]: whether the example is of an impression."""
    ages: NDArray[np.int64]
    """int64[g]: ms from the impression to the label; 0 where there was none."""
    now: int
    """Stream time, ms."""
    correction: Correction | None = None
    """How the trainer corrects weights for labels that may still change; None: not at all."""

    def corrected(self, log_odds: Tensor) -> TrainingBatch:
        """The batch with weights corrected for delayed feedback.

        A loss calls it once with its own log-odds float32[n] for all candidates, before any correction for sampling.
        """
        if self.correction is None:
            return self
        weights, undone = self.correction(self, log_odds)
        return replace(self, weights=weights, undone=undone, correction=None)

    @property
    def first(self) -> Tensor:
        """int64[g]: the first candidate of each example, which the label belongs to."""
        return torch.from_numpy(self.batch.starts)

    @property
    def owners(self) -> Tensor:
        """int64[n]: the example of each candidate."""
        return torch.from_numpy(self.batch.owners)

    @property
    def sampled(self) -> Tensor:
        """bool[g]: whether negatives were sampled for the example."""
        return torch.from_numpy(np.bincount(self.batch.owners) > 1)

    @property
    def all_sampled(self) -> bool:
        """Whether negatives were sampled for every example."""
        starts = self.batch.starts
        return len(self.batch.item_keys) - starts[-1] > 1 and bool((starts[1:] - starts[:-1] > 1).all())

    @property
    def positive(self) -> Tensor:
        """bool[g]: whether the example's label is 1."""
        return self.labels[self.batch.starts] == 1
