"""Who gets a row: everybody (no admission), keys seen often enough, or a deterministic sample of sightings."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ADMIT_ALL, ADMIT_AFTER, ADMIT_PROBABILITY = range(3)
SKETCH_DEPTH = 4


@dataclass(frozen=True)
class After:
    """A row at the k-th sighting. Sightings without a row are counted in a count-min sketch (Cormode,
    Muthukrishnan 2005) of SKETCH_DEPTH × 2·window bytes whose counts are halved after every `window` sightings.

    Two keys may share counters, so that a key is rarely admitted a little early. Admission takes the key's k
    sightings out of the sketch: a key that is evicted must be seen k times again.
    """

    k: int
    window: int = 1 << 16

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 255:
            raise ValueError(f"after(k={self.k}): k must be 1 to 255 sightings, as counters are bytes")
        if not 1 <= self.window <= 1 << 30:
            raise ValueError(f"after(window={self.window}): window must be 1 to 2**30 sightings")

    def sketch(self) -> NDArray[np.uint8]:
        """uint8[SKETCH_DEPTH, width], all zero; the width is a power of two."""
        return np.zeros((SKETCH_DEPTH, 1 << max(6, (2 * self.window - 1).bit_length())), np.uint8)

    def as_dict(self) -> dict[str, str | int | float]:
        return {"admission": "after", "k": self.k, "window": self.window}


@dataclass(frozen=True)
class Probability:
    """Each sighting admits with probability p, decided by a hash of the table's salt, the key and the time: the same
    sighting has the same fate in every process, and a key that keeps coming gets in.
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise ValueError(f"probability(p={self.p}): p must lie in 0 to 1")

    def sketch(self) -> NDArray[np.uint8]:
        """Nothing is counted: uint8[SKETCH_DEPTH, 1]."""
        return np.zeros((SKETCH_DEPTH, 1), np.uint8)

    def as_dict(self) -> dict[str, str | int | float]:
        return {"admission": "probability", "p": self.p}


Admission = After | Probability


def after(k: int, window: int = 1 << 16) -> After:
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
        return After(int(str(settings["k"])), int(str(settings["window"])))
    if kind == "probability":
        return Probability(float(str(settings["p"])))
    raise ValueError(f"admission {kind!r} is unknown; this release knows after and probability")
