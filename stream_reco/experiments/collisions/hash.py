"""Ids hashed into a fixed number of rows, as in the experiment on collisions in the Monolith paper.

Liu et al., "Monolith: Real Time Recommendation System With Collisionless Embedding Table" (2022), §3.1: the MD5 of each
id of MovieLens 25M, modulo a size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

PAPER_ROWS = 1_000_000
PAPER_IDS = {"users": 162_541, "films": 59_047}
"""Of MovieLens 25M."""


def bucket_of(number: int, rows: int) -> int:
    """The row, from 0 to `rows` − 1, of an id: the MD5 of its decimal digits, modulo `rows`."""
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % rows


@dataclass(frozen=True)
class Sharing:
    """How ids share rows: of `ids` ids in `rows` different rows, `shared` have theirs with another one."""

    ids: int
    rows: int
    shared: int

    @property
    def share(self) -> float:
        """Of ids that are not alone on their row, 0 where there are none."""
        return self.shared / max(1, self.ids)


def sharing(ids: Iterable[int], rows: int | None) -> Sharing:
    """How distinct ids share `rows` rows; None: each has its own."""
    distinct = set(ids)
    if rows is None:
        return Sharing(len(distinct), len(distinct), 0)
    buckets = [bucket_of(number, rows) for number in distinct]
    _, counts = np.unique(np.array(buckets, dtype=np.int64), return_counts=True)
    return Sharing(len(distinct), len(counts), int(counts[counts > 1].sum()))
