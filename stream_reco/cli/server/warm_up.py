"""Compile and load the kernels of a scorer before its first request, without anything that learns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np

from stream_reco import metrics
from stream_reco.embedding import Delta
from stream_reco.events import Id, key_of
from stream_reco.model.served_heads import warm_heads
from stream_reco.model.settings import ModelSettings
from stream_reco.model.spec import settings_digest
from stream_reco.retrieve.settings import RetrieveSettings
from stream_reco.serve.settings import SlateSettings
from stream_reco.serve.slate.request import Request, UserContext
from stream_reco.serve.slate.scorer import Scorer
from stream_reco.serve.slate.serving_state import ServingState
from stream_reco.serve.slate.similar import similar_items
from stream_reco.signals.exposures import Exposure
from stream_reco.signals.settings import RECENT, SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.sync import InProcessChannel, Parts, Precision, Publication, decode, encode

_START = 1_600_000_000_000
"""Time of the first action, ms; any past time will do."""
_STEP_MS = 1_000
_ITEMS = 20
_ACTIONS = 60
_CONTEXT = {"device": "phone"}
_SLOT = np.zeros(1, dtype=np.int32)


def warm_up(model: ModelSettings, signals: SignalSettings, precision: Precision) -> None:
    """Let a scorer follow a few publications and answer, then reset the counters of metrics."""
    served, channel = ServingState(model, signals, precision), InProcessChannel()
    for publication in _publications(served, Signals(signals)):
        # As they come over the wire: arrays that must not be written are another type to a kernel.
        channel.send(decode(encode(publication)))
        served.replica.poll(channel)
    scorer = Scorer(served, _context_of, RetrieveSettings(), SlateSettings(), 0)
    now = _START + _ACTIONS * _STEP_MS
    with closing(scorer):
        scorer.recommend_many([Request("somebody", 10, context=_CONTEXT), Request("nobody", 10)], now)
        scorer.recommend_many([Request("somebody", 5)], now)
        scorer.score(Request("somebody", context=_CONTEXT), [1, 2, "unheard of"], now)
        similar_items(served, 1, 5)
        # As with many vectors.
        served.index.build()
        served.index.searches_lists = True
        scorer.recommend_many([Request("somebody", 5)], now)
    warm_heads()
    metrics.reset_counters()


def _publications(served: ServingState, signals: Signals) -> Iterator[Publication]:
    """A snapshot after some actions, then what the next action changes."""
    for number in range(_ACTIONS):
        _act(signals, number)
    signals.refresh(_START + _ACTIONS * _STEP_MS, force=True)
    yield _publication(served, signals.snapshot(), 1)
    signals.drain()
    _act(signals, _ACTIONS)
    yield _publication(served, signals.drain(), 2)


def _act(signals: Signals, number: int) -> None:
    now, context = _START + number * _STEP_MS, _context_of("somebody", _START)
    slot = signals.admit(number % _ITEMS)
    signals.show(slot, now)
    signals.learn_context(_CONTEXT)
    recent = np.where(context.recent < signals.catalogue.size, context.recent, -1).astype(np.int32)
    signals.act(slot, recent, context.times, signals.coder.encode(_CONTEXT, now), now)


def _publication(served: ServingState, parts: tuple[Parts, Parts], version: int) -> Publication:
    model = served.scoring
    keys = np.array([key_of(item, "item") for item in range(_ITEMS)], dtype=np.int64)
    gone = np.empty(0, dtype=np.int64)
    tables = tuple(
        Delta(name, dim, keys, np.full((_ITEMS, dim), 0.1, np.float32), gone, np.zeros(dim, np.float32))
        for name, dim in model.dims.items()
    )
    return Publication(
        model.name,
        1,
        version,
        version - 1,
        tables,
        model.zeros(),
        *parts,
        watermark=_START,
        created=_START,
        settings=settings_digest(model),
    )


def _context_of(user_id: Id, now: int) -> UserContext:
    """Of one user a history, an item that was shown and one that was disliked; of others nothing."""
    recent, times = np.full(RECENT, -1, dtype=np.int32), np.zeros(RECENT, dtype=np.int64)
    nothing, no_keys = np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int64)
    if user_id != "somebody":
        return UserContext(key_of(user_id, "user"), recent, times, nothing, no_keys)
    recent[:3], times[:3] = range(3), now
    medoids = np.array([key_of(1, "item")], dtype=np.int64)
    shown = Exposure(_SLOT + 4, np.ones(1, dtype=np.int32), np.full(1, now, dtype=np.int64))
    return UserContext(key_of(user_id, "user"), recent, times, recent[:3].copy(), medoids, shown, _SLOT + 5)
