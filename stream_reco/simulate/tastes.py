"""Users' tastes: several interests each, which drift from topic to topic as time goes by.

Everything here is a function of (seed, user, time): nothing has to be stepped forward, and asking changes nothing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stream_reco.simulate.draws import Draw, generator

Floats = NDArray[np.float64]

_SPREAD = 0.35
_NAMED = 1 / 3
"""Share of the way to another topic from which on it is named, and before whose end the old one still is."""


class TasteTopics:
    """Directions in taste space: float64[topics, dim] unit vectors. Items and interests lie around them."""

    def __init__(self, seed: int, topics: int, dim: int, skew: float = 0.7, spread: float = _SPREAD) -> None:
        self.centres = unit(generator(seed, Draw.TOPICS).normal(size=(topics, dim)))
        self._spread = spread
        # Some topics are liked by many, most by few; all alike without skew.
        self._popularity = 1.0 / np.arange(1, topics + 1) ** skew
        self._popularity /= self._popularity.sum()

    def draw(self, rng: np.random.Generator) -> tuple[int, Floats]:
        """Return a topic by popularity and a unit vector float64[dim] near its centre."""
        topic = int(rng.choice(len(self.centres), p=self._popularity))
        noise = rng.normal(size=self.centres.shape[1]) * self._spread / np.sqrt(self.centres.shape[1])
        return topic, unit(self.centres[topic] + noise * 2.0)


class Tastes:
    """The interests of users; one lives about `life_ms` before it has drifted to another topic."""

    def __init__(self, seed: int, topics: TasteTopics, interests: int, life_ms: int) -> None:
        self._seed, self._topics, self._life_ms = seed, topics, life_ms
        self.interests = interests
        self._anchor = lru_cache(maxsize=65_536)(self._draw_anchor)
        self._phases = lru_cache(maxsize=65_536)(self._draw_phases)

    def at(self, user: int, time: int) -> Floats:
        """Return float64[m, dim], 1 ≤ m ≤ interests: the directions of a user's interests at `time`, ms.

        Each moves smoothly from one anchor to the next; its length is its strength, from 0.6 to 1.
        """
        phases = self._phases(user)
        return np.stack(
            [self._interest(user, number, time / self._life_ms + phase) for number, phase in enumerate(phases)]
        )

    def topics_at(self, user: int, time: int) -> list[int]:
        """Return the distinct topics that a user would name at `time`, ms: on the way from one to another, both."""
        named = []
        for number, phase in enumerate(self._phases(user)):
            lives = time / self._life_ms + phase
            named += [self._anchor(user, number, int(np.floor(lives + shift)))[0] for shift in (_NAMED, 1.0 - _NAMED)]
        return list(dict.fromkeys(named))

    def _interest(self, user: int, number: int, lives: float) -> Floats:
        life = int(np.floor(lives))
        part = lives - life
        # Smoothstep: an interest moves slowly near its anchors and fast between them.
        moved = part * part * (3.0 - 2.0 * part)
        _, start, strength = self._anchor(user, number, life)
        _, end, later = self._anchor(user, number, life + 1)
        direction = unit((1.0 - moved) * start + moved * end)
        return direction * ((1.0 - moved) * strength + moved * later)

    def _draw_anchor(self, user: int, number: int, life: int) -> tuple[int, Floats, float]:
        rng = generator(self._seed, Draw.ANCHOR, user * 64 + number, life)
        topic, vector = self._topics.draw(rng)
        return topic, vector, float(rng.uniform(0.6, 1.0))

    def _draw_phases(self, user: int) -> tuple[float, ...]:
        rng = generator(self._seed, Draw.USER, user)
        return tuple(rng.random(int(rng.integers(1, self.interests + 1))).tolist())


def unit(vectors: Floats) -> Floats:
    """Return float64[..., dim] scaled to length 1."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled
