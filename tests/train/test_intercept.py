"""The intercept that impressions share, held against the maximum of the likelihood."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream_reco.model.registry import MODELS
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import PRIOR_LOG_ODDS
from stream_reco.train.batch import training_batch
from stream_reco.train.intercept import Intercept
from stream_reco.train.predictions import predictions
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import MODEL, SETTINGS, example


def taught(chance: float, batches: int, offsets: float = 0.0, seed: int = 0) -> Intercept:
    """After so many batches of 16 labels; a model's own log-odds spread by `offsets` around the prior."""
    rng = np.random.default_rng(seed)
    found = Intercept()
    found.begin()
    odds = math.log(chance / (1.0 - chance))
    for _ in range(batches):
        own = rng.normal(size=16) * offsets
        labels = (rng.random(16) < 1.0 / (1.0 + np.exp(-own - odds))).astype(np.float64)
        found.learn(1.0 / (1.0 + np.exp(-PRIOR_LOG_ODDS - own - found.value)), labels, np.ones(16))
    return found


@pytest.mark.parametrize("chance", [0.005, 0.03, 0.4])
def test_it_is_there_after_some_sixty_clicks(chance: float) -> None:
    batches = math.ceil(60 / chance / 16)
    found = [taught(chance, batches, seed=seed).value for seed in range(20)]
    assert PRIOR_LOG_ODDS + np.mean(found) == pytest.approx(math.log(chance / (1.0 - chance)), abs=0.15)


def test_it_is_what_is_left_of_a_model_that_knows_more() -> None:
    found = [taught(0.1, 1_000, offsets=1.5, seed=seed).value for seed in range(5)]
    assert PRIOR_LOG_ODDS + np.mean(found) == pytest.approx(math.log(1 / 9), abs=0.1)


@pytest.mark.parametrize("name", MODELS)
def test_with_any_model_an_impression_begins_at_the_prior(name: str) -> None:
    """Not at twice the prior, where thousands of impressions would be needed to come back."""
    trainer = Trainer(ModelSettings(name), SETTINGS)
    trainer.intercept.begin()
    batch = training_batch([example(0, [1])])
    (chance,) = predictions(served_by_torch(trainer.averaged), batch, trainer.tables, trainer.intercept.published)
    assert math.log(chance / (1.0 - chance)) == pytest.approx(PRIOR_LOG_ODDS, abs=1.0)


def test_before_an_impression_it_adds_nothing() -> None:
    found = Intercept()
    assert (found.value, found.published) == (0.0, 0.0)
    found.begin()
    assert found.value == found.published == 0.0


def test_a_label_that_is_taken_back_is_as_if_it_had_not_been() -> None:
    """A positive that was presumed a negative pulls as if it had been one from the start."""
    chances = np.array([0.1])
    one, other = Intercept(), Intercept()
    for found in (one, other):
        found.information = 50.0
    one.learn(chances, np.array([1.0]), np.array([1.0]))
    other.learn(chances, np.array([0.0]), np.array([1.0]))
    other.learn(chances, np.array([1.0]), np.array([0.0]))
    assert one.log_odds == pytest.approx(other.log_odds, rel=1e-3)


def test_it_survives_a_restart_and_older_checkpoints_have_none() -> None:
    trainer = Trainer(MODEL, SETTINGS)
    trainer.intercept = taught(0.05, 30)
    parts = {name: np.array(part) for name, part in trainer.state().items()}
    other = Trainer(MODEL, SETTINGS)
    other.restore(parts, trainer.tables)
    assert other.intercept.state().tolist() == trainer.intercept.state().tolist()
    del parts["intercept"]
    other.restore(parts, trainer.tables)
    assert other.intercept.value == 0.0, "the model itself has learned it"
