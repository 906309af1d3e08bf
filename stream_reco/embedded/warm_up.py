"""Compile and load the kernels before the first request or event needs them; those of features: `warm_up_content`."""

from __future__ import annotations

from dataclasses import replace

from stream_reco import metrics
from stream_reco.config import Settings
from stream_reco.embedded.engine import Engine
from stream_reco.events import Action, Event, Impression, ItemEvent
from stream_reco.model.served_heads import warm_heads
from stream_reco.serve.settings import ServeSettings

_START = 1_600_000_000_000
"""Time of the first event, ms; any past time will do."""
_STEP_MS = 1_000
_EVENTS = 160
"""Enough for ten batches of 16, so that every kernel of training runs."""
_DISLIKE = 8
"""The event by which user 1 dislikes an item."""


def warm_up(settings: Settings) -> None:
    """Run a temporary engine through every stage, then reset the counters of metrics."""
    # What a server allows its clients to ask for is no limit here.
    settings = replace(settings, serve=ServeSettings(), training=replace(settings.training, batch=16))
    with Engine(None, settings) as engine:
        engine.ingest([_event(number) for number in range(_EVENTS)])
        engine.sync()
        engine.recommend(1, 10, context={"device": "phone"})
        engine.recommend("nobody", 10)
        engine.score(1, [1, 2, 3])
        engine.similar(1, 5)
        engine.interests(1)
        _search_lists(engine)
        engine.tick(engine.stream_time + _STEP_MS)
        engine.ingest([_event(_EVENTS)])
        engine.forget(1)
        engine.finish()
        engine.sync()
    warm_heads()
    metrics.reset_counters()


def _search_lists(engine: Engine) -> None:
    """As a server does that has many vectors."""
    index = engine.publishing.served.index
    index.build()
    index.searches_lists = True
    engine.recommend(1, 10)


def _event(number: int) -> Event:
    name, at, user, item = f"warm-{number}", _START + number * _STEP_MS, number % 7, number * 3 % 20
    if number < 5:
        return ItemEvent(item_id=number, timestamp=at)
    if number % 3 == 0:
        return Impression(user_id=user, item_id=item, timestamp=at, request_id=name, position=number % 5 + 1)
    # Some a day apart, so that whole histories are clustered too.
    at += 90_000_000 if number > _EVENTS // 2 else 0
    kind = "dislike" if number == _DISLIKE else "click"
    return Action(user_id=user, item_id=item, action=kind, timestamp=at, event_id=name, context={"device": "phone"})
