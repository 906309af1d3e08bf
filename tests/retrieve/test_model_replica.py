"""A replica takes publications of its own model alone, and names what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stream_reco.embedding import EmbeddingTable
from stream_reco.model.registry import MODELS
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import Model, settings_digest
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.settings import BprSettings, TwoTowerDcnSettings
from stream_reco.retrieve.model_replica import model_replica
from stream_reco.sync import InProcessChannel, Publication, decode, encode

NAMES = sorted(MODELS)


def publication(model: Model) -> Publication:
    tables = []
    for spec in model.tables:
        table = EmbeddingTable(spec.dim, name=spec.name)
        table.train_rows(np.arange(1, 5), 0)
        tables.append(table.snapshot())
    weights, digest = weights_of(model.network), settings_digest(model)
    return Publication(model.name, 1, 1, 0, tuple(tables), weights, {}, {}, watermark=0, created=0, settings=digest)


@pytest.mark.parametrize("name", NAMES)
def test_its_own_is_taken_over_the_wire_too(name: str) -> None:
    model, channel = ModelSettings(name).build(), InProcessChannel()
    replica = model_replica(ModelSettings(name).build_served())
    channel.send(decode(encode(publication(model))))
    assert replica.poll(channel) == 1
    assert set(replica.tables) == {spec.name for spec in model.tables}


@pytest.mark.parametrize(("ours", "theirs"), [(one, other) for one in NAMES for other in NAMES if one != other])
def test_another_model_is_refused_by_name(ours: str, theirs: str, caplog: pytest.LogCaptureFixture) -> None:
    replica, channel = model_replica(ModelSettings(ours).build_served()), InProcessChannel()
    channel.send(publication(ModelSettings(theirs).build()))
    assert (replica.poll(channel), replica.version) == (0, 0)
    assert caplog.messages == [f"publication is of model '{theirs}', replica of '{ours}'; version 0 is served on"]
    replica.poll(channel)
    assert len(caplog.messages) == 1
    assert replica.problem == f"publication is of model '{theirs}', replica of '{ours}'"
    channel.send(replace(publication(ModelSettings(ours).build()), epoch=2))
    assert replica.poll(channel) == 1
    after: str | None = replica.problem
    assert after is None


def test_other_sizes_are_refused_and_the_settings_named(caplog: pytest.LogCaptureFixture) -> None:
    replica, channel = model_replica(ModelSettings("bpr").build_served()), InProcessChannel()
    channel.send(publication(ModelSettings("bpr", BprSettings(dim=8)).build()))
    assert replica.poll(channel) == 0
    assert "with other settings" in caplog.messages[0]
    assert "[model.bpr]" in caplog.messages[0]


def test_settings_that_change_no_size_may_differ() -> None:
    replica, channel = model_replica(ModelSettings("bpr").build_served()), InProcessChannel()
    channel.send(publication(ModelSettings("bpr", BprSettings(regularisation=1.0)).build()))
    assert replica.poll(channel) == 1


@pytest.mark.parametrize("settings", [None, TwoTowerDcnSettings()])
def test_publications_of_the_release_before_are_read(settings: TwoTowerDcnSettings | None) -> None:
    model, channel = ModelSettings(settings=settings).build(), InProcessChannel()
    channel.send(replace(publication(model), model="stream-reco", settings=None))
    assert model_replica(ModelSettings().build_served()).poll(channel) == 1
    assert model_replica(ModelSettings("bpr").build_served()).poll(channel) == 0
