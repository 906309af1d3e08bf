"""A log through the learning half of the loop: each batch is evaluated, then learned from, by several trainers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from stream_reco.config import Settings
from stream_reco.datasets import Log
from stream_reco.embedded.learner import Learner
from stream_reco.experiments.collisions.hash import sharing
from stream_reco.experiments.collisions.hashed_table import HASHED, ParallelTrainers, hash_ids
from stream_reco.experiments.collisions.plan import WINDOWS
from stream_reco.experiments.replay.report import PACKAGE, as_json, commit_of, failed_events, peak_rss_bytes
from stream_reco.experiments.replay.tally import ReplayTally
from stream_reco.learner.progressive_evaluation import evaluate_before_training
from stream_reco.measure import BinaryMetrics
from stream_reco.model.served_by_torch import served_by_torch
from stream_reco.model.training_batch import TrainingBatch
from stream_reco.train.threads import bind_threads
from stream_reco.train.trainer import Trainer

_CHUNK = 8192
_BINS = 1 << 16
"""Of scores: the differences compared are smaller than the error of about 0.001 that fewer bins would have."""


@dataclass(frozen=True)
class Variant:
    """One of several trainers: users and items in 2^`hash_bits` rows each (None: a row for each id).

    `seed` is that of initial weights and rows; negatives are drawn once, for all trainers.
    """

    hash_bits: int | None
    seed: int


@dataclass
class VariantRun:
    """One trainer and the quality of its predictions, in all and in each of `WINDOWS` parts of the log."""

    variant: Variant
    trainer: Trainer
    quality: BinaryMetrics = field(default_factory=lambda: BinaryMetrics(_BINS))
    windows: list[BinaryMetrics] = field(default_factory=lambda: [BinaryMetrics(_BINS) for _ in range(WINDOWS)])


class LearnRun:
    """One pass over a log in which all trainers get the same batches.

    Predictions within the first `warm_up` of `total` events count in their windows only.
    """

    def __init__(self, settings: Settings, total: int, warm_up: int, hash_bits: list[int], seeds: list[int]) -> None:
        """Trains the model of the settings, hashed ones of 2^`hash_bits` rows each, and unhashed ones of `seeds`."""
        bind_threads(settings.training.threads)
        self.tally = ReplayTally()
        self._learner = Learner(settings)
        self._total, self._warm_up = total, warm_up
        own = settings.training.seed
        variants = [*(Variant(bits, own) for bits in hash_bits), *(Variant(None, seed) for seed in seeds)]
        others = [VariantRun(variant, _trainer(settings, variant)) for variant in variants]
        first = ParallelTrainers(settings.model, settings.training, [run.trainer for run in others])
        self.runs = [VariantRun(Variant(None, own), first), *others]
        self._learner.queue.trainer = first
        for run in self.runs:
            run.trainer.active_time = self._learner.state.active_time
        self._learner.queue.watch = self._batch
        self._ids: dict[str, set[int]] = {name: set() for name in HASHED}

    def learn(self, log: Log, watch: Callable[[], None] = lambda: None) -> None:
        """Learn from a whole log; `watch` is called after every event."""

        def between() -> None:
            self.tally.events += 1
            watch()

        failed_before = failed_events()
        for events in log.batches(_CHUNK):
            with self.tally.stage("ingest"):
                self._learner.learn(events, between)
        self._learner.finish()
        self.tally.dead_letters.update(log.dead_letters.counts)
        if failed := failed_events() - failed_before:
            self.tally.dead_letters["internal"] += failed

    def _batch(self, batch: TrainingBatch) -> None:
        inputs, events = batch.batch, self._learner.state.events
        self._ids["user"].update(inputs.user_keys.tolist())
        self._ids["item"].update(inputs.item_keys[inputs.starts].tolist())
        window = min(WINDOWS - 1, max(0, events - 1) * WINDOWS // max(1, self._total))
        for number, run in enumerate(self.runs):
            counts = [run.windows[window], *([run.quality] if events > self._warm_up else [])]
            sink = _BatchCounts(counts, self.tally if number == 0 else None)
            evaluate_before_training(sink, batch, served_by_torch(run.trainer.averaged), run.trainer.tables)

    def report(self, log: Log) -> dict[str, object]:
        """The figures: those of the collisionless trainer, and in "variants" those of all trainers, it first."""
        seconds = self.tally.elapsed
        variants = [self._variant(run) for run in self.runs]
        ends = [max(0, -(-len(log) * (number + 1) // WINDOWS) - 1) for number in range(WINDOWS)]
        return {
            "events": self.tally.events,
            "evaluated": self.runs[0].quality.count,
            **self.runs[0].quality.as_dict(),
            "negatives": "sampled" if self.tally.sampled else "shown",
            "examples": self._learner.queue.examples,
            "window_ends": [int(log.times[end]) for end in ends] if len(log) else [],
            "variants": variants,
            "seconds": round(seconds, 3),
            "events_per_second": round(self.tally.events / max(seconds, 1e-9), 1),
            "peak_rss_bytes": peak_rss_bytes(),
            "dead_letters": dict(self.tally.dead_letters),
            **commit_of(PACKAGE),
            "settings": as_json(self._learner.settings),
        }

    def _variant(self, run: VariantRun) -> dict[str, object]:
        bits = run.variant.hash_bits
        return {
            "hash_bits": bits,
            "seed": run.variant.seed,
            **run.quality.as_dict(),
            "windows": [{"count": one.count, **one.as_dict()} for one in run.windows],
            "tables": {name: self._table(run, name) for name in HASHED},
        }

    def _table(self, run: VariantRun, name: str) -> dict[str, object]:
        """Trained ids, the rows that they had, how many ids shared one; rows and bytes at the end."""
        table, bits = run.trainer.tables[name], run.variant.hash_bits
        shared = sharing(self._ids[name], None if bits is None else 1 << bits)
        return {
            "ids": shared.ids,
            "rows": shared.rows,
            "shared": shared.shared,
            "live": len(table),
            "bytes": table.nbytes,
        }


@dataclass(frozen=True)
class _BatchCounts:
    """Counts the predictions of one batch."""

    counts: list[BinaryMetrics]
    tally: ReplayTally | None

    def examples(
        self, labels: NDArray[np.float32], predictions: NDArray[np.float32], weights: NDArray[np.float32], sampled: bool
    ) -> None:
        """Count float32[n] examples that a trainer is about to learn from."""
        for one in self.counts:
            one.add(predictions, labels, weights)
        if self.tally is not None:
            self.tally.examples(labels, predictions, weights, sampled)


def _trainer(settings: Settings, variant: Variant) -> Trainer:
    trainer = Trainer(settings.model, replace(settings.training, seed=variant.seed))
    if variant.hash_bits is not None:
        hash_ids(trainer, variant.hash_bits)
    return trainer
