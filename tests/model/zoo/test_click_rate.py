"""The rate of an item against that of all, by counts that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.model.features.names import FEATURES
from stream_reco.model.weights import load_weights, weights_of
from stream_reco.model.zoo.click_rate import ClickRate
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn
from stream_reco.model.zoo.two_tower_dcn_network import Ranker

_SHOWN = [FEATURES.index("shown_6h"), FEATURES.index("shown_7d")]
_ACTED = [FEATURES.index("decayed_6h"), FEATURES.index("decayed_7d")]


def counted(acted: NDArray[np.float64], shown: NDArray[np.float64]) -> torch.Tensor:
    """Features of items with the same counts under both half-lives."""
    dense = np.zeros((len(shown), len(FEATURES)), dtype=np.float32)
    dense[:, _SHOWN] = np.log1p(shown)[:, None]
    dense[:, _ACTED] = np.log1p(acted)[:, None]
    return torch.from_numpy(dense)


def test_it_shrinks_towards_the_rate_of_all_as_a_gamma_prior_of_four_actions_does() -> None:
    """What is said of items whose rates are drawn is nearer to the truth than their bare rates, and unbiased."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(4.0, 0.04 / 4.0, 20_000)
    shown = rng.integers(1, 200, len(rates)).astype(np.float64)
    acted = rng.poisson(rates * shown).astype(np.float64)
    module = ClickRate()
    for part in np.array_split(np.arange(len(rates)), 200):
        module(counted(acted[part], shown[part]))
    module.eval()
    odds = module(counted(acted, shown)).numpy()
    estimates = 0.04 * np.exp(odds)
    assert np.square(estimates - rates).mean() < 0.5 * np.square(acted / shown - rates).mean()
    for chosen in (odds < -0.2, np.abs(odds) < 0.1, odds > 0.2):
        assert estimates[chosen].mean() == pytest.approx(rates[chosen].mean(), rel=0.06)


def test_it_says_nothing_of_what_was_not_shown_and_bears_damaged_counts() -> None:
    module = ClickRate()
    assert module(counted(np.array([5.0, 0.0]), np.zeros(2))).tolist() == [0.0, 0.0]
    assert module.batches == 0
    damaged = torch.full((3, len(FEATURES)), 9e5)
    damaged[1] = -9e5
    damaged[2, _ACTED] = 0.0
    assert torch.isfinite(module(damaged)).all()
    assert torch.isfinite(module(counted(np.array([3.0]), np.array([60.0])))).all()


def test_more_actions_are_better_and_more_impressions_without_any_worse() -> None:
    module = ClickRate().eval()
    odds = module(counted(np.array([0.0, 0.0, 1.0, 2.0, 90.0]), np.array([200.0, 20.0, 20.0, 20.0, 20.0]))).tolist()
    assert odds == sorted(odds)
    assert module(counted(np.array([20.0]), np.array([20.0]))).item() == pytest.approx(odds[-1]), "once an impression"


def test_a_new_model_orders_by_it_and_one_of_an_earlier_release_does_not() -> None:
    model = TwoTowerDcn(TwoTowerDcnSettings())
    assert model.network.click_rate.voice == 1
    assert model.network.top.weight[0].abs().max() <= 0.5, "the weight of `neighbours_all` is the largest"
    earlier = {name: value for name, value in weights_of(model.network).items() if not name.startswith("click_rate.")}
    network = Ranker(TwoTowerDcnSettings())
    load_weights(network, earlier)
    assert not network.click_rate(counted(np.array([9.0]), np.array([20.0]))).any()


def test_without_the_family_shown_it_is_silent() -> None:
    network = Ranker(TwoTowerDcnSettings(without=("shown",)))
    assert not network.click_rate(counted(np.array([9.0]), np.array([20.0]))).any()
