"""The fused form of the towers and the cross network, against autograd on the model itself."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.dense_layers import sigmoid
from stream_reco.model.features.names import FEATURES
from stream_reco.model.fused.interface import Learned, fused_of
from stream_reco.model.fused.two_tower_dcn import FusedTwoTowerDcn
from stream_reco.model.inputs import Inputs
from stream_reco.model.registry import MODELS
from stream_reco.model.rows import gather
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import Model
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.model.zoo.click_rate import ClickRate
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn
from stream_reco.model.zoo.two_tower_dcn_network import Cross
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT
from stream_reco.train.autograd import ByAutograd
from stream_reco.train.batch import Labelled, training_batch
from stream_reco.train.dense_adam import DenseAdam
from stream_reco.train.gradients import Compiled, Gradients, gradients_of

ITEMS, USERS, CONTEXTS = 60, 10, 6
SCALE = 1 / 16
SETTINGS = (
    TwoTowerDcnSettings(),
    TwoTowerDcnSettings(8, 16, 4, 4, 8, cross_layers=1, cross_rank=8, hidden=32, odds_weight=0.5, tower_weight=1.0),
    TwoTowerDcnSettings(cross_layers=3, without=("shown", "age")),
)


def _inputs(rng: np.random.Generator, candidates: int, shown: bool) -> Inputs:
    past = int(rng.integers(RECENT + 1))
    history, ages = np.zeros(RECENT, dtype=np.int64), np.full(RECENT, -1.0, dtype=np.float32)
    history[:past], ages[:past] = rng.integers(1, ITEMS, past), 3.0 * rng.random(past)
    dense = 2.0 * rng.normal(size=(candidates, len(FEATURES))).astype(np.float32)
    if not shown:
        dense[:, [place for place, name in enumerate(FEATURES) if name.startswith("shown")]] = 0.0
    return Inputs(
        int(rng.integers(1, USERS)),
        rng.integers(0, CONTEXTS, CONTEXT_FIELDS),
        history,
        ages,
        rng.integers(1, ITEMS, candidates),
        dense,
        rng.uniform(0.05, 1.0, candidates).astype(np.float32),
    )


def _batch(rng: np.random.Generator, *, positives: bool = True, shown: bool = True) -> TrainingBatch:
    """Lists, single impressions with both labels, positions, and labels that are taken back; all at random."""
    examples = []
    for _ in range(int(rng.integers(1, 17))):
        candidates = 1 if rng.random() < 0.3 else int(rng.integers(2, 30))
        examples.append(
            Labelled(
                _inputs(rng, candidates, shown).to_bytes(),
                int(positives and rng.random() < 0.7),
                float(rng.uniform(0.2, 2.0)),
                10**12,
                int(rng.integers(0, 80)),
                undone=float(rng.random() < 0.3),
            )
        )
    return training_batch(examples)


def _tables(model: TwoTowerDcn) -> dict[str, EmbeddingTable]:
    """Most keys have a row, some have none."""
    tables = {one.name: EmbeddingTable(one.dim, name=one.name, init_scale=0.5) for one in model.tables}
    for name, known in (("item", ITEMS - 5), ("user", USERS - 2), ("context", CONTEXTS - 2)):
        tables[name].train_rows(np.arange(1, known), 1)
    return tables


def _model(settings: TwoTowerDcnSettings, seed: int = 0) -> TwoTowerDcn:
    """Weights that are far from where they begin, where much is 0."""
    model, generator = TwoTowerDcn(settings), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.network.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=generator))
    return model


def _any(model: TwoTowerDcn) -> Model:
    """The model as the protocol, whose attributes are wider."""
    wider: Any = model
    found: Model = wider
    return found


def _compare(reference: Learned, ours: Learned, model: TwoTowerDcn, optimizer: DenseAdam) -> None:
    assert ours.loss == pytest.approx(reference.loss, rel=1e-5, abs=1e-5)
    for name, weight in model.network.named_parameters():
        expected = (torch.zeros_like(weight) if weight.grad is None else weight.grad).numpy()
        atol = 1e-5 * float(np.abs(expected).max()) + 1e-9
        np.testing.assert_allclose(optimizer.gradients[name], expected, rtol=1e-4, atol=atol, err_msg=name)
    assert {one.table for one in ours.rows} == {one.table for one in reference.rows}
    for one in reference.rows:
        (mine,) = (other for other in ours.rows if other.table == one.table)
        order = np.argsort(mine.keys)
        assert np.array_equal(mine.keys[order], one.keys)
        largest = float(np.abs(one.gradients).max())
        np.testing.assert_allclose(mine.gradients[order], one.gradients, rtol=1e-4, atol=1e-5 * largest + 1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("bounded", [True, False])
def test_gradients_are_those_of_autograd(settings: TwoTowerDcnSettings, bounded: bool) -> None:
    model = _model(settings)
    if not bounded:  # as in networks of releases up to 0.2.0
        for cross in model.network.crosses:
            assert isinstance(cross, Cross)
            cross.bounded.zero_()
    other, tables, rng = deepcopy(model), _tables(model), np.random.default_rng(1)
    optimizers = DenseAdam(model.weights.flat), DenseAdam(other.weights.flat)
    autograd, fused = ByAutograd(_any(model), optimizers[0]), Compiled(FusedTwoTowerDcn(other), optimizers[1])
    for number in range(8):
        batch = _batch(rng, positives=number != 3, shown=number % 2 == 0)
        reference, ours = autograd.of(batch, tables, SCALE), fused.of(batch, tables, SCALE)
        _compare(reference, ours, model, optimizers[1])
        for (name, kept), (_, mine) in zip(model.network.named_buffers(), other.network.named_buffers(), strict=True):
            assert torch.allclose(kept, mine, rtol=1e-5, atol=1e-6), name


def test_weights_are_corrected_by_the_log_odds_of_the_step() -> None:
    model, rng = _model(SETTINGS[0]), np.random.default_rng(2)
    other, tables = deepcopy(model), _tables(model)
    optimizers = DenseAdam(model.weights.flat), DenseAdam(other.weights.flat)

    def halved(batch: TrainingBatch, odds: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return batch.weights * sigmoid(odds[batch.first]), (0.5 * batch.undone).astype(np.float32)

    batch = replace(_batch(rng), correction=halved)
    reference = ByAutograd(_any(model), optimizers[0]).of(batch, tables, SCALE)
    ours = Compiled(FusedTwoTowerDcn(other), optimizers[1]).of(batch, tables, SCALE)
    _compare(reference, ours, model, optimizers[1])


@pytest.mark.parametrize("settings", SETTINGS)
def test_scores_are_those_of_the_model_and_change_nothing(settings: TwoTowerDcnSettings) -> None:
    model, rng = _model(settings), np.random.default_rng(3)
    fused, tables = FusedTwoTowerDcn(model), _tables(model)
    model.network.eval()
    before = {name: value.clone() for name, value in model.network.state_dict().items()}
    for _ in range(5):
        batch = _batch(rng).batch
        with torch.no_grad():
            expected = model.score(batch, gather(model.fields, batch, tables, training=False)).numpy()
            bottom = model.bottom(batch, gather(model.fields, batch, tables, training=False)).numpy()
        np.testing.assert_allclose(fused.score(batch, tables), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(fused.bottom(batch, tables), bottom, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in model.network.state_dict().items())


def test_scores_follow_weights_that_are_loaded() -> None:
    model, newer, rng = _model(SETTINGS[0]), _model(SETTINGS[0], seed=5), np.random.default_rng(4)
    fused, tables, batch = FusedTwoTowerDcn(model), _tables(model), _batch(rng).batch
    before = fused.score(batch, tables).copy()
    model.network.load_state_dict(newer.network.state_dict())
    assert not np.allclose(fused.score(batch, tables), before)
    assert np.array_equal(fused.score(batch, tables), FusedTwoTowerDcn(newer).score(batch, tables))


def test_steps_of_both_ways_lead_to_the_same_weights() -> None:
    model, rng = _model(SETTINGS[0]), np.random.default_rng(5)
    other, tables, mine = deepcopy(model), _tables(model), _tables(model)
    optimizers = DenseAdam(model.weights.flat), DenseAdam(other.weights.flat)
    ways: tuple[Gradients, Gradients] = (
        ByAutograd(_any(model), optimizers[0]),
        Compiled(FusedTwoTowerDcn(other), optimizers[1]),
    )
    for _ in range(30):
        batch = _batch(rng)
        for way, rows in zip(ways, (tables, mine), strict=True):
            for table, keys, gradients in way.of(batch, rows, SCALE).rows:
                rows[table].apply_gradients(keys, gradients)
            way.step(1e-3)
    keys = np.arange(1, ITEMS)
    np.testing.assert_allclose(mine["item"].lookup(keys), tables["item"].lookup(keys), atol=2e-3)
    for (name, weight), (_, same) in zip(
        model.network.named_parameters(), other.network.named_parameters(), strict=True
    ):
        # Adam moves a weight of hardly any gradient by its rate, whichever sign rounding gives it.
        assert float((weight - same).detach().abs().mean()) < 1e-4, name


@pytest.mark.parametrize("name", sorted(MODELS))
def test_which_models_have_a_fused_form(name: str) -> None:
    model = ModelSettings(name).build()
    assert (fused_of(model) is not None) == (name == "two_tower_dcn")
    assert fused_of(model) is fused_of(model)


def test_where_rows_are_left_out_autograd_learns() -> None:
    model = TwoTowerDcn(TwoTowerDcnSettings(without=("history",)))
    assert isinstance(gradients_of(_any(model), DenseAdam(model.weights.flat)), ByAutograd)


def test_a_rate_that_says_nothing_is_0() -> None:
    rng, rate = np.random.default_rng(6), ClickRate()
    for shown in (True, False):
        dense = _batch(rng, shown=shown).batch.dense
        said = bool(rate(torch.from_numpy(dense)).abs().max() > 0)
        assert said == (not rate.says_nothing(dense)) == shown
