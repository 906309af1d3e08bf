"""Every feature column by its formula, from the whole log, one number at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from stream_reco.signals.context import EARLIEST_TIME_MS, ContextValue
from tests.model.small_loop import Happening, said_of

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
HALF_LIVES = {"5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "6h": 6 * HOUR, "1d": DAY, "7d": 7 * DAY}
PAIRED, SEEDS, NEWEST = 5, 8, 20
FAINTEST = 1e-44
"""What has decayed below this is 0 in the kernels."""


class Record:
    """What was added to one thing under some keys, and when."""

    def __init__(self) -> None:
        self.newest = 0
        self.entries: list[tuple[int, object, float]] = []

    def add(self, key: object, amount: float, time: int) -> None:
        self.newest = max(self.newest, time)
        self.entries.append((time, key, amount))

    def decayed(self, half_life: int, now: int, key: object = None) -> float:
        """Σ amount · 2^(−age / half-life), of one key or of all."""
        return sum(
            amount * math.exp2(-(now - time) / half_life)
            for time, known, amount in self.entries
            if key is None or known == key
        )

    def windowed(self, span: int, now: int, key: object) -> float:
        """The newest bucket and, by the share still covered, the one before."""
        rest = 1.0 - (now % span) / span
        buckets = [time // span for time, known, _ in self.entries if known == key]
        return buckets.count(now // span) + rest * buckets.count(now // span - 1)


class Reference:
    """The log so far."""

    def __init__(self, log: Sequence[Happening]) -> None:
        self.items: list[int] = []
        self.first: dict[int, int] = {}
        self.counts: defaultdict[int, Record] = defaultdict(Record)
        self.everything = Record()
        self.pairs: defaultdict[int, Record] = defaultdict(Record)
        self.following: defaultdict[int, Record] = defaultdict(Record)
        self.together: defaultdict[int, Record] = defaultdict(Record)
        self.inside: defaultdict[int, Record] = defaultdict(Record)
        self.values: defaultdict[tuple[str, ContextValue], Record] = defaultdict(Record)
        self.fields: defaultdict[str, Record] = defaultdict(Record)
        self.history: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        self.shown: defaultdict[int, list[Happening]] = defaultdict(list)
        self.described: set[int] = set()
        self.disliked: defaultdict[int, set[int]] = defaultdict(set)
        self.categories: list[str] = []
        self.times: list[str] = []
        for one in log:
            self._take(one)

    def _take(self, one: Happening) -> None:
        if one.item not in self.items:
            self.items.append(one.item)
        if one.kind == "dislike":
            self.disliked[one.user].add(one.item)
            return
        if one.kind == "describe":
            self.described.add(one.item)
            if one.item not in self.first:
                self.counts[one.item].newest = one.time
            self._first(one)
            return
        self._first(one)
        self.counts[one.item].add(one.kind, 1.0, one.time)
        if one.kind == "act":
            self._act(one)
        else:
            self.shown[one.user].append(one)

    def _first(self, one: Happening) -> None:
        self.first[one.item] = min(self.first.get(one.item, one.time), one.time)

    def _act(self, one: Happening) -> None:
        self.everything.add("act", 1.0, one.time)
        for place, (time, other) in enumerate(self.history[one.user][:PAIRED]):
            if one.time - time > 12 * HOUR:
                break
            if other != one.item:
                after, latest = one.time >= time, max(one.time, time)
                self.pairs[other].add(one.item, 1.0 if after else 0.5, latest)
                self.pairs[one.item].add(other, 0.5 if after else 1.0, latest)
                if place == 0 and after:
                    self.following[other].add(one.item, 1.0, one.time)
        recent = self.history[one.user]
        if all(other != one.item for _, other in recent):
            for other, time in {other: time for time, other in reversed(recent)}.items():
                self.together[other].add(one.item, 1.0, max(one.time, time))
                self.together[one.item].add(other, 1.0, max(one.time, time))
        for field, value in one.context.items():
            if is_time(value):
                self.times += [field] if field not in self.times else []
                continue
            self.categories += [field] if field not in self.categories else []
            self.inside[one.item].add((field, value), 1.0, one.time)
            self.values[field, value].add("", 1.0, one.time)
            self.fields[field].add("", 1.0, one.time)
        self.shown[one.user] = [other for other in self.shown[one.user] if other.item != one.item]
        older = sum(time > one.time for time, _ in self.history[one.user])
        self.history[one.user].insert(older, (one.time, one.item))
        del self.history[one.user][NEWEST:]

    def row(self, item: int, user: int, context: dict[str, ContextValue], now: int) -> dict[str, float]:
        """Name of a column → its value."""
        return {
            **self._item(item, now),
            **self._covisits(item, user, now),
            **self._next(item, user, now),
            **self._context(item, context, now),
            **self._recency(user, context, now),
            **self._fatigue(item, user, now),
            **self._neighbours(item, user, now),
            **self._disliked(item, user, now),
        }

    def _item(self, item: int, now: int) -> dict[str, float]:
        record = self.counts[item]
        logs = {name: math.log1p(record.decayed(half, now, "act")) for name, half in HALF_LIVES.items()}
        row = {f"decayed_{name}": value for name, value in logs.items()}
        row["ever"] = math.log1p(sum(key == "act" for _, key, _ in record.entries))
        for name, span in {"5m": 5 * MINUTE, "1h": HOUR, "1d": DAY}.items():
            row[f"clicks_{name}"] = math.log1p(record.windowed(span, now, "act"))
        for name in ("5m", "15m", "1h"):
            row[f"share_{name}"] = logs[name] - math.log1p(self.everything.decayed(HALF_LIVES[name], now))
        for fast, slow in (("5m", "15m"), ("15m", "1h"), ("1h", "1d")):
            row[f"velocity_{fast}_{slow}"] = logs[fast] - logs[slow]
        row["since_first"] = math.log1p(max(0, now - self.first[item]) / MINUTE) if item in self.first else 0.0
        row["since_last"] = math.log1p(max(0, now - record.newest) / 1000)
        for name in ("6h", "7d"):
            shown = record.decayed(HALF_LIVES[name], now, "show")
            acted = min(record.decayed(HALF_LIVES[name], now, "act"), shown)
            row[f"shown_{name}"] = math.log1p(shown)
            row[f"rate_{name}"] = math.log((acted + 0.5) / (shown + 10)) + 3 if shown > FAINTEST else 0.0
        return row

    def _covisits(self, item: int, user: int, now: int) -> dict[str, float]:
        row = {f"after_{seed}_{name}": 0.0 for seed in (1, 2, 3) for name in ("2h", "7d")}
        fast, slow, shares = [0.0], [0.0], [0.0]
        fading = [0.0]
        for seed, (time, other) in enumerate(self.history[user][:SEEDS], 1):
            record = self.pairs[other]
            fast.append(record.decayed(2 * HOUR, now, item))
            slow.append(record.decayed(7 * DAY, now, item))
            shares.append(fast[-1] / (record.decayed(2 * HOUR, now) + 5))
            fading.append(1 / (1 + max(0, now - time) / HOUR))
            if seed <= 3:
                row |= {f"after_{seed}_2h": math.log1p(fast[-1]), f"after_{seed}_7d": math.log1p(slow[-1])}
        row["after_all_2h"] = math.log1p(dot(fast, fading))
        row["after_all_7d"] = math.log1p(dot(slow, fading))
        row["after_1_share"] = math.log((shares[1] if len(shares) > 1 else 0.0) + 1e-3) + 7
        row["after_all_share"] = math.log(dot(shares, fading) + 1e-3) + 7
        row["after_best_share"] = math.log(max(shares) + 1e-3) + 7
        return row

    def _next(self, item: int, user: int, now: int) -> dict[str, float]:
        halves = {"20m": 20 * MINUTE, "2h": 2 * HOUR, "7d": 7 * DAY}
        counts: list[dict[str, float]] = []
        shares: list[dict[str, float]] = []
        fading = [1 / (1 + max(0, now - time) / HOUR) for time, _ in self.history[user][:SEEDS]]
        for _, other in self.history[user][:SEEDS]:
            record = self.following[other]
            counts.append({name: record.decayed(half, now, item) for name, half in halves.items()})
            shares.append(
                {
                    name: counts[-1][name] / (record.decayed(halves[name], now) + prior)
                    for name, prior in (("20m", 2), ("2h", 3))
                }
            )
        last, share = (counts[0], shares[0]) if counts else (dict.fromkeys(halves, 0.0), dict.fromkeys(halves, 0.0))
        return {
            **{f"next_1_{name}": math.log1p(last[name]) for name in halves},
            **{f"next_1_{name}_share": math.log(share[name] + 1e-3) + 7 for name in ("20m", "2h")},
            "next_all_2h": math.log1p(dot([one["2h"] for one in counts], fading)),
            "next_all_share": math.log(dot([one["2h"] for one in shares], fading) + 1e-3) + 7,
        }

    def _context(self, item: int, context: dict[str, ContextValue], now: int) -> dict[str, float]:
        row = {f"lift_{place}": 0.0 for place in range(8)}
        clicks = self.counts[item].decayed(DAY, now, "act")
        for field, value in context.items():
            if is_time(value) or (field, value) not in self.values:
                continue
            prior = (self.values[field, value].decayed(DAY, now) + 1) / (self.fields[field].decayed(DAY, now) + 10)
            inside = self.inside[item].decayed(DAY, now, (field, value))
            lift = math.log((inside + 3 * prior) / (clicks + 3) / prior)
            row[f"lift_{self.categories.index(field)}"] = lift
        return row | {"lift_all": sum(row.values())}

    def _recency(self, user: int, context: dict[str, ContextValue], now: int) -> dict[str, float]:
        times = [time for time, _ in self.history[user]]
        row = {
            "since_action": math.log1p(max(0, now - times[0]) / 1000) if times else 16.0,
            "actions": math.log1p(len(times)),
            "actions_1h": math.log1p(sum(now - time < HOUR for time in times)),
            "age_0": 0.0,
            "age_1": 0.0,
        }
        for place, field in enumerate(self.times):
            value = context.get(field)
            if isinstance(value, int) and is_time(value):
                row[f"age_{place}"] = math.log1p(max(0, now - value) / 1000)
        return row

    def _neighbours(self, item: int, user: int, now: int) -> dict[str, float]:
        users, cosines = self._shared(item, {other for _, other in self.history[user]}, now)
        if not sum(users):
            return dict.fromkeys(("neighbours_all", "neighbours_best", "neighbours_users"), 0.0)
        return {
            "neighbours_all": math.log(sum(cosines) + 0.01) + 4.6,
            "neighbours_best": math.log(max(cosines) + 0.01) + 4.6,
            "neighbours_users": math.log1p(sum(users)),
        }

    def _shared(self, item: int, others: set[int], now: int) -> tuple[list[float], list[float]]:
        users = [self.together[other].decayed(90 * DAY, now, item) for other in others]
        sizes = [max(1, self._total(item)) * max(1, self._total(other)) for other in others]
        return users, [min(1.0, shared / math.sqrt(size)) for shared, size in zip(users, sizes, strict=True)]

    def _disliked(self, item: int, user: int, now: int) -> dict[str, float]:
        users, cosines = self._shared(item, self.disliked[user], now)
        mine = self._said(item)
        others = [self._said(other) for other in self.disliked[user] if other != item]
        return {
            "disliked_all": math.log(sum(cosines) + 0.01) + 4.6 if sum(users) else 0.0,
            "disliked_best": math.log(max(cosines) + 0.01) + 4.6 if sum(users) else 0.0,
            "disliked_features": max(
                (len(mine & one) / len(mine | one) for one in others if mine and one), default=0.0
            ),
        }

    def _said(self, item: int) -> set[tuple[str, object]]:
        said = said_of(item) if item in self.described else {}
        return {
            (name, one)
            for name, value in said.items()
            if value is not None
            for one in (value if isinstance(value, list) else [value])
        }

    def _total(self, item: int) -> int:
        return sum(key == "act" for _, key, _ in self.counts[item].entries)

    def _fatigue(self, item: int, user: int, now: int) -> dict[str, float]:
        times = [one.time for one in self.shown[user] if one.item == item]
        return {
            "passed_over": math.log1p(len(times)),
            "was_shown": float(bool(times)),
            "since_shown": math.log1p(max(0, now - max(times)) / 1000) if times else 0.0,
        }


def is_time(value: ContextValue) -> bool:
    return isinstance(value, int) and value >= EARLIEST_TIME_MS


def dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))
