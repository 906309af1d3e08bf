"""What a model predicts of a batch that is about to be learned from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.lookup import Lookup
from stream_reco.model.served import ServedModel
from stream_reco.model.training_batch import TrainingBatch


def predictions(
    model: ServedModel,
    batch: TrainingBatch,
    tables: Mapping[str, Lookup],
    shift: float = 0.0,
    priors: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """float32[n]: probabilities that a served model gives the candidates of a batch, positions unknown.

    `shift`: added to the log-odds of impressions; `priors` float32[10]: of what content says, None: nothing. Where
    negatives were sampled the probabilities are those of the labels in the sample, to compare with them.
    """
    requests = model.requests(batch.batch, tables)
    logits = model.score(requests, batch.batch, tables).log_odds - batch.log_rates
    logits += batch.shown[batch.batch.owners] * np.float32(shift)
    said = None if priors is None else content_log_odds(batch.batch, tables, priors)
    if said is not None:
        logits += said.means
    return sigmoid(logits)
