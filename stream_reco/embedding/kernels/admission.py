"""Who gets a row: everybody (no admission), keys seen often enough, or a deterministic sample of sightings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from stream_reco.embedding.kernels.index import GOLDEN, SIGHTINGS, mix
from stream_reco.embedding.kernels.plain_numbers import number, whole
from stream_reco.embedding.kernels.pointers import Pointer, Scalar

ADMIT_ALL, ADMIT_AFTER, ADMIT_PROBABILITY = range(3)
SKETCH_DEPTH = 4
# What kernels take where there is no admission.
ADMIT_EVERY = np.array([ADMIT_ALL, 0, 0], np.float64)
NO_SKETCH = np.zeros((1, 1), np.uint8)
_WINDOW, _LEAST_WINDOW = 1 << 20, 1 << 10


@dataclass(frozen=True)
class After:
    """A row at the k-th sighting. Sightings without a row are counted in a count-min sketch (Cormode,
    Muthukrishnan 2005) of SKETCH_DEPTH × 2·window bytes whose counts are halved after every `window` sightings.

    So a key must be seen k times while there are some `window` sightings of keys without a row; what None stands for
    tells `window_within`. Admission takes the key's k sightings out of the sketch: a key that is evicted must be seen k
    times again. Two keys may share counters, so that a few are admitted early, and others late for it: less than 1 in
    1,000 while a third of the window is pending, 1 in 200 where all of it is.
    """

    k: int
    window: int | None = None

    def __post_init__(self) -> None:
        k = whole("after()", "k", self.k, "sightings")
        if not 1 <= k <= 255:
            raise ValueError(f"after(k={k}): k must be 1 to 255 sightings, as counters are bytes")
        window = None if self.window is None else whole("after()", "window", self.window, "sightings")
        if window is not None and not 1 <= window <= 1 << 30:
            raise ValueError(f"after(window={window}): window must be 1 to 2**30 sightings, or None")
        object.__setattr__(self, "k", k)
        object.__setattr__(self, "window", window)

    def window_within(self, budget_bytes: int | None) -> int:
        """`window`, or if it is None 2**20 sightings, or as many as fill a sixteenth of a budget with the sketch."""
        if self.window is not None:
            return self.window
        if budget_bytes is None:
            return _WINDOW
        sixteenth = budget_bytes // (16 * SKETCH_DEPTH * 2)
        return max(_LEAST_WINDOW, min(_WINDOW, 1 << max(0, sixteenth.bit_length() - 1)))

    def sketch(self, budget_bytes: int | None) -> NDArray[np.uint8]:
        """uint8[SKETCH_DEPTH, width], all zero; the width is a power of two."""
        window = self.window_within(budget_bytes)
        return np.zeros((SKETCH_DEPTH, 1 << max(6, (2 * window - 1).bit_length())), np.uint8)

    def policy(self, budget_bytes: int | None) -> NDArray[np.float64]:
        """float64[3], for kernels."""
        return np.array([ADMIT_AFTER, self.k, self.window_within(budget_bytes)], np.float64)

    def as_dict(self) -> dict[str, str | int | float]:
        window = {} if self.window is None else {"window": self.window}
        return {"admission": "after", "k": self.k, **window}


@dataclass(frozen=True)
class Probability:
    """Each sighting admits with probability p, each by itself, so that a key that keeps coming gets in.

    What decides is a hash of the table's salt, the key, the time and how many sightings were decided on before: the
    same log has the same outcome in every process.
    """

    p: float

    def __post_init__(self) -> None:
        p = number("probability()", "p", self.p)
        if not 0 <= p <= 1:
            raise ValueError(f"probability(p={p}): p must lie in 0 to 1")
        object.__setattr__(self, "p", p)

    def sketch(self, _: int | None) -> NDArray[np.uint8]:
        """Nothing is counted: uint8[SKETCH_DEPTH, 1]."""
        return np.zeros((SKETCH_DEPTH, 1), np.uint8)

    def policy(self, _: int | None) -> NDArray[np.float64]:
        """float64[3], for kernels."""
        return np.array([ADMIT_PROBABILITY, self.p, 0], np.float64)

    def as_dict(self) -> dict[str, str | int | float]:
        return {"admission": "probability", "p": self.p}


Admission = After | Probability


def after(k: int, window: int | None = None) -> After:
    """Admit a key at its k-th sighting; see After."""
    return After(k, window)


def probability(p: float) -> Probability:
    """Admit each sighting with probability p; see Probability."""
    return Probability(p)


def admission_of(settings: Mapping[str, object]) -> Admission | None:
    """What `as_dict` wrote, read again; None where there was no admission."""
    kind = settings.get("admission")
    if kind is None:
        return None
    if kind == "after":
        window = settings.get("window")
        return After(int(str(settings["k"])), None if window is None else int(str(window)))
    if kind == "probability":
        return Probability(float(str(settings["p"])))
    raise ValueError(f"admission {kind!r} is unknown; this release knows after and probability")


@njit(cache=True, nogil=True)
def count_sighting(mixed: int, k: int, window: int, head: Pointer, sketch: Pointer, width: int) -> Scalar:
    """Count one sighting in the count-min sketch; True, with the key's k sightings taken out again, at the k-th."""
    step = (mixed >> 32) | 1
    least = np.int64(255)
    for d in range(SKETCH_DEPTH):
        at = d * width + ((mixed + d * step) & (width - 1))
        count = min(np.int64(255), np.int64(sketch[at]) + 1)
        sketch[at] = np.uint8(count)
        least = min(least, count)
    if least >= k:
        for d in range(SKETCH_DEPTH):
            sketch[d * width + ((mixed + d * step) & (width - 1))] -= np.uint8(k)
        return True
    head[SIGHTINGS] += 1
    if head[SIGHTINGS] >= window:
        head[SIGHTINGS] = 0
        for at in range(SKETCH_DEPTH * width):
            sketch[at] = sketch[at] >> np.uint8(1)
    return False


@njit(cache=True, nogil=True)
def is_admitted(key: int, now: int, salt: int, policy: Pointer, head: Pointer, sketch: Pointer, width: int) -> Scalar:
    """Whether this sighting gives the key a row; `policy` is a kind, k of `after` or p of `probability`, a window."""
    if policy[0] == ADMIT_ALL:
        return True
    mixed = mix(key, salt ^ GOLDEN)
    if policy[0] == ADMIT_AFTER:
        return count_sighting(mixed, np.int64(policy[1]), np.int64(policy[2]), head, sketch, width)
    draw = np.uint64(mix(mix(mixed, now), head[SIGHTINGS])) >> np.uint64(11)
    head[SIGHTINGS] += 1
    return np.float64(draw) < policy[1] * 9007199254740992.0
