"""Features join by name: what was learned without them computes what it did, and goes on from there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stream_reco.model.feature_columns import NAMES, FeatureAxis, widen, widened_moment
from stream_reco.model.features.names import FEATURES, FIRST_FEATURES
from stream_reco.model.registry import build_model
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import load_weights, weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn_network import Ranker
from stream_reco.signals.growing import Parts
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.predictions import predictions
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import example

SMALL = TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=2, context_dim=2, cross_rank=4, hidden=8)
MODEL = ModelSettings(settings=SMALL)


def without_names(parts: Parts) -> Parts:
    """As releases up to 0.2.0 wrote them: fewer columns, and no names of them."""
    axes, later = Ranker(SMALL).feature_axes, range(len(FIRST_FEATURES), len(FEATURES))
    network = build_model("two_tower_dcn", SMALL).network
    assert network is not None
    numbered = [name for name, _ in network.named_parameters()]
    narrow: Parts = {}
    for name, value in parts.items():
        weight = numbered[int(name.split(".")[1])] if name.startswith("adam.") else name.partition(".")[2]
        if weight in axes and value.ndim:
            value = np.delete(value, later, axes[weight].axis)
        if weight != NAMES:
            narrow[name] = value
    return narrow


def log_of(count: int, seed: int) -> list[Labelled]:
    """Impressions of which those passed over least are acted on; the feature that says so is the first new one."""
    rng, log = np.random.default_rng(seed), []
    for number in range(count):
        dense = rng.normal(size=(1, len(FEATURES))).astype(np.float32)
        dense[:, len(FIRST_FEATURES) :] = 0.0
        dense[0, len(FIRST_FEATURES)] = rng.random() * 2
        log.append(example(number % 7, [number % 5], int(dense[0, len(FIRST_FEATURES)] < 0.3), dense=dense))
    return log


def step_through(trainer: Trainer, log: list[Labelled]) -> None:
    for first in range(0, len(log), 16):
        trainer.step(training_batch(log[first : first + 16]))


def test_what_was_learned_without_a_feature_computes_the_same_and_learns_what_the_feature_is_worth() -> None:
    torch.set_num_threads(1)
    settings = TrainSettings(learning_rate=0.01)
    first, second = Trainer(MODEL, settings), Trainer(MODEL, settings)
    blind = [training_batch([one]) for one in log_of(40, 1)]
    for batch in blind:
        batch.batch.dense[:, len(FIRST_FEATURES) :] = 0.0
        first.step(batch)
    second.restore(without_names(first.state()), first.tables)
    asked = training_batch(log_of(50, 2))
    # The first has columns of its own for the new features, and has learned nothing of them.
    before = predictions(served_by_torch(second.model), asked, second.tables)
    asked.batch.dense[:, len(FIRST_FEATURES) :] = 0.0
    np.testing.assert_allclose(before, predictions(served_by_torch(first.model), asked, first.tables), rtol=1e-4)
    step_through(second, log_of(4_000, 3))
    fresh, often = ([example(0, [1], 0, dense=dense(times))] for times in (0.0, 1.5))
    chances = [
        float(predictions(served_by_torch(second.model), training_batch(one), second.tables)[0])
        for one in (fresh, often)
    ]
    assert chances[0] > 3 * chances[1]


def dense(times: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    row = np.zeros((1, len(FEATURES)), dtype=np.float32)
    row[0, len(FIRST_FEATURES)] = times
    return row


def test_a_new_model_begins_as_one_that_knows_of_the_later_features_only_that_neighbours_are_liked() -> None:
    network = build_model("two_tower_dcn", SMALL).network
    assert network is not None
    weights, later = weights_of(network), range(len(FIRST_FEATURES), len(FEATURES))
    assert weights["top.weight"][0, FEATURES.index("neighbours_all")] > 0.0
    weights["top.weight"][0, FEATURES.index("neighbours_all")] = 0.0
    for name, (axis, neutral) in Ranker(SMALL).feature_axes.items():
        assert (np.take(weights[name], later, axis) == neutral).all(), name


def test_columns_are_found_by_their_names() -> None:
    weight = np.arange(8, dtype=np.float32).reshape(2, 4)
    found = widen(weight, FeatureAxis(1, 9.0), ("b", "a"), ("new", "a", "b"))
    assert found.tolist() == [[9.0, 1.0, 0.0, 2.0, 3.0], [9.0, 5.0, 4.0, 6.0, 7.0]]
    bias = np.arange(3, dtype=np.float32)
    assert widen(bias, FeatureAxis(0), ("a", "b"), ("a", "b", "c")).tolist() == [0.0, 1.0, 0.0, 2.0]
    assert widened_moment(Ranker(SMALL), "top.bias", bias, None) is bias


def test_weights_that_read_a_feature_of_a_later_release_are_refused() -> None:
    network = Ranker(SMALL)
    weights = weights_of(network)
    weights[NAMES] = np.frombuffer("\n".join([*FEATURES[:-1], "smell"]).encode(), dtype=np.uint8)
    with pytest.raises(ValueError, match="the feature 'smell', which this release does not have"):
        load_weights(network, weights)
