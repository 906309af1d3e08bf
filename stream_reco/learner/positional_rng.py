"""Random numbers that depend on a seed and a place in the stream, and on nothing drawn before."""

from __future__ import annotations

from typing import Any

import numpy as np

_FRESH_BUFFER = 4


class PositionalRng:
    """Philox (Salmon et al., SC 2011) is counter-based: seed and place are its key, every place has its own stream."""

    def __init__(self, seed: int) -> None:
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._key = np.array([seed, 0], dtype=np.uint64)
        # To make a generator takes longer than all that is drawn from it at one place.
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": np.zeros(4, dtype=np.uint64), "key": self._key},
            "buffer": np.zeros(4, dtype=np.uint64),
            "buffer_pos": _FRESH_BUFFER,
            "has_uint32": 0,
            "uinteger": 0,
        }

    def at(self, place: int) -> np.random.Generator:
        """The generator at the start of the numbers of `place`; the one of the call before is no longer valid."""
        self._key[1] = place
        self._bits.state = self._state
        return self._generator
