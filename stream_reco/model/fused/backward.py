"""The way back from the loss of a batch to weights and rows: what autograd does with `TwoTowerDcn.loss`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from stream_reco.model.fused import backward_kernels as kernels
from stream_reco.model.fused.forward import CandidateLayers, RequestLayers
from stream_reco.model.fused.gathering import Buffers, ReadBatch
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.two_tower_dcn import Ranker
from stream_reco.model.zoo.two_tower_dcn_sizes import ROW_SCALE


class Step(NamedTuple):
    """A batch that was run forward."""

    batch: TrainingBatch
    """Its weights are corrected."""
    read: ReadBatch
    requests: RequestLayers
    candidates: CandidateLayers
    odds: Tensor
    """float32[n]"""
    scale: float
    """What the loss is multiplied by."""
    gradients: Mapping[str, Tensor]
    """Of the weights by name, to overwrite."""


class Slopes(NamedTuple):
    """Derivatives of the loss by what is computed of candidates and requests."""

    odds: Tensor
    """float32[n]"""
    targets: Tensor
    """float32[n, tower_dim], of the towers' loss alone."""
    vectors: Tensor
    """float32[g, tower_dim], of all that is added so far."""


class BackwardPass:
    """Goes back through a network."""

    def __init__(self, network: Ranker, buffers: Buffers) -> None:
        self._network, self._take, self._zeros = network, buffers.take, buffers.zeros
        self._settings, self._features = network.settings, len(network.features)
        self._weights: Mapping[str, Tensor] = {name: value.detach() for name, value in network.named_parameters()}

    def run(self, step: Step) -> tuple[float, list[Tensor]]:
        """The loss, and the gradients of the distinct rows of items, users and contexts."""
        loss, slopes = self._losses(step)
        tail = self._to_first(step, slopes.odds)
        rows = [self._zeros(f"rows.{one.table}", *one.rows.shape) for one in step.read.tables]
        self._to_rows(step, slopes, tail, rows)
        return loss, rows

    def _losses(self, step: Step) -> tuple[float, Slopes]:
        batch, bounds, settings = step.batch, step.read.bounds, self._settings
        examples = batch.labels.numpy(), batch.weights.numpy(), batch.undone.numpy()
        logits = step.odds - batch.log_rates
        odds = self._take("slopes", 1, len(logits))[0]
        loss = kernels.slope_losses(logits.numpy(), examples, bounds, settings.odds_weight, odds.numpy())
        odds *= step.scale
        vectors, targets = step.requests.vectors, step.candidates.targets
        shares = torch.log_softmax(vectors @ targets.t(), dim=1)
        logs = shares.gather(1, batch.first[:, None])[:, 0].numpy()
        shares.exp_()
        weight = settings.tower_weight * step.scale
        towers = kernels.slope_towers((shares.numpy(), logs), examples, bounds, weight)
        of_targets = torch.mm(shares.t(), vectors, out=self._take("of_targets", *targets.shape))
        return loss + towers / step.scale, Slopes(odds, of_targets, shares @ targets)

    def _to_first(self, step: Step, slopes: Tensor) -> Tensor:
        """float32[n, width − features]: slopes of the first layer, but for features, which nothing is behind."""
        layers, gradients = step.candidates, step.gradients
        x = layers.layers[-1]
        torch.mv(x.t(), slopes, out=gradients["top.weight"][0])
        torch.sum(slopes, dim=0, keepdim=True, out=gradients["top.bias"])
        gradients["deep.4.bias"].copy_(gradients["top.bias"])
        places = step.batch.positions.clamp(max=len(gradients["position_bias.weight"]) - 1)
        gradients["position_bias.weight"].zero_()[:, 0].index_add_(0, places, slopes)
        tail = self._zeros("tail", len(x), x.shape[1] - self._features)
        self._through_crosses(step, slopes, tail)
        self._through_deep(step, slopes, tail)
        return tail

    def _through_deep(self, step: Step, slopes: Tensor, tail: Tensor) -> None:
        weights, gradients, (one, two) = self._weights, step.gradients, step.candidates.hidden
        torch.mv(two.t(), slopes, out=gradients["deep.4.weight"][0])
        above = self._take("of_two", *two.shape)
        kernels.outer(slopes.numpy(), weights["deep.4.weight"][0].numpy(), above.numpy())
        kernels.back_from_relu(above.numpy(), two.numpy(), gradients["deep.2.bias"].numpy())
        torch.mm(above.t(), one, out=gradients["deep.2.weight"])
        below = torch.mm(above, weights["deep.2.weight"], out=self._take("of_one", *one.shape))
        kernels.back_from_relu(below.numpy(), one.numpy(), gradients["deep.0.bias"].numpy())
        torch.mm(below.t(), step.candidates.layers[0], out=gradients["deep.0.weight"])
        tail.addmm_(below, weights["deep.0.weight"][:, self._features :])

    def _through_crosses(self, step: Step, slopes: Tensor, tail: Tensor) -> None:
        weights, gradients, layers = self._weights, step.gradients, step.candidates
        first = layers.layers[0]
        above, of_wide = self._take("of_x", *first.shape), self._take("of_wide", *first.shape)
        kernels.outer(slopes.numpy(), weights["top.weight"][0].numpy(), above.numpy())
        for number in reversed(range(len(layers.wide))):
            narrow, name = layers.narrow[number], f"crosses.{number}"
            sums, values = gradients[f"{name}.widen.bias"], (first.numpy(), layers.wide[number].numpy())
            out = of_wide.numpy(), tail.numpy()
            kernels.back_from_cross(above.numpy(), values, sums.numpy(), self._features, out)
            torch.mm(of_wide.t(), narrow, out=gradients[f"{name}.widen.weight"])
            below = torch.mm(of_wide, weights[f"{name}.widen.weight"], out=self._take("of_narrow", *narrow.shape))
            if self._network.crosses[number].is_bounded:
                kernels.back_from_tanh(below.numpy(), narrow.numpy())
            torch.mm(below.t(), layers.layers[number], out=gradients[f"{name}.narrow.weight"])
            if number:
                above.addmm_(below, weights[f"{name}.narrow.weight"])
            else:
                tail.addmm_(below, weights[f"{name}.narrow.weight"][:, self._features :])
        tail += above[:, self._features :]

    def _to_rows(self, step: Step, slopes: Slopes, tail: Tensor, rows: list[Tensor]) -> None:
        requests, layers, read, gradients = step.requests, step.candidates, step.read, step.gradients
        ages, scale = read.batch.history_ages, ROW_SCALE
        of_leads = self._zeros("of_leads", *requests.leads.shape)
        of_condensed = torch.zeros_like(requests.condensed)
        values = layers.targets, layers.shares, requests.vectors, requests.leads
        targets, shares, vectors, leads = (one.numpy() for one in values)
        kernels.back_to_candidates(
            (tail.numpy(), slopes.odds.numpy(), slopes.targets.numpy()),
            (targets, shares, layers.best_at, vectors, leads),
            (read.items.places, read.bounds),
            ages,
            scale,
            (rows[0].numpy(), slopes.vectors.numpy(), of_leads.numpy(), of_condensed.numpy()),
        )
        torch.mm(of_leads.t(), requests.history, out=gradients["leads_to.weight"])
        of_history = torch.mm(of_leads, self._weights["leads_to.weight"])
        of_tower_in = self._through_tower(step, slopes.vectors)
        of_request_in = self._through(step, "condense", of_condensed, requests.request_in)
        kernels.back_to_requests(
            (of_tower_in.numpy(), of_request_in.numpy(), of_history.numpy()),
            (requests.shares.numpy(), ages, read.batch.context_keys),
            read.places,
            scale,
            (rows[0].numpy(), rows[1].numpy(), rows[2].numpy()),
        )

    def _through_tower(self, step: Step, slopes: Tensor) -> Tensor:
        hidden = step.requests.tower_hidden
        below = self._through(step, "user_tower.2", slopes, hidden)
        below *= hidden > 0.0
        return self._through(step, "user_tower.0", below, step.requests.tower_in)

    def _through(self, step: Step, name: str, slopes: Tensor, x: Tensor) -> Tensor:
        """Back through a small linear layer, of requests."""
        torch.sum(slopes, dim=0, out=step.gradients[f"{name}.bias"])
        torch.mm(slopes.t(), x, out=step.gradients[f"{name}.weight"])
        return torch.mm(slopes, self._weights[f"{name}.weight"])
