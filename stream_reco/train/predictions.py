"""What a model predicts of a batch that is about to be learned from."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from stream_reco.model.content.log_odds import content_log_odds
from stream_reco.model.rows import Lookup
from stream_reco.model.spec import Model
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.trainer import log_odds_of


def predictions(
    model: Model,
    batch: TrainingBatch,
    tables: Mapping[str, Lookup],
    shift: float = 0.0,
    priors: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """float32[n]: probabilities that a model gives the candidates of a batch, positions unknown.

    `shift`: added to the log-odds of impressions; `priors` float32[10]: of what content says, None: nothing. Where
    negatives were sampled the probabilities are those of the labels in the sample, to compare with them.
    """
    logits = log_odds_of(model, batch.batch, tables) - batch.log_rates
    logits += torch.from_numpy(batch.shown[batch.batch.owners]) * shift
    said = None if priors is None else content_log_odds(batch.batch, tables, priors)
    if said is not None:
        logits += torch.from_numpy(said.means)
    result: NDArray[np.float32] = torch.sigmoid(logits).numpy()
    return result
