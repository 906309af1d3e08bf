"""Random numbers that are a function of their purpose, not of earlier draws."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

_WORD = (1 << 64) - 1


class Draw(IntEnum):
    """The purpose of a generator; different kinds are independent streams."""

    TOPICS = 1
    USER = 2
    ANCHOR = 3
    SLOTS = 4
    ITEM = 5
    ARRIVALS = 6
    RESPONSE = 7
    SLATE = 8
    DISORDER = 9


def generator(seed: int, draw: Draw, first: int = 0, second: int = 0) -> np.random.Generator:
    """Return the generator of (seed, kind, first, second): the same numbers whenever and however often it is asked for.

    Philox (Salmon et al., SC 2011) is counter-based: the four make up its key and the upper words of its counter.
    """
    counter = np.array([0, int(draw), first & _WORD, second & _WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=seed & _WORD, counter=counter))
