"""Whether two publications say the same, for tests of what carries them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream_reco.sync.publication import Publication, arrays_of


def same(one: Publication, other: Publication) -> bool:
    """Whether two publications say the same, bit for bit (arrays have no plain ==)."""
    heads = [
        (p.model, p.settings, p.epoch, p.version, p.base_version, p.watermark, p.created, p.examples)
        for p in (one, other)
    ]
    tables = [[(d.name, d.dim, d.default is None) for d in p.tables] for p in (one, other)]
    if heads[0] != heads[1] or tables[0] != tables[1]:
        return False
    left, right = arrays_of(one), arrays_of(other)
    return left.keys() == right.keys() and all(_same_array(left[name], right[name]) for name in left)


def _same_array(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(_bits(one), _bits(other))


def _bits(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.frombuffer(array.tobytes(), dtype=np.uint8)
