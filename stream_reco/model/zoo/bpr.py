"""Matrix factorisation that ranks by pairs: Bayesian personalised ranking (Rendle et al., UAI 2009, §4.2, BPR-MF).

An item acted on should score higher than sampled ones: −log σ(ŝ_ui − ŝ_uj) with
ŝ_ui = ⟨p_u, q_i⟩ + b_i. Differences of scores say nothing of probabilities, so a scale and an offset are learned with
them (Platt 1999): served scores are log-odds like those of every model.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from stream_reco.model.fields import Field, TableSpec
from stream_reco.model.inputs import Batch
from stream_reco.model.losses import pointwise_loss, undone_loss
from stream_reco.model.rows import Rows
from stream_reco.model.spec import PRIOR_LOG_ODDS
from stream_reco.model.tensor_batch import TensorBatch
from stream_reco.model.zoo.bpr_served import NEEDS, PACE
from stream_reco.model.zoo.settings import BprSettings


class Calibration(nn.Module):
    """From scores to log-odds: a positive scale, and an offset."""

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def forward(self, scores: Tensor) -> Tensor:
        """float32[n] log-odds of float32[n] scores."""
        return (PACE * self.log_scale).exp() * scores + PACE * self.offset + PRIOR_LOG_ODDS


class Bpr:
    """A row of "item" is a vector and a bias, a row of "user" a vector."""

    name: ClassVar[str] = "bpr"
    Settings: ClassVar[type[BprSettings]] = BprSettings
    item_table = "item"

    def __init__(self, settings: BprSettings) -> None:
        self.settings = settings
        self.needs = NEEDS
        self.vector_dim = settings.dim + 1
        self.tables = (TableSpec("item", settings.dim + 1), TableSpec("user", settings.dim, per_user=True))
        self.fields = (
            Field("candidates", "item", lambda b: b.item_keys, lambda t: t.batch.item_keys[t.batch.starts], True),
            Field("user", "user", lambda b: b.user_keys, lambda t: t.batch.user_keys),
        )
        self.network = Calibration()

    def score(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[n]: log-odds of each candidate."""
        result: Tensor = self.network(self._scores(batch, rows))
        return result

    def user_vectors(self, batch: Batch, rows: Rows) -> Tensor:  # noqa: ARG002 - part of the interface
        """float32[g, dim + 1]: the user's vector, and a one that takes an item's bias in."""
        users = rows["user"]
        return torch.cat([users, users.new_ones(len(users), 1)], dim=1)

    def item_vectors(self, item_rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32[n, dim + 1]: rows as they are."""
        return item_rows

    def loss(self, batch: TensorBatch, rows: Rows) -> Tensor:
        """Pairs where negatives were sampled; elsewhere the logistic loss, which the scores then learn from too."""
        scores = self._scores(batch.batch, rows)
        sampled, owners = batch.sampled, batch.owners
        # Where there are pairs the calibration learns from the scores, and the scores from the pairs.
        odds = self.network(torch.where(sampled[owners], scores.detach(), scores))
        batch = batch.corrected(odds)
        logits = odds - batch.log_rates
        loss = pointwise_loss(batch, logits).sum() - undone_loss(batch, logits) + self._pairs(batch, scores)
        lengths = rows["candidates"].square().sum() + rows["user"].square().sum()
        return loss + self.settings.regularisation * lengths

    def _scores(self, batch: Batch, rows: Rows) -> Tensor:
        users = self.user_vectors(batch, rows).index_select(0, torch.from_numpy(batch.owners))
        return (users * rows["candidates"]).sum(dim=1)

    def _pairs(self, batch: TensorBatch, scores: Tensor) -> Tensor:
        """For each positive the mean over its negatives, so that its weight does not depend on their number."""
        owners = batch.owners
        negative = torch.ones(len(owners), dtype=torch.bool)
        negative[batch.first] = False
        losses = -functional.logsigmoid(scores[batch.first][owners] - scores)[negative]
        counts = torch.from_numpy(np.bincount(batch.batch.owners) - 1)
        shares = (batch.weights / counts.clamp(min=1))[owners][negative]
        return (losses * shares).sum()
