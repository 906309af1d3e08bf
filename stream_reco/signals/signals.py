"""All signals of the items together: what the trainer keeps and a replica mirrors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals import counters as item_counters
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.context import Context, ContextCoder, ContextValue
from stream_reco.signals.counters import Counters, count_shown
from stream_reco.signals.decayed_lists import ROW_ARRAYS, drop_keys, empty_lists, grown_lists
from stream_reco.signals.growing import Parts, capacity_for, grown, put, take
from stream_reco.signals.observe import PAIRED_ITEMS, Counts, Tally, count
from stream_reco.signals.settings import (
    CONTEXT_FIELDS,
    CONTEXT_HALF_LIVES_MS,
    DAY_MS,
    PAIR_HALF_LIVES_MS,
    SignalSettings,
)
from stream_reco.signals.trends import Trends, find_trends, no_trends

_CONTEXT_WIDTH = 24
_POPULAR_WIDTH = 64
FRESH_WIDTH = 50


class Signals:
    """Counters, co-visits, context counts and the catalogue, by item slot.

    The trainer's instance is moved by `act`, `show`, `describe` and `evict`; a replica's by `apply` and `apply_catalogue`, with what
    `drain` or `snapshot` of the trainer's gave.
    """

    def __init__(self, settings: SignalSettings) -> None:
        self.settings = settings
        self.catalogue = Catalogue()
        self.coder = ContextCoder(settings.context_values)
        self.counts = _empty_counts(settings)
        self.trends = no_trends(settings.trending_width, FRESH_WIDTH)
        self._refreshed = -1
        self._touched = np.zeros(1024, dtype=np.bool_)
        self._touched_values = np.zeros(1024, dtype=np.bool_)

    def admit(self, item_id: Id) -> int:
        """The slot of an item, a new one if it is unknown."""
        slot = self.catalogue.slot_of(item_id)
        if slot < 0:
            slot = self.catalogue.admit(item_id)
            self._make_room(slot + 1, self.coder.size)
            self._touched[slot] = True
        return slot

    def learn_context(self, context: Mapping[str, ContextValue] | None) -> None:
        """Number the context values that are new."""
        if context:
            self.coder.learn(context)
            self._make_room(self.catalogue.size, self.coder.size)

    def act(
        self, slot: int, recent: NDArray[np.int32], times: NDArray[np.int64], context: Context, now: int
    ) -> None:
        """Count an action; `recent` and `times` are the user's newest actions before it, newest first."""
        count(self.counts, slot, recent, times, context.values, now)
        self._touched[slot] = True
        self._touched[recent[: PAIRED_ITEMS][recent[: PAIRED_ITEMS] >= 0]] = True
        self._touched_values[context.values[context.values >= 0]] = True

    def show(self, slot: int, now: int) -> None:
        """Count an impression."""
        count_shown(self.counts.items, slot, now)
        self._touched[slot] = True

    def describe(self, item_id: Id, features: dict[str, Any], *, available: bool, now: int) -> None:
        """Take over what the shop says of an item."""
        slot = self.admit(item_id)
        if self.counts.items.first_seen[slot] < 0:
            self.counts.items.first_seen[slot] = now
            self.counts.items.stamps[slot] = now
        self.catalogue.describe(slot, features, available=available)
        self._touched[slot] = True

    def refresh(self, now: int, *, force: bool = False) -> None:
        """Renew the trends if they are older than the settings allow."""
        if not force and 0 <= now - self._refreshed < self.settings.refresh_seconds * 1000:
            return
        self._refreshed = now
        self.trends = find_trends(self.counts.items, self.catalogue.available, self.catalogue.size, now,
                                  self.settings.trending_width, FRESH_WIDTH)

    def evict(self, now: int) -> NDArray[np.int64]:
        """Free the slots of items that were idle for too long; returns their embedding keys int64[n].

        An item that the shop described and called available stays.
        """
        size = self.catalogue.size
        horizon = now - int(self.settings.item_idle_days * DAY_MS)
        idle = [int(slot) for slot in np.flatnonzero(self.counts.items.stamps[:size] < horizon)
                if self.catalogue.ids[slot] is not None
                and not (self.catalogue.features[slot] is not None and self.catalogue.available[slot])]
        if not idle:
            return np.empty(0, dtype=np.int64)
        slots = np.array(idle, dtype=np.int32)
        keys = self.catalogue.keys[slots].copy()
        self.catalogue.release(idle)
        self._clear(slots)
        return keys

    def _clear(self, slots: NDArray[np.int32]) -> None:
        gone = np.zeros(len(self._touched), dtype=np.bool_)
        gone[slots] = True
        for lists in (self.counts.pairs, self.counts.popular):
            held = gone[np.maximum(lists.keys, 0)] & (lists.keys >= 0)
            rows = np.flatnonzero(held.any(axis=1))
            (self._touched if lists is self.counts.pairs else self._touched_values)[rows] = True
            drop_keys(lists, gone)
        for lists in (self.counts.pairs, self.counts.contexts):
            lists.keys[slots] = -1
            lists.weights[slots] = 0
            lists.stamps[slots] = 0
        item_counters.clear_counters(self.counts.items, slots)
        self._touched[slots] = True

    def drain(self) -> tuple[Parts, Parts]:
        """Signals and catalogue rows that changed since the last drain."""
        rows = np.flatnonzero(self._touched[: self.catalogue.size]).astype(np.int32)
        values = np.flatnonzero(self._touched_values[: self.coder.size]).astype(np.int32)
        self._touched[:] = False
        self._touched_values[:] = False
        return self._parts(rows, values, with_coder=self._take_coder_change()), self.catalogue.rows(rows)

    def snapshot(self) -> tuple[Parts, Parts]:
        """All signals and the whole catalogue; touches nothing."""
        rows = np.arange(self.catalogue.size, dtype=np.int32)
        values = np.arange(self.coder.size, dtype=np.int32)
        return self._parts(rows, values, with_coder=True), self.catalogue.rows(rows)

    def restore_touched(self, signals: Parts) -> None:
        """Count drained rows as touched again, because no channel took them."""
        self._touched[signals["rows"]] = True
        self._touched_values[signals["values"]] = True
        self.coder.changed |= "context" in signals

    def _take_coder_change(self) -> bool:
        changed, self.coder.changed = self.coder.changed, False
        return changed

    def _parts(self, rows: NDArray[np.int32], values: NDArray[np.int32], *, with_coder: bool) -> Parts:
        counts = self.counts
        parts: Parts = {"rows": rows, "values": values, "sizes": np.array([self.catalogue.size, self.coder.size], dtype=np.int64)}
        parts |= take(counts.items, Counters._fields, rows, "items.")
        parts |= take(counts.pairs, ROW_ARRAYS, rows, "pairs.")
        parts |= take(counts.contexts, ROW_ARRAYS, rows, "contexts.")
        parts |= take(counts.popular, ROW_ARRAYS, values, "popular.")
        parts |= take(counts.values, Tally._fields, values, "tally.")
        parts |= take(counts.everything, Counters._fields, np.zeros(1, dtype=np.int32), "everything.")
        parts |= take(counts.fields, Tally._fields, np.arange(CONTEXT_FIELDS, dtype=np.int32), "fields.")
        return parts | self.coder.state() if with_coder else parts

    def apply(self, signals: Parts) -> None:
        """Mirror drained signals; `apply_catalogue` with the rows drained beside them follows."""
        if "context" in signals:
            self.coder.apply(signals)
        slots, values = (int(size) for size in signals["sizes"])
        self._make_room(slots, values)
        counts = self.counts
        put(counts.items, Counters._fields, signals["rows"], signals, "items.")
        put(counts.pairs, ROW_ARRAYS, signals["rows"], signals, "pairs.")
        put(counts.contexts, ROW_ARRAYS, signals["rows"], signals, "contexts.")
        put(counts.popular, ROW_ARRAYS, signals["values"], signals, "popular.")
        put(counts.values, Tally._fields, signals["values"], signals, "tally.")
        put(counts.everything, Counters._fields, np.zeros(1, dtype=np.int32), signals, "everything.")
        put(counts.fields, Tally._fields, np.arange(CONTEXT_FIELDS, dtype=np.int32), signals, "fields.")

    def apply_catalogue(self, rows: Parts) -> None:
        """Mirror drained catalogue rows, and renew the trends, which are frozen until the next time."""
        self.catalogue.apply(rows)
        self._make_room(self.catalogue.size, self.coder.size)
        self.refresh(int(self.counts.everything.stamps[0]), force=True)

    def clear(self) -> None:
        """Forget everything: a snapshot follows."""
        self.catalogue = Catalogue()
        self.coder = ContextCoder(self.settings.context_values)
        self.counts = _empty_counts(self.settings)
        self._touched = np.zeros(1024, dtype=np.bool_)
        self._touched_values = np.zeros(1024, dtype=np.bool_)

    def _make_room(self, slots: int, values: int) -> None:
        counts = self.counts
        if slots > len(counts.items.stamps):
            room = capacity_for(slots, len(counts.items.stamps))
            counts = counts._replace(
                items=item_counters.grown_counters(counts.items, room),
                pairs=grown_lists(counts.pairs, room), contexts=grown_lists(counts.contexts, room))
            self._touched = grown(self._touched, room, 0)
        if values > len(counts.values.stamps):
            room = capacity_for(values, len(counts.values.stamps))
            counts = counts._replace(
                popular=grown_lists(counts.popular, room),
                values=Tally(*(grown(array, room, 0) for array in counts.values)))
            self._touched_values = grown(self._touched_values, room, 0)
        self.counts = counts

    def state(self) -> Parts:
        """Everything, for a checkpoint."""
        signals, _ = self.snapshot()
        touched = {"touched": self._touched[: self.catalogue.size],
                   "touched_values": self._touched_values[: self.coder.size]}
        trends = {f"trends.{name}": array for name, array in zip(Trends._fields, self.trends, strict=True)}
        marks = {"marks": np.array([self._refreshed, self.coder.changed], dtype=np.int64)}
        catalogue = {f"catalogue.{name}": array for name, array in self.catalogue.state().items()}
        return {**signals, **touched, **trends, **marks, **catalogue}

    @classmethod
    def from_state(cls, settings: SignalSettings, parts: Parts) -> Signals:
        """The signals that `state` was taken from; they go on bit for bit as those would have."""
        signals = cls(settings)
        kept = {name.removeprefix("catalogue."): array for name, array in parts.items()
                if name.startswith("catalogue.")}
        signals.apply(parts)
        signals.catalogue = Catalogue.from_state(kept)
        signals._touched[: len(parts["touched"])] = parts["touched"]
        signals._touched_values[: len(parts["touched_values"])] = parts["touched_values"]
        signals._refreshed, changed = (int(mark) for mark in parts["marks"])
        signals.coder.changed = bool(changed)
        signals.trends = Trends(*(parts[f"trends.{name}"] for name in Trends._fields))
        return signals


def _empty_counts(settings: SignalSettings) -> Counts:
    rows = 1024
    return Counts(
        items=item_counters.empty_counters(rows),
        everything=item_counters.empty_counters(1),
        pairs=empty_lists(rows, settings.pair_width, PAIR_HALF_LIVES_MS),
        contexts=empty_lists(rows, _CONTEXT_WIDTH, CONTEXT_HALF_LIVES_MS),
        popular=empty_lists(rows, _POPULAR_WIDTH, CONTEXT_HALF_LIVES_MS),
        values=Tally(np.zeros(rows, dtype=np.float32), np.zeros(rows, dtype=np.int64)),
        fields=Tally(np.zeros(CONTEXT_FIELDS, dtype=np.float32), np.zeros(CONTEXT_FIELDS, dtype=np.int64)),
    )
