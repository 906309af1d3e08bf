"""Whoever dislikes an item likes what is like it less: the model learns that, from a world in which it is so."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.embedded import Engine
from stream_reco.events import Action, Event, Id, Impression
from stream_reco.model.features.names import FAMILIES, FEATURES
from stream_reco.model.inputs import Inputs
from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import weights_of
from stream_reco.model.zoo.settings import TwoTowerDcnSettings
from stream_reco.model.zoo.two_tower_dcn import TwoTowerDcn
from stream_reco.serve.settings import SlateSettings
from stream_reco.train.settings import TrainSettings

START = 1_700_000_000_000
USERS, SHOWN = 160, 8
TASTES: list[list[Id]] = [[f"{taste}{number}" for number in range(12)] for taste in ("jazz", "punk")]
SMALL = TwoTowerDcnSettings(item_dim=4, tower_dim=4, user_dim=2, context_dim=2, cross_rank=4, hidden=8)
SETTINGS = Settings(
    model=ModelSettings(settings=SMALL),
    training=TrainSettings(batch=32),
    slate=SlateSettings(dislike_penalty=0.0, explore=0.0),
)
COLUMNS = [FEATURES.index(name) for name in FAMILIES["disliked"]]


@cache
def log(*, dislikes: bool = True) -> tuple[Event, ...]:
    """People of one taste each: half of what suits it is liked, half of what does not is disliked."""
    rng, now = np.random.default_rng(5), START
    events: list[Event] = []
    for user in range(USERS):
        mine = user % 2
        for place in range(SHOWN):
            taste = int(rng.integers(2))
            item = TASTES[taste][int(rng.integers(len(TASTES[taste])))]
            request, now = f"{user}-{place}", now + 20_000
            events.append(
                Impression(user_id=user, item_id=item, request_id=request, timestamp=now, event_id=f"{request}-shown")
            )
            kind = "like" if taste == mine else "dislike"
            if rng.random() < 0.5 and (dislikes or kind == "like"):
                events.append(
                    Action(user_id=user, item_id=item, action=kind, request_id=request, timestamp=now + 1_000)
                )
    return tuple(events)


class Watched:
    """What the model reads of each impression."""

    def __init__(self) -> None:
        self.read: list[Inputs] = []

    def __call__(self, _: Impression, features: bytes) -> None:
        self.read.append(Inputs.from_bytes(features))


def learned(engine: Engine, *, dislikes: bool = True) -> NDArray[np.float32]:
    """Let the engine learn the log; float32[impressions, 3] of what it read of dislikes."""
    watched = Watched()
    engine.learner.on_impression = watched
    engine.ingest(log(dislikes=dislikes))
    engine.sync()
    return np.concatenate([one.dense for one in watched.read])[:, COLUMNS]


def dislike(user: Id, item: Id, second: int) -> Action:
    time = log()[-1].timestamp + 1_000 * second
    return Action(user_id=user, item_id=item, action="dislike", timestamp=time, event_id=f"{user} {item}")


def test_dislikes_tell_of_tastes_and_the_model_learns_it() -> None:
    with Engine(None, SETTINGS) as engine:
        assert (learned(engine)[:, 0] > 0).any()
        model = engine.learner.queue.trainer.model
        assert isinstance(model, TwoTowerDcn)
        weights = model.network.top.weight[0, COLUMNS].tolist()
        assert weights[0] < -0.03
        assert weights[1] < -0.03
        jazz, punk = TASTES
        before = engine.score("ann", [*jazz[3:], *punk])
        # No sync comes between: what is learned stays the same, what is known of Ann does not.
        engine.ingest([dislike("ann", item, place + 1) for place, item in enumerate(jazz[:3])])
        ratio = engine.score("ann", [*jazz[3:], *punk]) / before
        assert ratio[: len(jazz) - 3].max() < 0.85
        assert ratio[len(jazz) - 3 :] == pytest.approx(1.0, abs=0.1)


def test_where_nobody_dislikes_anything_the_model_is_as_if_there_were_no_such_features() -> None:
    weights, scores = [], []
    for without in ((), ("disliked",)):
        settings = replace(SETTINGS, model=ModelSettings(settings=replace(SMALL, without=without)))
        with Engine(None, settings) as engine:
            assert not learned(engine, dislikes=False).any()
            weights.append(weights_of(engine.learner.queue.trainer.model.network))
            scores.append(engine.score(1, TASTES[0]).tolist())
    assert scores[0] == scores[1]
    assert {name: one.tobytes() for name, one in weights[0].items()} == {
        name: one.tobytes() for name, one in weights[1].items()
    }
