"""What scorers would have written of the slates in a log: features that tell which impression they are of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stream_reco.events import Event, Id, Impression, key_of
from stream_reco.model.features.names import FEATURES
from stream_reco.model.inputs import Inputs
from stream_reco.serve.slate.slate_features import SlateFeatures
from stream_reco.signals.settings import CONTEXT_FIELDS, RECENT
from topologies.messages.keys import id_key
from topologies.messages.served_slate import encode_slate

Served = tuple[Id, Id | None, Id]
"""User, request, item."""


def shown_slate(user: Id, request: str, now: int, items: Sequence[Id], seed: int = 0) -> SlateFeatures:
    """A slate with numbers of its own in every feature of every item."""
    rng = np.random.default_rng([seed, key_of(user, "user") % 2**32, key_of(request, "request") % 2**32])
    inputs = Inputs(
        user_key=key_of(user, "user"),
        context_keys=np.zeros(CONTEXT_FIELDS, dtype=np.int64),
        history_keys=np.zeros(RECENT, dtype=np.int64),
        history_ages=np.full(RECENT, -1, dtype=np.float32),
        item_keys=np.array([key_of(item, "item") for item in items], dtype=np.int64),
        dense=rng.random((len(items), len(FEATURES)), dtype=np.float32),
        rates=np.ones(len(items), dtype=np.float32),
    )
    return SlateFeatures(request, user, now, items, inputs)


def slates_of(log: Sequence[Event]) -> Iterator[SlateFeatures]:
    """The slates whose impressions are in the log, each once."""
    items: dict[tuple[Id, str], dict[Id, int]] = {}
    for event in log:
        if isinstance(event, Impression) and event.request_id is not None:
            items.setdefault((event.user_id, str(event.request_id)), {}).setdefault(event.item_id, event.timestamp)
    for (user, request), shown in items.items():
        yield shown_slate(user, request, min(shown.values()), list(shown))


def messages_of(slates: Sequence[SlateFeatures]) -> list[tuple[bytes | None, bytes]]:
    """Keys and values."""
    return [(id_key(slate.user_id), encode_slate(slate)) for slate in slates]


def features_of(slates: Sequence[SlateFeatures]) -> Mapping[Served, bytes]:
    """What each impression is to carry."""
    return {
        (slate.user_id, slate.request_id, item): features
        for slate in slates
        for item, features in zip(slate.item_ids, slate.features(), strict=True)
    }
