"""The way back from the loss of a batch to weights and rows: what autograd does with `TwoTowerDcn.loss`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from stream_reco.model.dense_weights import DenseWeights
from stream_reco.model.features.names import FEATURES
from stream_reco.model.fused import backward_kernels as kernels
from stream_reco.model.fused.forward import CandidateLayers, ForwardPass, RequestLayers
from stream_reco.model.fused.gathering import Buffers, Floats, ReadBatch
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_sizes import ROW_SCALE


class Step(NamedTuple):
    """A batch that was run forward."""

    batch: TrainingBatch
    """Its weights are corrected."""
    read: ReadBatch
    requests: RequestLayers
    candidates: CandidateLayers
    odds: Floats
    """float32[n]"""
    scale: float
    """What the loss is multiplied by."""
    gradients: Mapping[str, Floats]
    """Of the weights by name, to overwrite."""


class Slopes(NamedTuple):
    """Derivatives of the loss by what is computed of candidates and requests."""

    odds: Floats
    """float32[n]"""
    targets: Floats
    """float32[n, tower_dim], of the towers' loss alone."""
    vectors: Floats
    """float32[g, tower_dim], of all that is added so far."""


class BackwardPass:
    """Goes back through a network."""

    def __init__(
        self, settings: TwoTowerDcnSettings, weights: DenseWeights, forward: ForwardPass, buffers: Buffers
    ) -> None:
        self._settings, self._weights, self._forward = settings, weights.learned, forward
        self._take, self._zeros, self._features = buffers.take, buffers.zeros, len(FEATURES)

    def run(self, step: Step) -> tuple[float, list[Floats]]:
        """The loss, and the gradients of the distinct rows of items, users and contexts."""
        loss, slopes = self._losses(step)
        tail = self._to_first(step, slopes.odds)
        rows = [self._zeros(f"rows.{one.table}", *one.rows.shape) for one in step.read.tables]
        self._to_rows(step, slopes, tail, rows)
        return loss, rows

    def _losses(self, step: Step) -> tuple[float, Slopes]:
        batch, bounds, settings = step.batch, step.read.bounds, self._settings
        examples = batch.labels, batch.weights, batch.undone
        logits = step.odds - batch.log_rates
        odds = self._take("slopes", 1, len(logits))[0]
        loss = kernels.slope_losses(logits, examples, bounds, settings.odds_weight, odds)
        odds *= np.float32(step.scale)
        vectors, targets = step.requests.vectors, step.candidates.targets
        shares = np.matmul(vectors, targets.T, out=self._take("of_batch", len(vectors), len(targets)))
        shares -= shares.max(axis=1, keepdims=True)
        logs = shares[np.arange(len(shares)), batch.first]
        np.exp(shares, out=shares)
        sums = shares.sum(axis=1)
        logs -= np.log(sums)
        shares /= sums[:, None]
        weight = settings.tower_weight * step.scale
        towers = kernels.slope_towers((shares, logs), examples, bounds, weight)
        of_targets = np.matmul(shares.T, vectors, out=self._take("of_targets", *targets.shape))
        return loss + towers / step.scale, Slopes(odds, of_targets, shares @ targets)

    def _to_first(self, step: Step, slopes: Floats) -> Floats:
        """float32[n, width − features]: slopes of the first layer, but for features, which nothing is behind."""
        layers, gradients = step.candidates, step.gradients
        x = layers.layers[-1]
        np.matmul(slopes, x, out=gradients["top.weight"][0])
        gradients["top.bias"][0] = gradients["deep.4.bias"][0] = slopes.sum()
        gradients["position_bias.weight"][:] = 0.0
        kernels.add_at(step.batch.positions, slopes, gradients["position_bias.weight"])
        tail = self._zeros("tail", len(x), x.shape[1] - self._features)
        self._through_crosses(step, slopes, tail)
        self._through_deep(step, slopes, tail)
        return tail

    def _through_deep(self, step: Step, slopes: Floats, tail: Floats) -> None:
        weights, gradients, (one, two) = self._weights, step.gradients, step.candidates.hidden
        np.matmul(slopes, two, out=gradients["deep.4.weight"][0])
        above = self._take("of_two", *two.shape)
        kernels.outer(slopes, weights["deep.4.weight"][0], above)
        kernels.back_from_relu(above, two, gradients["deep.2.bias"])
        np.matmul(above.T, one, out=gradients["deep.2.weight"])
        below = np.matmul(above, weights["deep.2.weight"], out=self._take("of_one", *one.shape))
        kernels.back_from_relu(below, one, gradients["deep.0.bias"])
        np.matmul(below.T, step.candidates.layers[0], out=gradients["deep.0.weight"])
        tail += np.matmul(below, weights["deep.0.weight"][:, self._features :], out=self._take("add", *tail.shape))

    def _through_crosses(self, step: Step, slopes: Floats, tail: Floats) -> None:
        weights, gradients, layers = self._weights, step.gradients, step.candidates
        first = layers.layers[0]
        above, of_wide = self._take("of_x", *first.shape), self._take("of_wide", *first.shape)
        kernels.outer(slopes, weights["top.weight"][0], above)
        for number in reversed(range(len(layers.wide))):
            narrow, name = layers.narrow[number], f"crosses.{number}"
            sums, values = gradients[f"{name}.widen.bias"], (first, layers.wide[number])
            kernels.back_from_cross(above, values, sums, self._features, (of_wide, tail))
            np.matmul(of_wide.T, narrow, out=gradients[f"{name}.widen.weight"])
            below = np.matmul(of_wide, weights[f"{name}.widen.weight"], out=self._take("of_narrow", *narrow.shape))
            if self._forward.is_bounded(number):
                kernels.back_from_tanh(below, narrow)
            np.matmul(below.T, layers.layers[number], out=gradients[f"{name}.narrow.weight"])
            narrows = weights[f"{name}.narrow.weight"]
            if number:
                above += np.matmul(below, narrows, out=of_wide)
            else:
                tail += np.matmul(below, narrows[:, self._features :], out=self._take("add", *tail.shape))
        kernels.add_tail(above, self._features, tail)

    def _to_rows(self, step: Step, slopes: Slopes, tail: Floats, rows: list[Floats]) -> None:
        requests, layers, read, gradients = step.requests, step.candidates, step.read, step.gradients
        ages, scale = read.batch.history_ages, ROW_SCALE
        of_leads = self._zeros("of_leads", *requests.leads.shape)
        of_condensed = np.zeros_like(requests.condensed)
        kernels.back_to_candidates(
            (tail, slopes.odds, slopes.targets),
            (layers.targets, layers.shares, layers.best_at, requests.vectors, requests.leads),
            (read.items.places, read.bounds),
            ages,
            scale,
            (rows[0], slopes.vectors, of_leads, of_condensed),
        )
        np.matmul(of_leads.T, requests.history, out=gradients["leads_to.weight"])
        of_history = np.matmul(
            of_leads, self._weights["leads_to.weight"], out=self._take("of_history", *requests.history.shape)
        )
        of_tower_in = self._through_tower(step, slopes.vectors)
        of_request_in = self._through(step, "condense", of_condensed, requests.request_in)
        kernels.back_to_requests(
            (of_tower_in, of_request_in, of_history),
            (requests.shares, ages, read.batch.context_keys),
            read.places,
            scale,
            (rows[0], rows[1], rows[2]),
        )

    def _through_tower(self, step: Step, slopes: Floats) -> Floats:
        hidden = step.requests.tower_hidden
        below = self._through(step, "user_tower.2", slopes, hidden)
        below *= hidden > 0.0
        return self._through(step, "user_tower.0", below, step.requests.tower_in)

    def _through(self, step: Step, name: str, slopes: Floats, x: Floats) -> Floats:
        """Back through a small linear layer, of requests."""
        kernels.sum_columns(slopes, step.gradients[f"{name}.bias"])
        np.matmul(slopes.T, x, out=step.gradients[f"{name}.weight"])
        below: Floats = slopes @ self._weights[f"{name}.weight"]
        return below
