"""Rolling quality of what is served, for dashboards: predicted first, learned from after.

The version that predicts is the one that is being served, in one process; in a trainer over Kafka it is the
one that it has published last.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_reco.measure.binary import RollingBinaryMetrics
from stream_reco.metrics import PROGRESSIVE

MOST_MEASURED = 4096
"""Candidates that a server's own version is asked of between two publications: some 7 ms of a second's learning."""


class ProgressiveQuality:
    """Observes a learner and keeps the gauges of AUC, log loss and calibration over the last `window` examples.

    Ranks of a whole window cost a sort, so the gauges are set after every `every` examples only.
    """

    def __init__(self, window: int = 20_000, every: int = 10_000) -> None:
        self._recent = RollingBinaryMetrics(window)
        self._every = every
        self._fresh = 0

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Count float32[n] labels, probabilities and weights; `sampled` negatives count like those that were shown."""
        del sampled
        self._recent.add(predictions, labels, weights)
        self._fresh += len(labels)
        if self._fresh >= self._every:
            self._fresh = 0
            for name, value in self._recent.metrics().as_dict().items():
                if value is not None:
                    PROGRESSIVE.labels(name).set(value)
