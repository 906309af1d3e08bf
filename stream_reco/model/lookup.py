"""What a table must do to be read by a model."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Lookup(Protocol):
    """Rows by key."""

    def lookup(self, keys: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, dim] of `keys` int64[n]."""
        ...
