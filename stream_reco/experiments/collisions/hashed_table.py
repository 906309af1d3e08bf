"""An embedding table with collisions: what the collisionless one is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stream_reco.embedding import EmbeddingTable
from stream_reco.embedding.table.arguments import Keys, checked_keys
from stream_reco.experiments.collisions.hash import bucket_of
from stream_reco.model.settings import ModelSettings
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.settings import TrainSettings
from stream_reco.train.trainer import Trainer

HASHED = ("user", "item")
"""Tables of ids. Contexts have a few dozen values, which need no hashing."""


class HashedTable(EmbeddingTable):
    """At most 2^`bits` rows: keys with one hash have one row, and are trained and read as one key.

    Only for training and reading; it is not saved, and what it drains names the first key of each row. That key decides
    the row's first vector too, so a table without collisions is, to the bit, the collisionless one.
    """

    def __init__(self, like: EmbeddingTable, bits: int) -> None:
        """An empty table with the settings of another one."""
        super().__init__(
            like.dim,
            like.optimizer,
            like.admission,
            like.ttl_ms,
            name=like.name,
            init_scale=like.init_scale,
            seed=like.seed,
        )
        self._size = 1 << bits
        self._buckets: dict[int, int] = {}
        self._first: dict[int, int] = {}

    def lookup(self, keys: Keys) -> NDArray[np.float32]:
        """float32[n, dim]: the rows of the keys' hashes, of keys that were never trained too; zeros for empty rows."""
        return super().lookup(self._firsts(keys))

    def train_rows(self, keys: Keys, now: int) -> NDArray[np.int64]:
        """int64[n], the rows of the keys' hashes at event time `now` (ms), new ones for those that had none."""
        checked = checked_keys(self.name, keys)
        for key in checked.tolist():
            self._first.setdefault(self._bucket(key), key)
        return super().train_rows(self._firsts(checked), now)

    def apply_gradients(self, keys: Keys, grads: NDArray[np.float32]) -> None:
        """One optimizer step by float32[n, dim]; gradients of keys with one hash are summed first."""
        super().apply_gradients(self._firsts(keys), grads)

    def _firsts(self, keys: Keys) -> NDArray[np.int64]:
        # A key of an empty row stands for itself: it has none either, and must not take one by being read.
        known = [self._first.get(self._bucket(key), key) for key in checked_keys(self.name, keys).tolist()]
        return np.array(known, dtype=np.int64)

    def _bucket(self, key: int) -> int:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = bucket_of(key, self._size)
        return bucket


def hash_ids(trainer: Trainer, bits: int) -> None:
    """Make an untrained trainer keep its users and items in 2^`bits` rows each."""
    for name in HASHED:
        trainer.tables[name] = HashedTable(trainer.tables[name], bits)


class ParallelTrainers(Trainer):
    """A trainer that passes every batch and eviction on to `others` as well."""

    def __init__(self, model: ModelSettings, settings: TrainSettings, others: Sequence[Trainer]) -> None:
        super().__init__(model, settings)
        self._others = others

    def step(self, batch: TrainingBatch) -> float:
        """Train all on one batch; returns the mean loss an example, its own."""
        for other in self._others:
            other.step(batch)
        return super().step(batch)

    def evict(self, now: int, limit: int | None = None) -> None:
        """Evict rows that were idle for too long from the tables of all trainers, at most `limit` of each table."""
        for other in self._others:
            other.evict(now, limit)
        super().evict(now, limit)
