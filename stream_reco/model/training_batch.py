"""Labelled examples as arrays: what is learned from in one step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.inputs import Batch

Floats: TypeAlias = NDArray[np.float32]
Correction = Callable[["TrainingBatch", Floats], tuple[Floats, Floats]]
"""From a batch and the log-odds float32[n] of its candidates to corrected `weights` and `undone`, float32[g]."""


@dataclass(frozen=True)
class TrainingBatch:
    """A batch of g examples with n candidates over all, ready for a model."""

    batch: Batch
    labels: Floats
    """float32[n]"""
    weights: Floats
    """float32[g]"""
    positions: NDArray[np.int64]
    """int64[n]: place in the slate counted from 1; 0 where unknown."""
    log_rates: Floats
    """float32[n]: logarithm of how often sampling includes the candidate."""
    undone: Floats
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

    def corrected(self, log_odds: Floats) -> TrainingBatch:
        """The batch with weights corrected for delayed feedback.

        It is called once, with the model's own log-odds float32[n] for all candidates, before any correction for
        sampling.
        """
        if self.correction is None:
            return self
        weights, undone = self.correction(self, log_odds)
        if weights is self.weights and undone is self.undone:
            return self
        return replace(self, weights=weights, undone=undone, correction=None)

    @property
    def first(self) -> NDArray[np.int64]:
        """int64[g]: the first candidate of each example, which the label belongs to."""
        return self.batch.starts

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """bool[g]: whether negatives were sampled for the example."""
        several: NDArray[np.bool_] = np.bincount(self.batch.owners) > 1
        return several

    @property
    def all_sampled(self) -> bool:
        """Whether negatives were sampled for every example."""
        starts = self.batch.starts
        return len(self.batch.item_keys) - starts[-1] > 1 and bool((starts[1:] - starts[:-1] > 1).all())
