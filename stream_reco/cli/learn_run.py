"""A log through the learning half of the loop: each batch is predicted, counted, and learned from after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray

from stream_reco.cli.collisions_hash import sharing
from stream_reco.cli.collisions_table import HASHED, hash_ids
from stream_reco.cli.replay_report import commit_of, passed_over, peak_rss_bytes, plain
from stream_reco.cli.replay_tally import Tally
from stream_reco.config import Settings
from stream_reco.datasets import Log
from stream_reco.embedded.learner import Learner
from stream_reco.learner.predicted import observe_predicted
from stream_reco.measure import BinaryMetrics
from stream_reco.train.trainer import TrainingBatch

WINDOWS = 20
_CHUNK = 8192
_BINS = 1 << 16
"""Of scores: what is compared differs by less than the thousandth that fewer would cost."""


class LearnRun:
    """One pass; predictions of what is learned in the first `warm_up` of `total` events only count in their windows."""

    def __init__(self, settings: Settings, total: int, warm_up: int, hash_bits: int | None) -> None:
        """`hash_bits`: users and items share 2^`hash_bits` rows each; None: each id has its own."""
        torch.set_num_threads(settings.training.threads)
        self.tally = Tally()
        self._learner = Learner(settings)
        self._total, self._warm_up, self._hash_bits = total, warm_up, hash_bits
        if hash_bits is not None:
            hash_ids(self._learner.trainer, hash_bits)
        self._learner.lessons.watch = self._batch
        self._quality = BinaryMetrics(_BINS)
        self._windows = [BinaryMetrics(_BINS) for _ in range(WINDOWS)]
        self._ids: dict[str, set[int]] = {name: set() for name in HASHED}
        self._digest = xxhash.xxh3_128()

    def learn(self, log: Log, watch: Callable[[], None] = lambda: None) -> None:
        """Learn from a whole log; `watch` is called after every event."""
        failed_before = passed_over()
        for events in log.batches(_CHUNK):

            def between() -> None:
                self.tally.events += 1
                watch()

            with self.tally.stage("ingest"):
                self._learner.learn(events, between)
        self._learner.finish()
        self.tally.dead_letters.update(log.dead_letters.counts)
        if failed := passed_over() - failed_before:
            self.tally.dead_letters["internal"] += failed

    def _batch(self, batch: TrainingBatch) -> None:
        inputs = batch.batch
        # What the tables do must not change what they are given, and this tells.
        for array in (inputs.user_keys, inputs.item_keys, inputs.context_keys, inputs.history_keys, inputs.history_ages,
                      inputs.dense, inputs.rates, batch.labels.numpy(), batch.weights.numpy()):  # fmt: skip
            self._digest.update(np.ascontiguousarray(array))
        self._ids["user"].update(inputs.user_keys.tolist())
        self._ids["item"].update(inputs.item_keys[inputs.starts].tolist())
        trainer = self._learner.trainer
        observe_predicted(self, batch, trainer.averaged, trainer.tables)

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Count float32[n] examples that the trainer is about to learn from."""
        self.tally.examples(labels, predictions, weights, sampled)
        window = min(WINDOWS - 1, self._learner.events * WINDOWS // max(1, self._total))
        self._windows[window].add(predictions, labels, weights)
        if self._learner.events > self._warm_up:
            self._quality.add(predictions, labels, weights)

    def report(self, log: Log) -> dict[str, object]:
        """The figures; quality after the warm-up, and in each of `WINDOWS` equal parts of the events."""
        learner, seconds = self._learner, self.tally.elapsed
        return {
            "events": self.tally.events,
            "evaluated": self._quality.count,
            **self._quality.as_dict(),
            "negatives": "sampled" if self.tally.sampled else "shown",
            "windows": [self._window(log, number) for number in range(WINDOWS)],
            "tables": {name: self._table(name) for name in HASHED},
            "examples": learner.examples,
            "batches_xxh3_128": self._digest.hexdigest(),
            "seconds": round(seconds, 3),
            "events_per_second": round(self.tally.events / max(seconds, 1e-9), 1),
            "peak_rss_bytes": peak_rss_bytes(),
            "dead_letters": dict(self.tally.dead_letters),
            **commit_of(Path(__file__).parent),
            "settings": plain(learner.settings),
        }

    def _window(self, log: Log, number: int) -> dict[str, object]:
        quality = self._windows[number]
        last = max(0, -(-len(log) * (number + 1) // WINDOWS) - 1)
        return {"count": quality.count, **quality.as_dict(), "until": int(log.times[last]) if len(log) else None}

    def _table(self, name: str) -> dict[str, object]:
        """Ids that were trained, the rows they have had, how many of them shared one; rows and bytes at the end."""
        table = self._learner.trainer.tables[name]
        shared = sharing(self._ids[name], None if self._hash_bits is None else 1 << self._hash_bits)
        return {"ids": shared.ids, "rows": shared.rows, "shared": shared.shared, "live": len(table),
                "bytes": table.nbytes}  # fmt: skip
