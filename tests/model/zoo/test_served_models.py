"""Serving forms against the models that the trainer trains: the same numbers of the same weights and rows."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream_reco.embedding import ReplicaTable
from stream_reco.model.features.names import FAMILIES, FEATURES, FIRST_FEATURES, LEARNED_FAMILIES
from stream_reco.model.heads import bottom_dim_of
from stream_reco.model.inputs import NO_KEY, Batch, Inputs, collate
from stream_reco.model.lookup import Lookup
from stream_reco.model.registry import MODELS, SERVED, build_model, build_served
from stream_reco.model.rows import gather
from stream_reco.model.served import ServedModel, ServesVectors
from stream_reco.model.served_by_torch import bottom_of, served_by_torch
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import Model, Retrieves, settings_digest
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT
from stream_reco.train.batch import training_batch
from stream_reco.train.trainer import Trainer
from tests.train.toy_examples import SETTINGS, two_groups

CLOSE = 1e-5
"""Relative to what is compared, or absolute where that is below 1."""
ODD_SIZES = TwoTowerDcnSettings(
    item_dim=6, tower_dim=5, user_dim=3, context_dim=2, request_dim=3, cross_rank=5, hidden=14
)
Tables = Mapping[str, Lookup]


def close(found: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    assert found.dtype == expected.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=CLOSE, atol=CLOSE * max(1.0, np.abs(expected).max(initial=0.0)))


def compare(model: Model, served: ServedModel, batch: Batch, tables: Tables, other: Tables | None = None) -> None:
    """The serving form's numbers, read from `other` tables, are the model's."""
    other = tables if other is None else other
    with torch.no_grad():
        rows = gather(model.fields, batch, tables, training=False)
        odds, bottom = model.score(batch, rows).numpy(), bottom_of(model, batch, rows).numpy()
        requests = served.requests(batch, other)
        found = served.score(requests, batch, other, bottom=True)
        close(found.log_odds, odds)
        assert found.bottom is not None
        close(found.bottom, bottom)
        np.testing.assert_array_equal(served.score(requests, batch, other).log_odds, found.log_odds)
        assert served.score(requests, batch, other).bottom is None
        assert isinstance(model, Retrieves) is isinstance(served, ServesVectors)
        if isinstance(model, Retrieves) and isinstance(served, ServesVectors):
            close(served.user_vectors(requests), model.user_vectors(batch, rows).numpy())
            own = tables[model.item_table].lookup(batch.item_keys)
            np.testing.assert_array_equal(served.item_vectors(own), model.item_vectors(own))


@cache
def trained(name: str) -> tuple[Trainer, dict[str, ReplicaTable], ServedModel]:
    """After some steps: the trainer, tables that followed it, and the serving form of what it publishes."""
    trainer = Trainer(ModelSettings(name), SETTINGS)
    log = two_groups(400, np.random.default_rng(5))
    for first in range(0, len(log), 16):
        trainer.step(training_batch(log[first : first + 16], None, trainer.model.needs))
    tables = {}
    for key, table in trainer.tables.items():
        tables[key] = ReplicaTable(table.dim, name=key)
        tables[key].apply_delta(table.snapshot())
    served = build_served(name)
    served.load(weights_of(trainer.averaged.network))
    assert trainer.averaged.network is not None
    trainer.averaged.network.eval()
    return trainer, tables, served


@st.composite
def requests(draw: st.DrawFn) -> Inputs:
    """Known and unknown users and items, histories of all lengths, features of all sizes."""
    history = draw(st.integers(0, RECENT))
    candidates = draw(st.one_of(st.just(1), st.integers(1, 70)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    keys, ages = np.full(RECENT, NO_KEY), np.full(RECENT, -1.0, dtype=np.float32)
    keys[:history] = rng.integers(0, 14, history)
    ages[:history] = np.sort(rng.random(history)) * draw(st.sampled_from([0.0, 1.0, 8.0]))
    dense = rng.normal(size=(candidates, len(FEATURES))) * draw(st.sampled_from([0.0, 1.0, 1e4, 1e30]))
    context = rng.integers(0, 4, CONTEXT_FIELDS) * draw(st.integers(0, 1))
    return Inputs(
        int(rng.integers(0, 24)),
        context,
        keys,
        ages,
        rng.integers(0, 14, candidates),
        dense.astype(np.float32),
        np.ones(candidates, dtype=np.float32),
    )


@pytest.mark.parametrize("name", list(MODELS))
@given(asked=st.lists(requests(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_serving_form_says_what_the_trained_model_does(name: str, asked: list[Inputs]) -> None:
    trainer, tables, served = trained(name)
    compare(trainer.averaged, served, collate(asked), trainer.tables, tables)


@pytest.mark.parametrize("name", list(MODELS))
@given(asked=st.lists(requests(), min_size=2, max_size=5))
@settings(max_examples=20, deadline=None)
def test_a_request_gets_the_same_bits_beside_others(name: str, asked: list[Inputs]) -> None:
    _, tables, served = trained(name)

    def odds(some: list[Inputs]) -> NDArray[np.float32]:
        batch = collate(some)
        return served.score(served.requests(batch, tables), batch, tables).log_odds

    np.testing.assert_array_equal(odds(asked), np.concatenate([odds([one]) for one in asked]))


def shaken(model: Model) -> Model:
    """With weights that all tell, unlike those that a network begins with."""
    assert model.network is not None
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for one in model.network.parameters():
            one.copy_(torch.randn(one.shape, generator=generator) * 0.1)
        for label, buffer in model.network.named_buffers():
            if label.endswith(("mean", "counts")):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) * 3.0)
    return model


@pytest.mark.parametrize(
    "sizes",
    [ODD_SIZES, TwoTowerDcnSettings(cross_layers=0), TwoTowerDcnSettings(cross_layers=3, hidden=40)]
    + [TwoTowerDcnSettings(without=(family,)) for family in (*LEARNED_FAMILIES, *FAMILIES)],
    ids=str,
)
def test_all_sizes_and_without_any_family(sizes: TwoTowerDcnSettings) -> None:
    model = shaken(build_model("two_tower_dcn", sizes))
    assert model.network is not None
    model.network.eval()
    served = build_served("two_tower_dcn", sizes)
    served.load(weights_of(model.network))
    compare(model, served, collate(some_requests()), Drawn.tables_of(model))


class Drawn:
    """A table in which every key but 0 has a row of its own."""

    def __init__(self, dim: int) -> None:
        self.rows = np.random.default_rng(dim).normal(size=(64, dim)).astype(np.float32)

    def lookup(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.rows[keys % 64]

    @staticmethod
    def tables_of(model: Model) -> dict[str, Lookup]:
        return {spec.name: Drawn(spec.dim) for spec in model.tables}


def some_requests() -> list[Inputs]:
    rng = np.random.default_rng(2)
    found = []
    for candidates, history in ((1, 0), (40, RECENT), (3, 1), (33, 7)):
        ages = np.where(np.arange(RECENT) < history, rng.random(RECENT), -1.0).astype(np.float32)
        dense = np.abs(rng.normal(size=(candidates, len(FEATURES)))).astype(np.float32)
        contexts, keys = rng.integers(0, 3, CONTEXT_FIELDS), rng.integers(1, 60, RECENT)
        items, ones = rng.integers(1, 60, candidates), np.ones(candidates, dtype=np.float32)
        found.append(Inputs(int(rng.integers(1, 60)), contexts, keys, ages, items, dense, ones))
    return found


@pytest.mark.parametrize("name", list(MODELS))
def test_before_any_weights_came_it_takes_those_of_zeros(name: str) -> None:
    model, served = build_model(name), build_served(name)
    batch, tables = collate(some_requests()), Drawn.tables_of(model)
    assert np.isfinite(served.score(served.requests(batch, tables), batch, tables).log_odds).all()
    assert (served.name, served.needs, served.settings) == (model.name, model.needs, model.settings)
    assert served.bottom_dim == bottom_dim_of(model)
    assert served.dims == {table.name: table.dim for table in model.tables}
    shapes = {label: value.shape for label, value in weights_of(model.network).items()}
    assert {label: value.shape for label, value in served.zeros().items()} == shapes
    assert settings_digest(served) == settings_digest(model)


@pytest.mark.parametrize("name", list(MODELS))
def test_what_is_loaded_is_copied_and_what_does_not_fit_is_refused(name: str) -> None:
    model = shaken(build_model(name))
    served, weights = build_served(name), {label: one.copy() for label, one in weights_of(model.network).items()}
    served.load(weights)
    batch, tables = collate(some_requests()), Drawn.tables_of(model)
    before = served.score(served.requests(batch, tables), batch, tables).log_odds
    for one in weights.values():
        one[...] = 0
    np.testing.assert_array_equal(served.score(served.requests(batch, tables), batch, tables).log_odds, before)
    good = weights_of(model.network)
    for bad in ({"other": np.zeros(3, dtype=np.float32)}, {next(iter(good)): np.zeros(77, dtype=np.float32)}):
        with pytest.raises(ValueError, match="other sizes"):
            served.load(good | bad)
    np.testing.assert_array_equal(served.score(served.requests(batch, tables), batch, tables).log_odds, before)


@pytest.mark.parametrize("name", list(MODELS))
def test_weights_of_earlier_releases_still_load(name: str) -> None:
    """Without the buffers that joined later, and of fewer features."""
    model = shaken(build_model(name))
    weights = weights_of(model.network)
    weights = {label: value for label, value in weights.items() if not label.endswith(LATER)}
    if name == "two_tower_dcn":
        weights = fewer_features(weights)
    served, reference = build_served(name), served_by_torch(model)
    served.load(weights)
    reference.load(weights)
    compare(model, served, collate(some_requests()), Drawn.tables_of(model))


LATER = ("least_variance", "bounded", "click_rate.counts", "click_rate.batches", "click_rate.voice")


def fewer_features(weights: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """As a release wrote them that had `FIRST_FEATURES` and did not name them."""
    gone = np.arange(len(FIRST_FEATURES), len(FEATURES))
    served: Any = build_served("two_tower_dcn")
    return {
        label: np.delete(value, gone, served.feature_axes[label].axis) if label in served.feature_axes else value
        for label, value in weights.items()
        if label != "features"
    }


def test_a_model_without_a_serving_form_is_served_by_its_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in MODELS:
        monkeypatch.delitem(SERVED, name)
        model, served = shaken(build_model(name)), build_served(name)
        assert model.network is not None
        model.network.eval()
        served.load(weights_of(model.network))
        compare(model, served, collate(some_requests()), Drawn.tables_of(model))


def test_serving_forms_bring_no_torch() -> None:
    code = (
        "import sys; from stream_reco.model.registry import SERVED, build_served;"
        " [build_served(name) for name in SERVED]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
