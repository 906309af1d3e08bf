"""What a scorer serves from: one version of tables, dense weights, signals and catalogue, following a trainer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stream_reco.model.settings import ModelSettings
from stream_reco.model.weights import FollowedWeights
from stream_reco.model.zoo.two_tower_dcn import Ranker
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.sync import Parts, Precision, Publication, Replica

MODEL_NAME = "stream-reco"
"""What publications are of, unless somebody has several models."""


class _Follow:
    """A follower made of two functions."""

    def __init__(self, reset: Callable[[Parts], None], apply: Callable[[Parts], None]) -> None:
        self.reset = reset
        self.apply = apply


class ServingState:
    """A replica and all that follows it. Read it inside `replica.reading()` only."""

    def __init__(
        self, model: ModelSettings, signals: SignalSettings, model_name: str, precision: Precision = "float32"
    ) -> None:
        """precision: what the rows of the embedding tables are kept in."""
        self.ranker = Ranker(model).eval()
        self.signals = Signals(signals)
        self.index = VectorIndex(model.tower_dim)
        self.replica = Replica(
            model_name,
            {
                "dense": FollowedWeights(self.ranker),
                "signals": _Follow(self._reset_signals, self._apply_signals),
                "catalogue": _Follow(self._apply_catalogue, self._apply_catalogue),
            },
            applied=self._index_vectors,
            precision=precision,
        )

    def _reset_signals(self, parts: Parts) -> None:
        self.signals.clear()
        self.signals.apply(parts)
        self.index = VectorIndex(self.index.dim)

    def _apply_signals(self, parts: Parts) -> None:
        self.signals.apply(parts)

    def _apply_catalogue(self, parts: Parts) -> None:
        self.signals.apply_catalogue(parts)

    def _index_vectors(self, publication: Publication) -> None:
        """Keep the index to the items of the catalogue that have a trained row."""
        catalogue = self.signals.catalogue
        changed = publication.catalogue.get("slots", np.empty(0, dtype=np.int32))
        self.index.remove(np.array([slot for slot in changed if catalogue.ids[slot] is None], dtype=np.int64))
        keys = [delta.keys for delta in publication.tables if delta.name == "item"]
        # A row may be older than its item's place in the catalogue, after the item left and came back.
        keys.append(catalogue.keys[changed])
        slots = np.unique(catalogue.slots_of_keys(np.concatenate(keys).tolist()))
        slots = slots[slots >= 0]
        table = self.replica.tables.get("item")
        if table is None or not len(slots):
            return
        vectors = self.ranker.targets_of(table.lookup(catalogue.keys[slots]))
        known = vectors.any(axis=1)
        self.index.upsert(slots[known].astype(np.int64), vectors[known])
