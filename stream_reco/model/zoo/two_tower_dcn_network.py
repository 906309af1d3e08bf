"""The network of `two_tower_dcn` in PyTorch, and its loss: what autograd learns, and what quicker forms are held to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from stream_reco.model.features.names import FEATURES, LEARNED_FAMILIES
from stream_reco.model.inputs import Batch
from stream_reco.model.losses import list_loss, pointwise_loss, undone_loss
from stream_reco.model.rows import Rows
from stream_reco.model.tensor_batch import TensorBatch
from stream_reco.model.zoo.click_rate import ClickRate
from stream_reco.model.zoo.feature_layers import MOST_DEVIATIONS
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.standardise import Standardise
from stream_reco.model.zoo.two_tower_dcn_sizes import (
    EMPTY_HISTORY,
    MATCHES,
    NO_MATCH,
    POSITIONS,
    ROW_SCALE,
    feature_axes,
    kept_columns,
    target_columns,
    width_of,
)
from stream_reco.signals.settings import CONTEXT_FIELDS


class Cross(nn.Module):
    """One cross layer of DCN-v2 with a matrix of low rank, and a bounded function between its halves (their §3.5).

    Without it two layers are a polynomial of third degree, which is anything far from where it was fitted.
    """

    JOINED_LATER: ClassVar[tuple[str, ...]] = ("bounded",)

    bounded: Tensor
    """1, or 0 in networks of releases up to 0.2.0, which had no such function."""

    def __init__(self, width: int, rank: int) -> None:
        super().__init__()
        self.register_buffer("bounded", torch.ones(()))
        self.narrow = nn.Linear(width, rank, bias=False)
        self.widen = nn.Linear(rank, width)

    @property
    def is_bounded(self) -> bool:
        """Whether there is a function between the halves."""
        return self.bounded.item() > 0.0

    def forward(self, first: Tensor, x: Tensor) -> Tensor:
        """float32[n, width] from the network's input `first` and the layer before, both float32[n, width]."""
        narrow = self.narrow(x)
        result: Tensor = x + first * self.widen(torch.where(self.bounded > 0.0, torch.tanh(narrow), narrow))
        return result


class Ranker(nn.Module):
    """Log-odds that a user acts on a candidate; `TwoTowerDcn` holds the weights that it is placed on."""

    keep: Tensor

    def __init__(self, settings: TwoTowerDcnSettings, features: tuple[str, ...] = FEATURES) -> None:
        """`features` are the first columns of what it reads."""
        super().__init__()
        self.settings, self.features = settings, features
        self.feature_axes = feature_axes(settings)
        contexts = CONTEXT_FIELDS * settings.context_dim
        tower = settings.tower_dim
        self.user_tower = nn.Sequential(
            nn.Linear(tower + contexts + settings.user_dim, 2 * tower), nn.ReLU(), nn.Linear(2 * tower, tower)
        )
        # What all candidates of a request share is condensed once a request, not once a candidate.
        self.condense = nn.Linear(settings.user_dim + contexts, settings.request_dim)
        self.leads_to = nn.Linear(tower, tower, bias=False)
        width = width_of(settings, len(features))
        self.bottom_dim = settings.hidden // 2 + width
        self.standardise = Standardise(len(features))
        self.crosses = nn.ModuleList(Cross(width, settings.cross_rank) for _ in range(settings.cross_layers))
        self.deep = nn.Sequential(
            nn.Linear(width, settings.hidden),
            nn.ReLU(),
            nn.Linear(settings.hidden, settings.hidden // 2),
            nn.ReLU(),
            nn.Linear(settings.hidden // 2, 1),
        )
        self.top = nn.Linear(width, 1)
        self.position_bias = nn.Embedding(POSITIONS, 1)
        self.click_rate = ClickRate("shown" not in settings.without)
        self.register_buffer("keep", torch.from_numpy(kept_columns(settings, features)), persistent=False)
        self.uses = {family: family not in settings.without for family in LEARNED_FAMILIES}

    def user_vectors(self, batch: Batch, rows: Rows) -> Tensor:
        """float32[g, tower_dim]: where each request's user stands among the items."""
        ages = torch.from_numpy(batch.history_ages)
        weights = torch.where(ages >= 0, torch.exp(-ages), 0.0)
        weights = weights / (weights.sum(dim=1, keepdim=True) + EMPTY_HISTORY)
        pooled = (self._history(rows) * weights.unsqueeze(2)).sum(dim=1)
        if not self.uses["history"]:
            pooled = torch.zeros_like(pooled)
        result: Tensor = self.user_tower(torch.cat([pooled, self._contexts(batch, rows), self._users(rows)], dim=1))
        return result

    def forward(self, batch: Batch, rows: Rows, user_vectors: Tensor, positions: Tensor | None = None) -> Tensor:
        """float32[n]: log-odds of each candidate; `positions` int64[n] count from 1, 0 or None: unknown."""
        hidden, x, match = rows.once("shared", lambda: self.shared(batch, rows, user_vectors))
        rate = self.click_rate(torch.from_numpy(batch.dense)).unsqueeze(1)
        logits = self.top(x) + self.deep[-1](hidden) + match + rate
        # An unknown position has a bias as well: in training the other intercepts learn together with it.
        if positions is None:
            logits = logits + self.position_bias.weight[0]
        else:
            logits = logits + self.position_bias(positions.clamp(max=POSITIONS - 1))
        result: Tensor = logits.squeeze(1)
        return result

    def shared(self, batch: Batch, rows: Rows, user_vectors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Below the output: float32[n, hidden // 2] of the deep part, [n, width] of the crosses, the match [n, 1]."""
        owners = torch.from_numpy(batch.owners)
        candidates = rows["candidates"]
        item = candidates[:, : self.settings.item_dim] * (ROW_SCALE if self.uses["item"] else 0.0)
        target = self.targets(candidates)
        match = (user_vectors.index_select(0, owners) * target).sum(dim=1, keepdim=True)
        if not self.uses["match"]:
            match = torch.zeros_like(match)
        dense = self.standardise(torch.from_numpy(batch.dense)).clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS) * self.keep
        shared = self.condense(torch.cat([self._users(rows), self._contexts(batch, rows)], dim=1) * ROW_SCALE)
        matches = self._matches(batch, rows, target)
        first = torch.cat([dense, item, shared.index_select(0, owners), match, matches], dim=1)
        x = first
        for cross in self.crosses:
            x = cross(first, x)
        hidden = first
        for layer in list(self.deep)[:-1]:
            hidden = layer(hidden)
        return hidden, x, match

    def below(self, batch: Batch, rows: Rows, user_vectors: Tensor) -> Tensor:
        """float32[n, bottom_dim]: the deep part and the crosses side by side."""
        hidden, x, _ = rows.once("shared", lambda: self.shared(batch, rows, user_vectors))
        return torch.cat([hidden, x], dim=1)

    def _history(self, rows: Rows) -> Tensor:
        """float32[g, RECENT, tower_dim]: what each item of the histories says as a part of one."""
        return rows["history"][:, :, -self.settings.tower_dim :]

    def _matches(self, batch: Batch, rows: Rows, target: Tensor) -> Tensor:
        """float32[n, 3]: match of each candidate with the newest item of its history, with the best one, with all."""
        known = torch.from_numpy(batch.history_ages >= 0)
        leads_to = self.leads_to(self._history(rows))
        # Candidates of one request side by side, so that one product serves all of them.
        longest = int(np.bincount(batch.owners).max())
        places = torch.from_numpy(np.arange(len(batch.owners)) - batch.starts[batch.owners] + batch.owners * longest)
        padded = target.new_zeros(len(leads_to) * longest, target.shape[1]).index_copy(0, places, target)
        products = torch.bmm(padded.view(len(leads_to), longest, -1), leads_to.transpose(1, 2))
        matches = torch.where(known.unsqueeze(1), products, NO_MATCH)
        if not self.uses["history"]:
            matches = torch.full_like(matches, NO_MATCH)
        summary = torch.stack([matches[:, :, 0], matches.max(dim=2).values, matches.logsumexp(dim=2)], dim=2)
        return summary.view(-1, MATCHES).index_select(0, places)

    def targets(self, item_rows: Tensor) -> Tensor:
        """float32[n, tower_dim]: the items' side of the towers, from whole item rows float32[n, dim]."""
        return item_rows[:, target_columns(self.settings)]

    def _contexts(self, batch: Batch, rows: Rows) -> Tensor:
        given = torch.from_numpy((batch.context_keys != 0).astype("float32")).unsqueeze(2)
        if not self.uses["context_rows"]:
            given = torch.zeros_like(given)
        return (rows["context"] * given).flatten(start_dim=1)

    def _users(self, rows: Rows) -> Tensor:
        return rows["user"] if self.uses["user"] else torch.zeros_like(rows["user"])

    def loss(self, batch: TensorBatch, rows: Rows, users: Tensor) -> Tensor:
        """Softmax over each request's candidates, logistic loss of each, and the towers' softmax over the batch."""
        odds = self(batch.batch, rows, users, batch.positions)
        batch = batch.corrected(odds)
        logits = odds - batch.log_rates
        pointwise, sampled = pointwise_loss(batch, logits), batch.sampled
        listwise = (list_loss(batch.batch, logits) * batch.weights)[sampled].sum()
        # Next to a list the pointwise loss only calibrates; where there is no list it is all there is.
        alone = pointwise[~sampled[batch.owners]].sum()
        share = self.settings.odds_weight
        loss = listwise + share * pointwise.sum() + (1.0 - share) * alone - undone_loss(batch, logits)
        return loss + self.settings.tower_weight * self._tower_loss(batch, rows, users)

    def _tower_loss(self, batch: TensorBatch, rows: Rows, users: Tensor) -> Tensor:
        """Softmax of each positive against all candidates of the batch."""
        positive = batch.positive
        if not bool(positive.any()):
            return torch.zeros(())
        targets = self.targets(rows["candidates"])
        losses = functional.cross_entropy(users @ targets.T, batch.first, reduction="none")
        return (losses * batch.weights)[positive].sum()
