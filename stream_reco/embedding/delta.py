"""What changed in one table since the last drain: the unit that travels from the trainer to its replicas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Delta:
    """Rows to put and keys to drop; a key is never in both. Optimizer state stays at home.

    name: the table's name; dim: length of a vector.
    keys: int64[n]; vectors: float32[n, dim], the whole new vector of each key.
    tombstones: int64[m], keys whose rows were evicted.
    default: float32[dim], the vector of keys without a row; None where it did not change.
    """

    name: str
    dim: int
    keys: NDArray[np.int64]
    vectors: NDArray[np.float32]
    tombstones: NDArray[np.int64]
    default: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.keys.dtype != np.int64 or self.tombstones.dtype != np.int64 or self.vectors.dtype != np.float32:
            dtypes = (self.keys.dtype, self.vectors.dtype, self.tombstones.dtype)
            raise TypeError(f"delta of table {self.name!r}: dtypes are {dtypes}, must be int64, float32, int64")
        if self.keys.ndim != 1 or self.tombstones.ndim != 1 or self.vectors.shape != (len(self.keys), self.dim):
            shapes = (self.keys.shape, self.vectors.shape, self.tombstones.shape)
            raise ValueError(f"delta of table {self.name!r}: shapes are {shapes}, must be (n,), (n, {self.dim}), (m,)")
        if self.default is not None and (self.default.dtype != np.float32 or self.default.shape != (self.dim,)):
            raise ValueError(f"delta of table {self.name!r}: default must be float32[{self.dim}]")

    @property
    def nbytes(self) -> int:
        default = 0 if self.default is None else self.default.nbytes
        return self.keys.nbytes + self.vectors.nbytes + self.tombstones.nbytes + default

    def __len__(self) -> int:
        return len(self.keys)
