"""Items that are born, age and die, always the same number of them alive.

Every slot holds one item after another, each for the slot's own lifetime, so that what is alive at any time follows
from arithmetic on integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_reco.simulate.draws import Draw, generator
from stream_reco.simulate.tastes import Floats, TasteTopics

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Item:
    """What is true of an item: its topic, its unit vector float64[dim] in taste space and its quality, in logits."""

    topic: int
    vector: Floats
    quality: float


@dataclass(frozen=True)
class LivingItems:
    """The n items alive at one time: int64[n] ids and births in ms, float64[n, dim] vectors, float64[n] qualities."""

    ids: Ints
    births: Ints
    vectors: Floats
    qualities: Floats


class SimulatedCatalogue:
    """`items` items at any time from `start_ms` on, each living between half and one and a half of `life_ms`.

    `quality` is the standard deviation of the items' qualities, in logits.
    """

    def __init__(
        self, seed: int, topics: TasteTopics, items: int, life_ms: int, start_ms: int, quality: float = 0.5
    ) -> None:
        rng = generator(seed, Draw.SLOTS)
        self._seed, self._topics, self._items, self._start = seed, topics, items, start_ms
        self._quality = quality
        self._lives: Ints = np.maximum(2, rng.uniform(0.5, 1.5, items) * life_ms).astype(np.int64)
        self._offsets: Ints = (rng.random(items) * self._lives).astype(np.int64)
        self.item = lru_cache(maxsize=4 * items)(self._draw_item)
        self._alive: LivingItems | None = None

    def shelf(self, time: int) -> LivingItems:
        """Return what is alive at `time`, ms."""
        ids = self._generations(time) * self._items + np.arange(self._items)
        if self._alive is None or not np.array_equal(ids, self._alive.ids):
            items = [self.item(id_) for id_ in ids.tolist()]
            births = np.array([self.birth(id_) for id_ in ids.tolist()], dtype=np.int64)
            vectors = np.stack([item.vector for item in items])
            self._alive = LivingItems(ids, births, vectors, np.array([item.quality for item in items]))
        return self._alive

    def birth(self, item: int) -> int:
        """Return when an item was or will be born, ms; it may be before the world's start."""
        generation, slot = divmod(item, self._items)
        return int(self._start + generation * self._lives[slot] - self._offsets[slot])

    def death(self, item: int) -> int:
        """Return the first ms at which an item is no longer alive."""
        return self.birth(item) + int(self._lives[item % self._items])

    def alive(self, item: int, time: int) -> bool:
        """Return whether an item is alive at `time`, ms."""
        return item >= 0 and self.birth(item) <= time < self.death(item)

    def changes(self, since: int, until: int) -> list[tuple[int, int, bool]]:
        """Return (time, item, whether it was born rather than died) within since < time ≤ until, by time."""
        first, last = self._generations(since), self._generations(until)
        found = []
        for slot in np.flatnonzero(last > first).tolist():
            for generation in range(int(first[slot]), int(last[slot])):
                old, new = generation * self._items + slot, (generation + 1) * self._items + slot
                found += [(self.birth(new), old, False), (self.birth(new), new, True)]
        return sorted(found)

    def _generations(self, time: int) -> Ints:
        if time < self._start:
            raise ValueError(f"time {time}: this world starts at {self._start} ms")
        return (time - self._start + self._offsets) // self._lives

    def _draw_item(self, item: int) -> Item:
        rng = generator(self._seed, Draw.ITEM, item)
        topic, vector = self._topics.draw(rng)
        return Item(topic, vector, float(rng.normal(0.0, self._quality)))
