"""Heads as they travel, and what they say of a candidate."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.model.heads import HEADS, MOST_KINDS, Heads, bottom_dim_of, without_heads
from stream_reco.model.registry import MODELS
from stream_reco.model.rows import gather
from stream_reco.model.served_by_torch import bottom_of
from stream_reco.model.served_heads import LARGEST_LOG_ODDS, TOWER, FollowedModel, ServedHeads
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import weights_of
from stream_reco.train.batch import training_batch
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import SETTINGS, two_groups

DIM = 3
ACTED = np.array([0.1, 0.5], dtype=np.float32)


def heads_of(*kinds: str, valued: tuple[int, ...] = (), bottom_dim: int = DIM) -> Heads:
    """With weights that are not those that all begin with."""
    heads = Heads(bottom_dim, 4)
    heads.kinds = kinds
    heads.valued[list(valued)] = True
    heads.intercepts = np.linspace(-2.0, 1.0, HEADS)
    heads.scales = np.linspace(1.0, 9.0, MOST_KINDS)
    heads.towers.weights["out"][:] = np.random.default_rng(4).normal(size=(HEADS, TOWER))
    return heads


def _drawn(*shape: int) -> NDArray[np.float32]:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("intercept", [0.0, 2.0 * LARGEST_LOG_ODDS])
def test_gradients_are_those_of_autograd(intercept: float) -> None:
    heads = heads_of("click", "buy", "save", valued=(1,))
    heads.intercepts[1] = intercept  # beyond what log-odds may be nothing is learned
    used, bottom, rows, slopes = torch.from_numpy(heads.used), _drawn(5, DIM), _drawn(5, HEADS), _drawn(5, 4)
    weights = {name: torch.tensor(one, requires_grad=True) for name, one in heads.towers.weights.learned.items()}
    leaf = torch.tensor(rows, requires_grad=True)
    narrow = weights["narrow.weight"].view(HEADS, TOWER, -1)[used].flatten(end_dim=1)
    hidden = torch.relu(torch.from_numpy(bottom) @ narrow.T + weights["narrow.bias"].view(HEADS, TOWER)[used].flatten())
    said = (hidden.view(5, 4, TOWER) * weights["out"][used]).sum(dim=2) + leaf[:, used]
    said = (said + torch.from_numpy(heads.intercepts[heads.used]).float()).clamp(-LARGEST_LOG_ODDS, LARGEST_LOG_ODDS)
    (said * torch.from_numpy(slopes)).sum().backward()  # type: ignore[no-untyped-call]
    odds = heads.forward(bottom, rows)
    gradients = {name: np.full_like(one, 9.0) for name, one in heads.towers.weights.learned.items()}
    of_rows = heads.learn(bottom, odds, slopes, gradients)
    np.testing.assert_allclose(odds.values, said.detach().numpy(), rtol=1e-5, atol=1e-5)
    for mine, reference in [(of_rows, leaf), *((gradients[name], one) for name, one in weights.items())]:
        assert reference.grad is not None
        np.testing.assert_allclose(mine, reference.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_publication_says_what_the_trainer_does() -> None:
    heads, replica = heads_of("click", "buy", "játék", valued=(1,)), ServedHeads(DIM)
    FollowedModel(ModelSettings().build_served(), replica).apply(
        weights_of(ModelSettings().build().network) | heads.parts()
    )
    bottom, rows = _drawn(2, DIM), _drawn(2, HEADS)
    assert replica.names == ["click", "buy", "játék", "buy.value"]
    said = heads.predict(ACTED, heads.log_odds(bottom, rows))
    again = replica.predict(ACTED, replica.log_odds(bottom, rows))
    assert (said.kinds, said.valued) == (again.kinds, again.valued)
    np.testing.assert_allclose(again.probabilities, said.probabilities, rtol=1e-5)
    np.testing.assert_allclose(again.values, said.values, rtol=1e-5)


def test_probabilities_are_products_and_values_are_odds_of_the_scale() -> None:
    heads = heads_of("click", "buy", valued=(1,))
    bottom, rows = _drawn(2, DIM), _drawn(2, HEADS)
    odds = heads.log_odds(bottom, rows)
    said = heads.predict(ACTED, odds)
    for at in range(2):
        for slot in range(2):
            expected = ACTED[at] / (1.0 + math.exp(-float(odds[at, slot])))
            assert said.probabilities[at, slot] == pytest.approx(expected, rel=1e-5)
        assert said.values[at, 0] == pytest.approx(ACTED[at] * heads.scales[1] * math.exp(float(odds[at, 2])), rel=1e-5)
    assert said.valued == ("buy",)
    assert set(said.columns()) == {"click", "buy", "buy.value"}


def test_of_one_kind_the_probability_is_that_of_any_action() -> None:
    heads = heads_of("click")
    assert not heads.active
    assert list(heads.parts()) == ["heads.kinds"]
    np.testing.assert_array_equal(heads.predict(ACTED, None).probabilities[:, 0], ACTED)
    valued = heads_of("play", valued=(0,))
    assert valued.active
    said = valued.predict(ACTED, valued.log_odds(_drawn(2, DIM), np.zeros((2, HEADS), np.float32)))
    np.testing.assert_array_equal(said.probabilities[:, 0], ACTED)


def test_publications_of_earlier_releases_have_no_kinds() -> None:
    model = ModelSettings().build()
    heads = ServedHeads(bottom_dim_of(model))
    heads.load(heads_of("click", "buy", bottom_dim=bottom_dim_of(model)).parts())
    FollowedModel(ModelSettings().build_served(), heads).reset(weights_of(model.network))
    assert heads.names == []
    assert heads.predict(ACTED, None).probabilities.shape == (2, 0)


def test_heads_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"narrow\.weight has shape"):
        Heads(DIM + 1).load(heads_of("a", "b").parts())
    with pytest.raises(ValueError, match=r"narrow\.weight has shape"):
        ServedHeads(DIM + 1).load(heads_of("a", "b").parts())


def test_heads_are_told_from_the_weights_of_the_network() -> None:
    model = ModelSettings().build()
    weights = weights_of(model.network)
    network, heads = without_heads(weights | heads_of("a", "b").parts())
    assert network.keys() == weights.keys()
    assert {name.partition(".")[0] for name in heads} == {"heads"}


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_gives_heads_a_bottom(name: str) -> None:
    trainer = Trainer(ModelSettings(name), SETTINGS)
    batch = training_batch(two_groups(8, np.random.default_rng(1)), needs=trainer.model.needs).batch
    bottom = trainer.bottom(batch)
    assert bottom.shape == (len(batch.item_keys), bottom_dim_of(trainer.model))
    rows = gather(trainer.model.fields, batch, trainer.tables, training=False)
    with torch.no_grad():
        trainer.averaged.score(batch, rows)  # what it computes below its output is shared with heads
        expected = bottom_of(trainer.averaged, batch, rows).numpy()
    np.testing.assert_allclose(bottom, expected, rtol=1e-5, atol=1e-5)
