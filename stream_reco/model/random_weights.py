"""First weights of linear layers, as PyTorch draws them: the same numbers from the same seed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from stream_reco.model.weight_shapes import Shape

_BITS = 24
"""Of a drawn number: as many as a float32 has."""
_SEEDS = 1 << 32
"""Seeds of the Mersenne twister."""


class RandomWeights:
    """Draws one layer after the other."""

    def __init__(self, seed: int) -> None:
        self._draws = _twister(seed % _SEEDS)

    def of_layer(self, shape: Shape, inputs: int) -> NDArray[np.float32]:
        """float32 of `shape`, even within ±1 / √inputs: weights or biases of a layer with that many inputs.

        That is what `torch.nn.Linear` begins with (He et al., ICCV 2015, §2.2, with a slope of √5).
        """
        most = np.float32(math.sqrt(3.0) * (math.sqrt(1.0 / 3.0) / math.sqrt(inputs)))
        numbers = self._draws.random_raw(math.prod(shape)) & np.uint64((1 << _BITS) - 1)
        drawn = numbers * 2.0**-_BITS * float(most - -most) - float(most)
        result: NDArray[np.float32] = drawn.astype(np.float32).reshape(shape)
        return result


def _twister(seed: int) -> np.random.MT19937:
    """The Mersenne twister with the seeding of 2002 (Matsumoto and Nishimura, `init_genrand`), as PyTorch has it.

    NumPy's own seeding is another one.
    """
    key = [seed]
    for number in range(1, 624):
        key.append((1_812_433_253 * (key[-1] ^ (key[-1] >> 30)) + number) % _SEEDS)
    twister = np.random.MT19937(0)
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, dtype=np.uint32), "pos": len(key)}}
    return twister
