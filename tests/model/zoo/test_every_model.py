"""What holds for every model in the registry, by one suite; what opts out of a test stands in `OPTED_OUT`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.embedding import ReplicaTable
from stream_reco.events import Action
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.registry import MODELS, build_model, build_served
from stream_reco.model.rows import gather
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.served_heads import FollowedModel, ServedHeads
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import Model, Retrieves, settings_digest
from stream_reco.model.tensor_batch import TensorBatch
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.weights import weights_of
from stream_reco.serve.settings import SlateSettings
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.predictions import predictions
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import SETTINGS, example, two_groups

OPTED_OUT: dict[str, frozenset[str]] = {
    # Its coefficients are of features, which are noise there; it retrieves nothing.
    "glmix": frozenset({"test_it_learns_and_its_gradients_reach_every_table", "test_its_vectors_say_who_likes_what"}),
}
"""Model → tests of this file that do not hold for it, and why."""

START = 1_700_000_000_000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    test = metafunc.function.__name__
    names = [name for name in MODELS if test not in OPTED_OUT.get(name, frozenset())]
    metafunc.parametrize("name", names)


def trained(name: str, examples: int = 600) -> Trainer:
    trainer = Trainer(ModelSettings(name), SETTINGS)
    log = two_groups(examples, np.random.default_rng(5))
    for first in range(0, len(log), 16):
        trainer.step(batch_of(trainer.model, first, log))
    return trainer


def batch_of(model: Model, first: int, log: Sequence[Labelled]) -> TrainingBatch:
    return training_batch(log[first : first + 16], None, model.needs)


def test_it_learns_the_checkerboard(name: str) -> None:
    """Even people act on even items, odd people on odd ones: the slate of each is of their own half."""
    settings = Settings(model=ModelSettings(name), slate=SlateSettings(keep_seen=True, explore=0.0))
    rng = np.random.default_rng(1)
    with Engine(None, settings) as engine:
        for number in range(3_000):
            user = int(rng.integers(40))
            item = 2 * int(rng.integers(20)) + user % 2
            engine.ingest([Action(user_id=user, item_id=item, action="click", timestamp=START + 1000 * number)])
        engine.sync()
        own = [
            one.item_id for user in range(40) for one in engine.recommend(user, 10).items if one.item_id % 2 == user % 2
        ]
    assert len(own) >= 0.9 * 400


def test_a_batch_scores_as_its_requests_one_by_one(name: str) -> None:
    trainer = trained(name)
    examples = two_groups(40, np.random.default_rng(6))
    together = predictions(
        served_by_torch(trainer.model), training_batch(examples, None, trainer.model.needs), trainer.tables
    )
    alone = [
        predictions(served_by_torch(trainer.model), training_batch([one], None, trainer.model.needs), trainer.tables)
        for one in examples
    ]
    assert together == pytest.approx(np.concatenate(alone), rel=1e-4, abs=1e-6)


def test_it_goes_on_from_a_checkpoint_with_the_same_bits(name: str, tmp_path: Path) -> None:
    trainer = trained(name)
    other = Trainer(ModelSettings(name), SETTINGS)
    parts = {key: np.array(value) for key, value in trainer.state().items()}
    for key, table in trainer.tables.items():
        table.save(tmp_path / key)
    other.restore(parts, {key: type(table).load(tmp_path / key) for key, table in trainer.tables.items()})
    log = two_groups(200, np.random.default_rng(7))
    losses = [
        [one.step(batch_of(one.model, first, log)) for first in range(0, len(log), 16)] for one in (trainer, other)
    ]
    assert losses[0] == losses[1]
    assert np.isfinite(losses[0]).all()


def test_a_replica_predicts_as_the_trainer_published(name: str) -> None:
    trainer = trained(name)
    model = build_served(name)
    FollowedModel(model, ServedHeads(model.bottom_dim)).reset(weights_of(trainer.averaged.network))
    tables = {}
    for key, table in trainer.tables.items():
        tables[key] = ReplicaTable(table.dim, name=key)
        tables[key].apply_delta(table.snapshot())
    batch = training_batch(two_groups(60, np.random.default_rng(8)), None, model.needs)
    odds = model.score(model.requests(batch.batch, tables), batch.batch, tables).log_odds
    expected = predictions(served_by_torch(trainer.averaged), batch, trainer.tables)
    np.testing.assert_allclose(sigmoid(odds - batch.log_rates), expected, rtol=1e-5, atol=1e-7)


def test_it_learns_and_its_gradients_reach_every_table(name: str) -> None:
    trainer = Trainer(ModelSettings(name), SETTINGS)
    log = two_groups(2_000, np.random.default_rng(9))
    losses = [trainer.step(batch_of(trainer.model, first, log)) for first in range(0, len(log), 16)]
    assert np.mean(losses[-20:]) < 0.9 * np.mean(losses[:20])
    for spec in trainer.model.tables:
        table = trainer.tables[spec.name]
        if len(table):
            assert not np.array_equal(table.snapshot().vectors, np.zeros((len(table), spec.dim))), spec.name


def test_a_sampled_negative_earns_no_row(name: str) -> None:
    trainer = Trainer(ModelSettings(name), SETTINGS)
    trainer.step(training_batch([example(3, [1, 6, 7, 8])], None, trainer.model.needs))
    for field in trainer.model.fields:
        if field.per_candidate:
            assert len(trainer.tables[field.table]) <= 1


def test_its_vectors_say_who_likes_what(name: str) -> None:
    trainer = trained(name, 3_000)
    model = trainer.model
    assert isinstance(model, Retrieves)
    batch = training_batch([example(user, [1]) for user in range(20)], None, model.needs).batch
    with torch.no_grad():
        request = [field for field in model.fields if not field.per_candidate]
        users = model.user_vectors(batch, gather(request, batch, trainer.tables, training=False))
    own = users.numpy() @ model.item_vectors(trainer.tables[model.item_table].lookup(np.arange(10))).T
    # Users 0–9 act on items 0–4 and users 10–19 on 5–9.
    assert own[:10, :5].mean() > own[:10, 5:].mean() + 0.5
    assert own[10:, 5:].mean() > own[10:, :5].mean() + 0.5


def test_only_settings_that_shape_it_are_in_its_digest(name: str) -> None:
    model = build_model(name)
    for one in fields(model.settings):
        value = getattr(model.settings, one.name)
        if isinstance(value, int | float):
            other = build_model(name, replace(model.settings, **{one.name: 2 * value}))
            same = settings_digest(other) == settings_digest(model)
            assert same is not one.metadata.get("shapes", True), one.name


def test_delayed_feedback_is_corrected_for(name: str) -> None:
    """What a late positive takes back is taken back: the loss calls the trainer's correction."""
    asked = []
    trainer = Trainer(ModelSettings(name), SETTINGS)
    batch = training_batch([example(1, [1]), example(2, [2], 0)], None, trainer.model.needs)

    def correction(one: TrainingBatch, odds: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        asked.append(odds.shape)
        return one.weights, one.undone

    rows = gather(trainer.model.fields, batch.batch, trainer.tables, training=True)
    trainer.model.loss(TensorBatch(replace(batch, correction=correction)), rows)
    assert asked == [(2,)]
