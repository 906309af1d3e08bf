"""Generalised linear mixed model: coefficients for everybody, for each user and for each item.

log-odds = ⟨w + α_u + β_i, x⟩ with standardised features x and a one (GLMix; Zhang et al., KDD 2016, §3). All
coefficients are rows of tables: one for everybody, one a user, one an item. They are drawn towards zero, so that a
user's own coefficients matter as far as there is evidence for them (a Gaussian prior; §3.1 there).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stream_reco.embedding import Adagrad
from stream_reco.model.fields import FIRST_ACCUMULATOR, Field, TableSpec
from stream_reco.model.inputs import Batch
from stream_reco.model.losses import pointwise_loss, undone_loss
from stream_reco.model.rows import Rows
from stream_reco.model.spec import PRIOR_LOG_ODDS
from stream_reco.model.tensor_batch import TensorBatch
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS
from stream_reco.model.zoo.glmix_served import EVERYBODY, NEEDS, READ
from stream_reco.model.zoo.settings import GlmixSettings
from stream_reco.model.zoo.standardise import Standardise


class Glmix:
    """Each row holds a coefficient for each feature, and an intercept."""

    name: ClassVar[str] = "glmix"
    Settings: ClassVar[type[GlmixSettings]] = GlmixSettings

    def __init__(self, settings: GlmixSettings) -> None:
        self.settings = settings
        self.needs = NEEDS
        optimizer = Adagrad(lr=settings.learning_rate, initial_accumulator_value=FIRST_ACCUMULATOR)
        coefficients = len(READ) + 1
        self.tables = tuple(
            TableSpec(name, coefficients, optimizer, per_user=name == "user", init_scale=0.0)
            for name in ("everybody", "user", "item")
        )
        self.fields = (
            Field("everybody", "everybody", _everybody, lambda t: _everybody(t.batch)),
            Field("user", "user", lambda b: b.user_keys, lambda t: t.batch.user_keys),
            Field("item", "item", lambda b: b.item_keys, lambda t: t.batch.item_keys[t.batch.starts], True),
        )
        self.network = Standardise(len(READ))

    def score(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n]: log-odds of each candidate."""
        features = self.network(torch.from_numpy(batch.dense[:, : len(READ)])).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)
        x = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
        shared = (rows["everybody"] + rows["user"]).index_select(0, torch.from_numpy(batch.owners))
        return ((shared + rows["item"]) * x).sum(dim=1) + PRIOR_LOG_ODDS

    def loss(self, batch: TensorBatch, rows: Rows) -> Tensor:
        """Logistic loss, and the squares of what is a user's or an item's own."""
        odds = self.score(batch.batch, rows)
        batch = batch.corrected(odds)
        logits = odds - batch.log_rates
        own = rows["user"].square().sum() + rows["item"].square().sum()
        loss = pointwise_loss(batch, logits).sum() - undone_loss(batch, logits)
        return loss + self.settings.regularisation * own


def _everybody(batch: Batch) -> NDArray[np.int64]:
    return np.full(len(batch.user_keys), EVERYBODY, dtype=np.int64)
