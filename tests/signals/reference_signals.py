"""What the signals and histories must say, from the whole log and by formula, without an array in sight."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ACTIONS = (5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY)
SHOWN = (6 * HOUR, 7 * DAY)
WINDOWS = (5 * MINUTE, HOUR, DAY)
PAIRS = (2 * HOUR, 7 * DAY)
TOGETHER = (90 * DAY,)
NEXT = (20 * MINUTE, 2 * HOUR, 7 * DAY)
CONTEXTS = (HOUR, DAY)
PAIRED, NEWEST, FIELDS = 5, 20, 8

Item = int | str
Value = tuple[str, str]


def decayed(times: list[tuple[int, float]], half_life: int, now: int) -> float:
    """Σ amount · 2^(−age / half-life)."""
    return sum(amount * math.exp2(-(now - time) / half_life) for time, amount in times)


def windowed(times: list[int], span: int, now: int) -> float:
    """The bucket of `now`, and the one before by the share of it that the window still covers."""
    buckets = [time // span for time in times]
    return buckets.count(now // span) + (1.0 - (now % span) / span) * buckets.count(now // span - 1)


@dataclass
class ItemRecord:
    """All that came to one item since it was admitted."""

    acted: list[int] = field(default_factory=list)
    shown: list[int] = field(default_factory=list)
    first: int = -1
    stamp: int = 0
    said: list[tuple[int, dict[str, object], bool | None]] = field(default_factory=list)
    """What the shop said of it and when, in the order in which it came."""
    pairs: dict[Item, list[tuple[int, float]]] = field(default_factory=dict)
    following: dict[Item, list[tuple[int, float]]] = field(default_factory=dict)
    together: dict[Item, list[tuple[int, float]]] = field(default_factory=dict)
    contexts: dict[Value, list[tuple[int, float]]] = field(default_factory=dict)

    @property
    def described(self) -> int:
        return max((time for time, _, _ in self.said), default=0)

    @property
    def features(self) -> dict[str, object] | None:
        """What holds of everything said, in the order of time; None where nothing was."""
        merged: dict[str, object] = {}
        for _, features, _ in sorted(self.said, key=lambda one: one[0]):
            merged |= features
        return {name: value for name, value in merged.items() if value is not None} if self.said else None

    @property
    def available(self) -> bool:
        stated = [(time, available) for time, _, available in self.said if available is not None]
        return sorted(stated, key=lambda one: one[0])[-1][1] if stated else True

    def event(self, now: int) -> None:
        self.first = now if self.first < 0 else min(self.first, now)


class ReferenceSignals:
    """The signals, histories excluded, as dictionaries of events."""

    def __init__(self, idle_ms: int, values_per_field: int) -> None:
        self.idle_ms, self.limit = idle_ms, values_per_field
        self.items: dict[Item, ItemRecord] = {}
        self.everything: list[tuple[int, float]] = []
        self.fields: dict[str, list[tuple[int, float]]] = {}
        self.values: dict[Value, list[tuple[int, float]]] = {}
        self.dropped: set[str] = set()
        self.popular: dict[Value, dict[Item, list[tuple[int, float]]]] = {}

    def admit(self, item: Item) -> ItemRecord:
        return self.items.setdefault(item, ItemRecord())

    def learn(self, context: Mapping[str, str]) -> None:
        for name, text in context.items():
            if name in self.dropped or (name not in self.fields and len(self.fields) == FIELDS):
                continue
            self.fields.setdefault(name, [])
            if (name, text) in self.values:
                continue
            if sum(other == name for other, _ in self.values) == self.limit:
                self.dropped.add(name)
            else:
                self.values[name, text] = []

    def act(self, item: Item, recent: list[tuple[Item, int]], context: Mapping[str, str], now: int) -> None:
        """`recent` are the user's newest actions before this one, newest first."""
        self.learn(context)
        record = self.admit(item)
        record.event(now)
        record.acted.append(now)
        record.stamp = max(record.stamp, now)
        self.everything.append((now, 1.0))
        around: list[tuple[Item, int]] = []
        for other, time in recent[:NEWEST]:
            if len(around) == PAIRED or now - time > 12 * HOUR:
                break
            if time - now <= 12 * HOUR and other in self.items:
                around.append((other, time))
        for place, (other, time) in enumerate(around):
            if other != item:
                later, ahead = max(now, time), now >= time
                self.items[other].pairs.setdefault(item, []).append((later, 1.0 if ahead else 0.5))
                record.pairs.setdefault(other, []).append((later, 0.5 if ahead else 1.0))
                if place == 0 and ahead:
                    self.items[other].following.setdefault(item, []).append((now, 1.0))
        self._share(item, dict(reversed(recent[:NEWEST])), now)
        for value in context.items():
            if value in self.values and value[0] not in self.dropped:
                record.contexts.setdefault(value, []).append((now, 1.0))
                self.popular.setdefault(value, {}).setdefault(item, []).append((now, 1.0))
                self.values[value].append((now, 1.0))
                self.fields[value[0]].append((now, 1.0))

    def _share(self, item: Item, recent: dict[Item, int], now: int) -> None:
        """The user of an action is one more that the item shares with each of the recent ones."""
        for other, time in recent.items():
            if item not in recent and other in self.items:
                self.items[other].together.setdefault(item, []).append((max(now, time), 1.0))
                self.items[item].together.setdefault(other, []).append((max(now, time), 1.0))

    def show(self, item: Item, now: int) -> None:
        record = self.admit(item)
        record.event(now)
        record.shown.append(now)
        record.stamp = max(record.stamp, now)

    def describe(self, item: Item, features: dict[str, object], available: bool | None, now: int) -> None:
        record = self.admit(item)
        record.event(now)
        record.stamp = record.stamp or now
        record.said.append((now, features, available))

    def evict(self, now: int) -> set[Item]:
        gone: set[Item] = set()
        for item, record in self.items.items():
            record.stamp = record.stamp or now
            if record.stamp < now - self.idle_ms and record.features is None:
                gone.add(item)
        for item in gone:
            del self.items[item]
        kept = self.items.values()
        lists = [rows for record in kept for rows in (record.pairs, record.following, record.together)]
        for rows in [*lists, *self.popular.values()]:
            for item in gone & set(rows):
                del rows[item]
        self._forget_values(now - self.idle_ms)
        return gone

    def _forget_values(self, horizon: int) -> None:
        for value, times in list(self.values.items()):
            if value[0] in self.dropped or max((time for time, _ in times), default=0) < horizon:
                del self.values[value]
                self.popular.pop(value, None)
                for record in self.items.values():
                    record.contexts.pop(value, None)


class ReferenceHistory:
    """One user's actions: (time, arrival, item), newest first."""

    def __init__(self) -> None:
        self.actions: list[tuple[int, int, Item]] = []
        self.last = 0
        self.count = 0

    def add(self, item: Item, now: int, length: int) -> None:
        self.count += 1
        self.last = max(self.last, now)
        self.actions = sorted([*self.actions, (now, self.count, item)], key=lambda one: one[:2], reverse=True)[:length]

    def recent(self) -> list[tuple[Item, int]]:
        return [(item, time) for time, _, item in self.actions[:NEWEST]]
