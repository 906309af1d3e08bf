"""How long after an impression actions come, and for how long it is worth waiting for one."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from msgspec import Struct

_SECOND_MS = 1_000
_PER_DOUBLING = 4
_EDGES = [round(_SECOND_MS * 2 ** (at / _PER_DOUBLING)) for at in range(_PER_DOUBLING * 33)]
"""Bins, ms: all below a second, then four to a doubling, up to 200 years."""
_MEMORY = 10_000
"""Of the actions, about so many of the newest count: each counts 1 - 1 / _MEMORY of the next."""
_LARGEST = 1e9
_MOST_KINDS = 64
_LEAST_SEEN = 0.1
"""The share of a bin that young impressions can have shown is not taken as less, as it divides."""
_AGAIN_AFTER = 1 / 16
"""The wait is found again once the stream is so much older."""


@dataclass(frozen=True, slots=True)
class AdaptiveWait:
    """Bounds of a wait that follows the delays of actions; times in ms."""

    least_ms: int = 1_000
    most_ms: int = 3_600_000
    unknown_ms: int = 30_000
    """The wait while too little is known."""
    enough: int = 50
    """Known delays of a kind from which on they count."""


class ActionDelays(Struct, array_like=True):
    """Delays of positive actions as decayed counts, by kind; nothing of it tells who acted.

    Delays of a stream that has only begun are the short ones: the longer ones are still to come. An impression shows a
    delay only once it is older, so a bin's count is divided by the share of the stream's life that lies further back
    than the bin, as if impressions had come evenly (a right-truncated sample, weighed by its inverse probability of
    having been seen; Lagakos, Barraj & De Gruttola, Biometrika 1988). What takes longer than the stream has lasted
    cannot be known.
    """

    counts: dict[str, list[float]]
    step: float = 1.0
    """What the next action counts; it grows, which is cheaper than to let all others decay."""
    began: int | None = None
    """Time of the earliest impression."""
    found: int | None = None
    """The wait that was found last; None: something has changed since. It is kept, so that a restart changes none."""
    found_until: int = 0
    """Stream time up to which it holds."""

    def began_by(self, time: int) -> None:
        """There is an impression at `time`."""
        if self.began is None or time < self.began:
            self.began, self.found = time, None

    def add(self, kind: str, delay: int) -> None:
        """An action came `delay` ms after its impression."""
        if kind not in self.counts and len(self.counts) >= _MOST_KINDS:
            del self.counts[min(self.counts, key=lambda one: (sum(self.counts[one]), one))]
        counts = self.counts.setdefault(kind, [])
        bin_ = bisect_right(_EDGES, delay)
        counts += [0.0] * (bin_ + 1 - len(counts))
        counts[bin_] += self.step
        self.step /= 1 - 1 / _MEMORY
        if self.step > _LARGEST:
            self.counts = {one: [count / self.step for count in some] for one, some in self.counts.items()}
            self.step = 1.0
        self.found = None

    def turn_back(self, time: int) -> None:
        """The stream is at `time` (ms) again."""
        if self.began is not None:
            self.began, self.found = min(self.began, time), None

    def wait(self, now: int, bounds: AdaptiveWait) -> int:
        """Time (ms) by which half of the actions of the most frequent kind have come, as known at stream time `now`."""
        if self.found is None or now > self.found_until:
            age = max(0, now - (now if self.began is None else self.began))
            self.found, self.found_until = self._find(age, bounds), now + round(age * _AGAIN_AFTER)
        return self.found

    def _find(self, age: int, bounds: AdaptiveWait) -> int:
        kind = max(self.counts, key=lambda one: (sum(self.counts[one]), one), default=None)
        if kind is None or round(sum(self.counts[kind]) / self.step) < bounds.enough:
            return bounds.unknown_ms
        return min(max(round(_median(self.counts[kind], age)), bounds.least_ms), bounds.most_ms)


def _median(counts: list[float], age: int) -> float:
    """The delay (ms) that half do not exceed, of counts by bin in a stream `age` ms old."""
    corrected = [count / _seen(_EDGES[bin_], age) if count else 0.0 for bin_, count in enumerate(counts)]
    left = sum(corrected) / 2
    for bin_, count in enumerate(corrected):
        if count and left <= count:
            return _within(bin_, left / count)
        left -= count
    return float(_EDGES[len(counts) - 1])


def _seen(delay: int, age: int) -> float:
    """The share of the stream's impressions that are old enough to have shown a delay, ms."""
    return max(1.0 - delay / age, _LEAST_SEEN) if age > 0 else _LEAST_SEEN


def _within(bin_: int, share: float) -> float:
    """The delay (ms) at a share of a bin; the bins are even on a logarithmic scale."""
    if bin_ == 0:
        return share * _EDGES[0]
    return _EDGES[bin_ - 1] * math.exp(share * math.log(_EDGES[bin_] / _EDGES[bin_ - 1]))
