"""Learning the vectors of items from what is said of them: what one person acts on within hours belongs together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.events import Action
from stream_reco.model.encoder.contrast import gradients
from stream_reco.model.encoder.encoding import Spelled, all_keys, encode, gradient_rows, spelled
from stream_reco.model.encoder.item_codes import ItemCodes
from stream_reco.model.encoder.settings import EncoderSettings
from stream_reco.signals.growing import Parts
from stream_reco.signals.history import Histories
from stream_reco.signals.settings import HOUR_MS
from stream_reco.signals.signals import Signals


class EncoderTrainer:
    """Takes one step for each action on a described item, whose user acted on another one within hours.

    Which negatives are the hardest is told by the vectors of earlier steps, so that no more items than are learned from
    have to be encoded.
    """

    def __init__(self, settings: EncoderSettings, table: Callable[[], EmbeddingTable]) -> None:
        """`table`: the one of the trainer, which a restart replaces."""
        self._settings, self._table = settings, table
        self._codes = ItemCodes(settings.dim)
        self._longest_ms = int(settings.hours * HOUR_MS)
        self.learned = 0
        """Steps so far."""

    def act(
        self,
        signals: Signals,
        histories: Histories,
        event: Action,
        slot: int,
        rng: np.random.Generator,
    ) -> None:
        """A user acted on the item of a `slot`; `histories` has what they had acted on before."""
        if not self._settings.dim or not signals.catalogue.content.says_anything:
            return
        before, now = histories.newest(histories.row_of(event.user_id)), event.timestamp
        partners = self._partners(slot, before.slots, before.times, now)
        if not len(partners):
            return
        negatives = self._negatives(signals, slot, before.slots, rng)
        if len(negatives):
            self._step(np.concatenate([[slot], partners, negatives]).astype(np.int32), len(partners), signals, now)

    def _partners(self, slot: int, slots: NDArray[np.int32], times: NDArray[np.int64], now: int) -> NDArray[np.int32]:
        near = (slots != slot) & (np.abs(now - times) <= self._longest_ms)
        found = np.fromiter(dict.fromkeys(slots[near].tolist()), dtype=np.int32)
        return found[: self._settings.pairs]

    def _negatives(
        self, signals: Signals, slot: int, own: NDArray[np.int32], rng: np.random.Generator
    ) -> NDArray[np.int32]:
        """The hardest of the active items that are drawn, none of them the user's."""
        trends = signals.trends
        if not len(trends.active):
            return np.empty(0, dtype=np.int32)
        drawn = rng.random(self._settings.negatives) * trends.cumulative[-1]
        places = np.minimum(np.searchsorted(trends.cumulative, drawn, side="right"), len(trends.active) - 1)
        slots = np.unique(trends.active[places])
        slots = slots[~np.isin(slots, own) & (slots != slot)]
        cosines = self._codes.cosines(slot, slots)
        hardest: NDArray[np.int32] = slots[np.argsort(-cosines, kind="stable")[: self._settings.hardest]]
        return hardest

    def _step(self, slots: NDArray[np.int32], partners: int, signals: Signals, now: int) -> None:
        """Learn from an item, its partners and its negatives; what is said of negatives alone earns no row."""
        items, table = spelled(signals.catalogue.content.lasting(slots)), self._table()
        table.train_rows(np.unique(all_keys(items, range(1 + partners))), now)
        encoded = encode(items, table, self._settings.dim)
        loss, slopes = gradients(encoded, partners)
        self._codes.put(slots, encoded)
        if loss > 0.0:
            self._apply(items, slopes, table)
            self.learned += 1

    def _apply(self, items: Spelled, slopes: NDArray[np.float32], table: EmbeddingTable) -> None:
        table.apply_gradients(items.keys, gradient_rows(items, slopes))
        for places, given in items.vectors:
            table.apply_gradients(places, given.T @ slopes)

    def forget_items(self, slots: NDArray[np.int32]) -> None:
        """There are other items in the slots from now on."""
        self._codes.remove(slots)

    def state(self) -> Parts:
        """What the next steps depend on besides the table."""
        return {"codes": self._codes.state(), "learned": np.array([self.learned], dtype=np.int64)}

    def restore(self, parts: Parts) -> None:
        """Go on from what `state` gave."""
        self._codes.restore(parts["codes"])
        self.learned = int(parts["learned"][0])
