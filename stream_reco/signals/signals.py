"""All signals of the items together: what the trainer keeps and a replica mirrors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from stream_reco.events import Id
from stream_reco.signals.active_time import ActiveTime
from stream_reco.signals.catalogue import Catalogue
from stream_reco.signals.content.fields import FeatureFields
from stream_reco.signals.content.settings import FeatureSettings, declared
from stream_reco.signals.context import Context, ContextCoder, ContextValue
from stream_reco.signals.counters import count_shown
from stream_reco.signals.counts import (
    empty_counts,
    forget_items,
    forget_values,
    grown_counts,
    put_counts,
    take_counts,
    turn_counts_back,
    with_spare_rows,
)
from stream_reco.signals.growing import Parts, grown
from stream_reco.signals.item_updates import Statement
from stream_reco.signals.observe import PlainCounts, count, pair_again, plain
from stream_reco.signals.settings import DAY_MS, SignalSettings
from stream_reco.signals.trends import TrendFinder, Trends, no_trends

FRESH_WIDTH = 1000
"""Items that were shown least, of which a list is kept: as many as the longest slate may have."""
_NEVER = -(1 << 62)
RecentArrays = tuple[NDArray[np.int32], NDArray[np.int64]]
"""Item slots int32[n] and times int64[n] (ms) of a user's newest actions before another one, newest first."""


class Signals:
    """Counters, co-visits, context counts and the catalogue, by item slot.

    The trainer's instance is moved by `act`, `show`, `describe` and `evict`; a replica's by `apply` and
    `apply_catalogue`, with what `drain` or `snapshot` of the trainer's gave.
    """

    def __init__(
        self,
        settings: SignalSettings,
        features: FeatureSettings | None = None,
        *,
        beside: Signals | None = None,
        lists_items: bool = True,
    ) -> None:
        """`features`: kinds that are not to be inferred. `beside` and `lists_items` as for `Catalogue`."""
        self.settings, self._features = settings, features or FeatureSettings()
        self._beside, self._lists_items = beside, lists_items
        self.clear()

    def clear(self) -> None:
        """Forget everything: a snapshot follows."""
        self.catalogue: Catalogue = Catalogue(
            FeatureFields("item", declared(self._features.item)),
            beside=None if self._beside is None else self._beside.catalogue,
            lists_items=self._lists_items,
        )
        self.user_fields = FeatureFields("user", declared(self._features.user))
        """What is known of the users' features; who they are is in no publication."""
        self.coder = ContextCoder(self.settings.context_values)
        self.counts = empty_counts(self.settings)
        self._plain = self.counts, plain(self.counts)
        self.trends = no_trends(self.settings.trending_width, FRESH_WIDTH)
        self._finder = TrendFinder(self.settings.trending_width, FRESH_WIDTH)
        self._refreshed = _NEVER
        self._touched = np.zeros(len(self.counts.items.stamps), dtype=np.bool_)
        """bool[slots]: changed since trends were found or changes drained last."""
        self._undrained = self._touched.copy()
        """bool[slots]: changed since they were drained last, but before trends were found."""
        self._unranked = self._touched.copy()
        """bool[slots]: drained or applied since trends were found last, so that they may stand elsewhere now."""
        self._touched_values = np.zeros(len(self.counts.values.stamps), dtype=np.bool_)

    @property
    def plain_counts(self) -> PlainCounts:
        """The counts as kernels take them from Python, put together once for each set of arrays."""
        counts, (of, found) = self.counts, self._plain
        if of is not counts:
            found = plain(counts)
            self._plain = counts, found
        return found

    def admit(self, item_id: Id) -> int:
        """The slot of an item, a new one if it is unknown."""
        slot = self.catalogue.slot_of(item_id)
        if slot < 0:
            slot = self.catalogue.admit(item_id)
            self._make_room()
            self._touched[slot] = True
        return slot

    def learn_context(self, context: Mapping[str, ContextValue] | None) -> None:
        """Number the context values that are new."""
        if context:
            self.coder.learn(context)
            self._make_room()

    def take_context(self, context: Mapping[str, ContextValue] | None, now: int) -> Context:
        """`learn_context`, and the context of the time `now` (ms) in numbers."""
        encoded = self.coder.take(context, now)
        self._make_room()
        return encoded

    def act(self, slot: int, recent: NDArray[np.int32], times: NDArray[np.int64], context: Context, now: int) -> None:
        """Count an action; `recent` and `times` are the user's newest actions before it, newest first."""
        self.counts = with_spare_rows(self.counts)
        count(self.plain_counts, slot, (recent, times), context.values, now, self._marks, 1.0)

    def take_back(
        self, slot: int, recent: NDArray[np.int32], times: NDArray[np.int64], context: Context, now: int
    ) -> None:
        """Undo `act` with the same arguments, as far as what it counted has neither decayed nor made room."""
        count(self.plain_counts, slot, (recent, times), context.values, now, self._marks, -1.0)

    def pair_again(self, slot: int, before: RecentArrays, after: RecentArrays, now: int) -> None:
        """Have an action that was counted with the user's actions `before` it paired with `after` instead."""
        self.counts = with_spare_rows(self.counts)
        pair_again(self.plain_counts, slot, before, after, now, self._marks)

    @property
    def _marks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        return self.catalogue.live, self._touched, self._touched_values

    def show(self, slot: int, now: int) -> None:
        """Count an impression."""
        self.counts = with_spare_rows(self.counts)
        count_shown(self.counts.items, slot, now)
        self._touched[slot] = True

    def describe(self, item_id: Id, said: Statement) -> None:
        """Take over what the shop says of an item, but for what it has said something newer of."""
        slot = self.admit(item_id)
        items, now = self.counts.items, said.time
        if items.first_seen[slot] < 0 or now < items.first_seen[slot]:
            items.first_seen[slot] = now
        if items.stamps[slot] == 0:
            items.stamps[slot] = now
        self.catalogue.describe(slot, said)
        self._touched[slot] = True

    def refresh(self, now: int, *, force: bool = False) -> None:
        """Renew the trends if they are older than the settings allow."""
        if not force and now - self._refreshed < self.settings.refresh_seconds * 1000:
            return
        self._refreshed = now
        catalogue = self.catalogue
        changed = self._unranked | self._touched
        self.trends = self._finder.find(self.counts.items, catalogue.available, catalogue.size, now, changed)
        self._undrained |= self._touched
        self._touched[:] = self._unranked[:] = False

    def evict(self, now: int, active: ActiveTime | None = None) -> NDArray[np.int32]:
        """Let items and context values go that were idle for too long; returns the slots int32[n] that became free.

        `active` says how long that is at `now` (ms); all of stream time counts without it. An item that the shop
        described stays. A free slot is given to another item only after the next eviction; until then every history
        has to forget it (`Histories.forget_items`).
        """
        horizon = (active or ActiveTime()).earliest(now, int(self.settings.item_idle_days * DAY_MS))
        self.catalogue.rested()
        slots = self._idle_items(horizon, now)
        if len(slots):
            self.catalogue.release(slots.tolist())
            forget_items(self.counts, slots, self._touched, self._touched_values)
            self.refresh(now, force=True)
        idle = np.flatnonzero(self.counts.values.stamps[: self.coder.size] < horizon)
        numbers = self.coder.unused(idle.tolist())
        if numbers:
            self.coder.release(numbers)
            forget_values(self.counts, np.array(numbers, dtype=np.int32), self._touched, self._touched_values)
        return slots

    def turn_back(self, time: int) -> int:
        """Take what is later than `time` (ms) as of that time: the clock was wrong. Returns how many items had any."""
        changed = turn_counts_back(self.counts, time, self._touched_values)
        changed[: self.catalogue.size] |= self.catalogue.turn_back(time)
        self._touched |= changed
        self._finder.begin_anew()
        self.refresh(time, force=True)
        return int(changed.sum())

    def _idle_items(self, horizon: int, now: int) -> NDArray[np.int32]:
        size, catalogue = self.catalogue.size, self.catalogue
        stamps = self.counts.items.stamps[:size]
        # An item that was only ever named is idle from the first time that anyone looks.
        unseen = catalogue.live[:size] & (stamps == 0)
        stamps[unseen] = now
        self._touched[:size] |= unseen
        idle = catalogue.live[:size] & (catalogue.described[:size] == 0) & (stamps < horizon)
        return np.flatnonzero(idle).astype(np.int32)

    def drain(self) -> tuple[Parts, Parts]:
        """Signals and catalogue rows that changed since the last drain."""
        rows = np.flatnonzero(self._undrained_slots()).astype(np.int32)
        values = np.flatnonzero(self._touched_values[: self.coder.size]).astype(np.int32)
        changed, self.coder.changed = self.coder.changed, False
        self._unranked |= self._touched
        self._touched[:] = self._undrained[:] = False
        self._touched_values[:] = False
        fields = [one for one in self._fields if one.changed]
        for one in fields:
            one.changed = False
        parts = self._parts(rows, values, with_coder=changed) | _of_fields(fields)
        return parts, self.catalogue.rows(rows, drained=True)

    def _undrained_slots(self) -> NDArray[np.bool_]:
        """bool[slots of the catalogue]: changed since they were drained last; a copy."""
        size = self.catalogue.size
        return self._touched[:size] | self._undrained[:size]

    def snapshot(self, *, as_read: bool = False) -> tuple[Parts, Parts]:
        """All signals and the whole catalogue, `as_read` as it takes it; touches nothing."""
        return self._everything(), self.catalogue.snapshot(as_read=as_read)

    def _everything(self) -> Parts:
        rows, values = (np.arange(size, dtype=np.int32) for size in (self.catalogue.size, self.coder.size))
        return self._parts(rows, values, with_coder=True) | _of_fields(self._fields)

    def restore_touched(self, signals: Parts) -> None:
        """Count drained rows as touched again, because no channel took them."""
        self._touched[signals["rows"]] = True
        self._touched_values[signals["values"]] = True
        self.coder.changed |= "context" in signals
        self.catalogue.content.vectors.mark_changed(signals["rows"])
        for one in self._fields:
            one.changed |= f"{one.side}.names" in signals

    @property
    def _fields(self) -> tuple[FeatureFields, FeatureFields]:
        return self.catalogue.content.fields, self.user_fields

    def _parts(self, rows: NDArray[np.int32], values: NDArray[np.int32], *, with_coder: bool) -> Parts:
        sizes: Parts = {"sizes": np.array([self.catalogue.size, self.coder.size], dtype=np.int64)}
        parts = sizes | take_counts(self.counts, rows, values)
        return parts | self.coder.state() if with_coder else parts

    def apply(self, signals: Parts) -> None:
        """Mirror drained signals; `apply_catalogue` with the rows drained at the same time follows.

        Raises ValueError where they were made under other settings.
        """
        if "context" in signals:
            self.coder.apply(signals)
        if "user.names" in signals:
            self.user_fields.apply(_under("user.", signals))
            self.user_fields.apply_tallies(_under("user.", signals))
        if "item.names" in signals:
            content = self.catalogue.content
            content.read_again(content.fields.apply(_under("item.", signals)))
        slots, values = signals["sizes"].tolist()
        self._make_room(slots, values)
        self.counts = put_counts(self.counts, signals)
        self._unranked[signals["rows"]] = True

    def apply_catalogue(self, rows: Parts) -> None:
        """Mirror drained catalogue rows, and renew the trends, which are frozen until the next time."""
        self.catalogue.apply(rows)
        self._make_room()
        self.refresh(int(self.counts.everything.stamps[0]), force=True)

    def _make_room(self, slots: int = 0, values: int = 0) -> None:
        slots, values = max(slots, self.catalogue.size), max(values, self.coder.size)
        if slots > len(self._touched) or values > len(self._touched_values):
            self.counts = grown_counts(self.counts, slots, values)
            self._touched, self._undrained, self._unranked = (
                grown(marks, len(self.counts.items.stamps), 0)
                for marks in (self._touched, self._undrained, self._unranked)
            )
            self._touched_values = grown(self._touched_values, len(self.counts.values.stamps), 0)

    def state(self) -> Parts:
        """Everything, for a checkpoint; copies."""
        touched = {
            "touched": self._undrained_slots(),
            "touched_values": self._touched_values[: self.coder.size].copy(),
        }
        trends = {f"trends.{name}": getattr(self.trends, name) for name in Trends._fields}
        marks = {"marks": np.array([self._refreshed, self.coder.changed], dtype=np.int64)}
        catalogue = {f"catalogue.{name}": array for name, array in self.catalogue.state().items()}
        fields = {f"fields.{one.side}.{name}": array for one in self._fields for name, array in one.state().items()}
        return {**self._everything(), **touched, **trends, **marks, **catalogue, **fields}

    @classmethod
    def from_state(
        cls,
        settings: SignalSettings,
        parts: Parts,
        features: FeatureSettings | None = None,
        *,
        lists_items: bool = True,
    ) -> Signals:
        """The signals that `state` was taken from; they go on bit for bit as those would have.

        Features are of the kinds that `features` declare from now on, whatever they were.
        Raises ValueError where the settings do not fit.
        """
        signals = cls(settings, features, lists_items=lists_items)
        signals.apply(parts)
        for one in signals._fields:
            if f"fields.{one.side}.names" in parts:  # not up to version 0.2.0
                one.restore(_under(f"fields.{one.side}.", parts))
        fields = signals.catalogue.content.fields
        redeclared = fields.declare()
        signals.user_fields.declare()
        signals.catalogue = Catalogue.from_state(_under("catalogue.", parts), fields, lists_items=lists_items)
        if redeclared or "fields.item.names" not in parts:
            signals.catalogue.content.learn_all()
        signals._touched[: len(parts["touched"])] = parts["touched"]
        signals._touched_values[: len(parts["touched_values"])] = parts["touched_values"]
        signals._refreshed, changed = parts["marks"].tolist()
        signals.coder.changed = bool(changed)
        signals.trends = Trends(*(parts[f"trends.{name}"] for name in Trends._fields))
        return signals


def _of_fields(fields: Iterable[FeatureFields]) -> Parts:
    found: Parts = {}
    for one in fields:
        # A replica has the items, and counts what they have.
        own = one.parts() | (one.tallies() if one.side == "user" else {})
        found |= {f"{one.side}.{name}": array for name, array in own.items()}
    return found


def _under(prefix: str, parts: Parts) -> Parts:
    """Those parts whose names have a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in parts.items() if name.startswith(prefix)}
