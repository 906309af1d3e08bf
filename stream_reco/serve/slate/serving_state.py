"""What a scorer serves from: one version of tables, dense weights, signals and catalogue, following a trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stream_reco.model.content.pairs import priors_of
from stream_reco.model.encoder.encoding import ENCODER
from stream_reco.model.served import ServesVectors
from stream_reco.model.served_heads import ServedHeads
from stream_reco.model.settings import ModelSettings
from stream_reco.retrieve.encoded_items import EncodedItems
from stream_reco.retrieve.model_replica import model_replica
from stream_reco.retrieve.vector_index import VectorIndex
from stream_reco.signals.settings import SignalSettings
from stream_reco.signals.signals import Signals
from stream_reco.sync import Follower, Parts, Precision, Publication

_NO_DIM = 1
"""Dimension of the index that stays empty where the model gives no vectors."""
_AT_ONCE = 16_384
"""Items whose rows are looked up together: those of a million, most of which have none, take 400 MB."""
_NO_SLOTS = np.empty(0, dtype=np.int32)


@dataclass(frozen=True)
class _Follow:
    """A follower made of two functions."""

    reset: Callable[[Parts], None]
    apply: Callable[[Parts], None]


class ServingState:
    """A replica and all that follows it. Read it inside `replica.reading()` only."""

    def __init__(
        self,
        model: ModelSettings,
        signals: SignalSettings,
        precision: Precision = "float32",
        *,
        beside: Signals | None = None,
    ) -> None:
        """precision: what the rows of the embedding tables are kept in.

        beside: the learner's signals, where it is in this process and publishes on the thread that applies.
        """
        self.scoring = model.build_served()
        """The model, in the form in which it scores."""
        self.content_priors = priors_of(model.content)
        """float32[10]: what the coefficients of what is said of users and items begin from."""
        self.signals = Signals(signals, beside=beside)
        self.retrieves = self.scoring if isinstance(self.scoring, ServesVectors) else None
        """The model, where it gives vectors to search by."""
        self.index = VectorIndex(_NO_DIM if self.retrieves is None else self.retrieves.vector_dim)
        """The items' vectors; empty where the model gives none."""
        self.encoded = EncodedItems(model.encoder.dim)
        """The items' vectors by what is said of them."""
        signal_followers: dict[str, Follower] = {
            "signals": _Follow(self._reset_signals, self._apply_signals),
            "catalogue": _Follow(self._apply_catalogue, self._apply_catalogue),
        }
        self.shift = 0.0
        """What the served version adds to the log-odds that the model gives candidates."""
        self.heads = ServedHeads(self.scoring.bottom_dim)
        """What the served version says by kind of action."""
        self.replica = model_replica(self.scoring, signal_followers, self._applied, precision, self.heads)

    def _reset_signals(self, parts: Parts) -> None:
        self.signals.clear()
        self.signals.apply(parts)
        self.index = VectorIndex(self.index.dim)
        self.encoded.clear()

    def _apply_signals(self, parts: Parts) -> None:
        self.signals.apply(parts)

    def _apply_catalogue(self, parts: Parts) -> None:
        self.signals.apply_catalogue(parts)

    def _applied(self, publication: Publication) -> None:
        self.shift = publication.shift
        self._index_vectors(publication)
        catalogue, table = self.signals.catalogue, self.replica.tables.get(ENCODER)
        self.encoded.follow(catalogue.content, catalogue.size, publication.catalogue.get("slots", _NO_SLOTS), table)

    def _index_vectors(self, publication: Publication) -> None:
        """Keep the index to the items of the catalogue that have a trained row."""
        if self.retrieves is None:
            return
        catalogue = self.signals.catalogue
        changed = publication.catalogue.get("slots", _NO_SLOTS)
        self.index.remove(changed[~catalogue.live[changed]].astype(np.int64))
        keys = [delta.keys for delta in publication.tables if delta.name == self.retrieves.item_table]
        # A row may be older than its item's place in the catalogue, after the item left and came back.
        keys.append(catalogue.keys[changed])
        slots = np.unique(catalogue.slots_of_keys(np.concatenate(keys)))
        slots = slots[slots >= 0]
        table = self.replica.tables.get(self.retrieves.item_table)
        if table is None:
            return
        for first in range(0, len(slots), _AT_ONCE):
            these = slots[first : first + _AT_ONCE]
            vectors = self.retrieves.item_vectors(table.lookup(catalogue.keys[these]))
            known = vectors.any(axis=1)
            self.index.upsert(these[known].astype(np.int64), vectors[known])
