"""Labelled examples as one batch of arrays, and whether they can be learned from."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.model.inputs import beside, collate_encoded
from stream_reco.model.spec import Need
from stream_reco.model.training_batch import TrainingBatch

_UNKNOWN_SHARE = 0.1
"""Positions hidden while training, so that the model also learns what it scores by when serving."""
_LARGEST = 1e6
"""Features are logarithms and weights are small: a number beyond this is damage, and one batch of it would spoil the
running averages and weights for good."""

_LEAST_RATE = float(np.finfo(np.float32).smallest_subnormal)
"""A candidate that sampling never includes cannot be there."""


class Labelled(msgspec.Struct, frozen=True, array_like=True):
    """One example as the trainer takes it."""

    inputs: bytes
    """`Inputs.to_bytes`: one candidate, or the positive and the negatives that were sampled for it."""
    label: int
    """Of the first candidate; the others are negatives."""
    weight: float
    time: int
    """Of the label, ms."""
    position: int
    """Place in the slate counted from 1, 0 where unknown."""
    undone: float = 0.0
    """Weight of the opposite label that was learned before and is taken back."""
    feedback: int = 0
    """A `Feedback`."""
    rate: float = 1.0
    """The share of negatives like it that was kept."""
    shown_at: int = 0
    """Event time of its impression, ms; 0 where there was none."""


def training_batch(
    examples: Sequence[Labelled], rng: np.random.Generator | None = None, needs: frozenset[Need] | None = None
) -> TrainingBatch:
    """Collate examples; with `rng` a tenth of the positions is hidden, as the model will not know them when serving.

    An example whose label is 0 stands for its first candidate alone: the sampled others add nothing to it. Features
    that a model does not need are left out; by default all are kept.
    """
    batch = collate_encoded(
        [one.inputs for one in examples],
        [one.label != 1 for one in examples],
        with_features=needs is None or "features" in needs,
    )
    labels = np.zeros(len(batch.item_keys), dtype=np.float32)
    labels[batch.starts] = [one.label for one in examples]
    positions = np.array([one.position for one in examples], dtype=np.int64)
    if rng is not None:
        positions[rng.random(len(positions)) < _UNKNOWN_SHARE] = 0
    rates = batch.rates * np.array([one.rate for one in examples], dtype=np.float32)[batch.owners]
    return TrainingBatch(
        batch,
        labels,
        np.array([one.weight for one in examples], dtype=np.float32),
        positions[batch.owners],
        np.log(rates),
        np.array([one.undone for one in examples], dtype=np.float32),
        np.array([one.feedback for one in examples], dtype=np.int64),
        np.array([one.shown_at != 0 for one in examples], dtype=np.bool_),
        np.array([max(0, one.time - one.shown_at) if one.shown_at else 0 for one in examples], dtype=np.int64),
        max(one.time for one in examples),
    )


def joined(batches: Sequence[TrainingBatch]) -> TrainingBatch:
    """Several batches as one, in their order; they are not corrected any more."""
    if len(batches) == 1:
        return batches[0]
    labels, weights, positions, log_rates, undone = (
        np.concatenate([getattr(one, name) for one in batches])
        for name in ("labels", "weights", "positions", "log_rates", "undone")
    )
    feedback, shown, ages = (
        np.concatenate([getattr(one, name) for one in batches]) for name in ("feedback", "shown", "ages")
    )
    batch, now = beside([one.batch for one in batches]), max(one.now for one in batches)
    return TrainingBatch(batch, labels, weights, positions, log_rates, undone, feedback, shown, ages, now)


def is_finite(batch: TrainingBatch) -> bool:
    """Whether all numbers can be learned from."""
    inputs, weights, undone = batch.batch, batch.weights, batch.undone
    if not (_are_within(weights, 0.0) and _are_within(undone, 0.0) and _are_within(inputs.rates, _LEAST_RATE)):
        return False
    numbers = inputs.dense.reshape(-1), inputs.history_ages.reshape(-1), inputs.profiles.weights, inputs.said.weights
    return all(_are_within(one, -_LARGEST) for one in numbers if one.size)


@njit(cache=True, nogil=True)
def _are_within(numbers: NDArray[np.float32], least: float) -> bool:
    """Whether all of float32[n] are at least so large and below `_LARGEST`; a NaN is not."""
    lowest, largest, within = np.float32(least), np.float32(_LARGEST), np.int32(0)
    for at in range(len(numbers)):
        # Counted without a branch, and in 32 bits, eight are compared at once.
        within += np.int32((numbers[at] >= lowest) & (numbers[at] < largest))
    return bool(within == len(numbers))
